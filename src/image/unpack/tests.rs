//! Archives made in memory, friendly and hostile, and what becomes of them.

mod hostile;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Leeway, unpack};
use crate::error::Result;
use crate::image::recipe::Tap;
use crate::store::layer::LayerInfo;

/// An archive, entry by entry, with nothing checked.
struct Archive(Vec<u8>);

impl Archive {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn entry(self, kind: u8, path: &str, link: &str, mode: u32, data: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.as_old_mut().linkflag = [kind];
        header.set_mode(mode);
        header.set_uid(rustix::process::geteuid().as_raw().into());
        header.set_gid(rustix::process::getegid().as_raw().into());
        header.set_mtime(1_700_000_000);
        header.set_size(data.len() as u64);
        self.raw(header, data)
    }

    /// Adds a header as it is, with its check sum, and data.
    fn raw(mut self, mut header: tar::Header, data: &[u8]) -> Self {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, path: &str, text: &str) -> Self {
        self.entry(b'0', path, "", 0o644, text.as_bytes())
    }

    fn dir(self, path: &str) -> Self {
        self.entry(b'5', path, "", 0o755, b"")
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(b'2', path, target, 0o777, b"")
    }

    fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(b'1', path, target, 0o644, b"")
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.extended(b'x', records)
    }

    fn extended(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            // The number counts itself.
            let mut length = rest + 1;
            while length.to_string().len() + rest != length {
                length = length.to_string().len() + rest;
            }
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.entry(kind, "pax", "", 0o644, &data)
    }

    /// Unpacks it into a directory with a witness beside it, and checks that the witness is untouched.
    fn unpack(mut self) -> Unpacked {
        self.0.resize(self.0.len() + 1024, 0);
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::create_dir(top.path().join("etc")).unwrap();
        fs::write(top.path().join("etc/witness"), "untouched").unwrap();
        let result = unpack(Tap::new(self.0.as_slice(), None), &root, Leeway::default());
        assert_eq!(fs::read_to_string(top.path().join("etc/witness")).unwrap(), "untouched");
        assert_eq!(fs::read_dir(top.path()).unwrap().count(), 2);
        assert_eq!(fs::read_dir(top.path().join("etc")).unwrap().count(), 1);
        Unpacked { _top: top, root, result }
    }
}

struct Unpacked {
    _top: tempfile::TempDir,
    root: PathBuf,
    result: Result<LayerInfo>,
}

impl Unpacked {
    fn text(&self, path: &str) -> String {
        self.result.as_ref().unwrap();
        fs::read_to_string(self.root.join(path)).unwrap()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.result.as_ref().unwrap();
        self.root.join(path)
    }

    fn error(&self) -> String {
        self.result.as_ref().unwrap_err().to_string()
    }
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root() && crate::sys::userns::is_initial();
    if !is_root {
        eprintln!("left out: only root can do this");
    }
    is_root
}

#[test]
fn unpacks_files_with_their_attributes() {
    let unpacked = Archive::new()
        .dir("d/")
        .file("d/file", "text")
        .entry(b'0', "d/setuid", "", 0o4755, b"x")
        .entry(b'0', "d/odd", "", 0o666, b"x")
        .hard_link("d/second", "d/file")
        .symlink("d/link", "../../nowhere")
        .entry(b'6', "d/pipe", "", 0o622, b"")
        .entry(b'5', "d", "", 0o1777, b"")
        .file("without/parents/file", "x")
        .unpack();
    assert_eq!(unpacked.text("d/file"), "text");
    let mode =
        |path: &str| fs::metadata(unpacked.path(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("d/setuid"), 0o4755);
    assert_eq!(mode("d/odd"), 0o666);
    assert_eq!(mode("d/pipe"), 0o622);
    assert_eq!(mode("d"), 0o1777);
    assert_eq!(mode("without/parents"), 0o755);
    let file = fs::metadata(unpacked.path("d/file")).unwrap();
    assert_eq!((file.mtime(), file.nlink()), (1_700_000_000, 2));
    assert_eq!(fs::metadata(unpacked.path("d")).unwrap().mtime(), 1_700_000_000);
    assert_eq!(fs::symlink_metadata(unpacked.path("d/link")).unwrap().mtime(), 1_700_000_000);
    assert_eq!(fs::read_link(unpacked.path("d/link")).unwrap(), Path::new("../../nowhere"));
    assert!(fs::metadata(unpacked.path("d/pipe")).unwrap().file_type().is_fifo());
    assert_eq!(unpacked.result.as_ref().unwrap().size, 7);
}

#[test]
fn refuses_paths_that_lead_out() {
    for path in ["../etc/witness", "a/../../etc/witness", "..", "/../etc/witness"] {
        let unpacked = Archive::new().file(path, "evil").unpack();
        assert!(unpacked.error().contains("leads out of the image"), "{path}");
        let unpacked = Archive::new().file("a", "x").hard_link("b", path).unpack();
        assert!(unpacked.result.is_err(), "hard link to {path}");
        let whiteout = format!("{path}/.wh.x");
        let unpacked = Archive::new().file(&whiteout, "").unpack();
        assert!(unpacked.result.is_err(), "{whiteout}");
    }
}

#[test]
fn keeps_absolute_paths_inside() {
    let unpacked = Archive::new().file("/etc/witness", "inside").unpack();
    assert_eq!(unpacked.text("etc/witness"), "inside");
}

#[test]
fn links_lead_nowhere_else() {
    // A link out of the root, then a file by way of it.
    for target in ["../etc", "/etc", "../../../../etc", "/../etc"] {
        let unpacked = Archive::new()
            .dir("etc/")
            .symlink("link", target)
            .file("link/witness", "inside")
            .unpack();
        assert_eq!(unpacked.text("etc/witness"), "inside", "{target}");
        let unpacked = Archive::new().symlink("link", target).file("link/witness", "evil").unpack();
        assert!(unpacked.result.is_err(), "{target} leads nowhere inside");
    }
    // A link to the file itself, then the file: the link gives way.
    let unpacked = Archive::new().symlink("file", "../etc/witness").file("file", "inside").unpack();
    assert_eq!(unpacked.text("file"), "inside");
    assert!(!fs::symlink_metadata(unpacked.path("file")).unwrap().is_symlink());
    // A hard link to a link, then a file over it.
    let unpacked = Archive::new()
        .symlink("link", "../etc/witness")
        .hard_link("file", "link")
        .file("file", "inside")
        .unpack();
    assert_eq!(unpacked.text("file"), "inside");
    // A directory that becomes a link while its attributes wait.
    let unpacked = Archive::new()
        .entry(b'5', "d", "", 0o700, b"")
        .file("d/file", "x")
        .symlink("d", "../etc")
        .unpack();
    assert!(fs::symlink_metadata(unpacked.path("d")).unwrap().is_symlink());
}

#[test]
fn hard_links_stay_in_the_layer() {
    let unpacked = Archive::new().hard_link("file", "etc/witness").unpack();
    assert!(unpacked.error().contains("cannot link it to `etc/witness`"), "{}", unpacked.error());
    let unpacked =
        Archive::new().symlink("link", "../etc").hard_link("file", "link/witness").unpack();
    assert!(unpacked.result.is_err());
    let unpacked = Archive::new().file("a", "x").hard_link("a", "./a").unpack();
    assert_eq!(unpacked.text("a"), "x");
}

#[test]
fn later_entries_replace_earlier_ones() {
    let unpacked = Archive::new()
        .file("a", "old")
        .file("a", "new")
        .dir("b/")
        .file("b/c/d", "x")
        .file("b", "file")
        .file("c", "file")
        .dir("c/")
        .file("c/d", "x")
        .dir("c")
        .unpack();
    assert_eq!(unpacked.text("a"), "new");
    assert_eq!(unpacked.text("b"), "file");
    assert_eq!(unpacked.text("c/d"), "x");
    let unpacked = Archive::new().file("./", "x").unpack();
    assert!(unpacked.error().contains("the root must be a directory"));
}

#[test]
fn whiteouts_become_overlay_s() {
    let unpacked = Archive::new()
        .file("d/.wh.gone", "")
        .file(".wh..wh.plnk", "")
        .file("kept", "x")
        .file(".wh.kept", "")
        .unpack();
    let gone = fs::symlink_metadata(unpacked.path("d/gone")).unwrap();
    assert!(gone.file_type().is_char_device());
    assert_eq!(gone.rdev(), 0);
    assert_eq!(unpacked.text("kept"), "x");
    assert_eq!(fs::read_dir(unpacked.path("")).unwrap().count(), 2);
    for name in [".wh.", ".wh..", ".wh..."] {
        assert!(Archive::new().file(name, "").unpack().result.is_err(), "{name}");
    }
}

#[test]
fn opaque_directories_are_marked() {
    if !is_root() {
        return;
    }
    let opaque = |unpacked: &Unpacked, path: &str| {
        let mut value = [0; 8];
        rustix::fs::getxattr(unpacked.path(path), c"trusted.overlay.opaque", &mut value).is_ok()
    };
    let unpacked = Archive::new()
        .dir("a/")
        .file("a/.wh..wh..opq", "")
        .dir("b/")
        // First gone, then there again: nothing of the old content is left.
        .file(".wh.c", "")
        .file("c/file", "x")
        // There, and the old one gone.
        .dir("d/")
        .file(".wh.d", "")
        .unpack();
    let marked: Vec<bool> =
        ["a", "b", "c", "d"].iter().map(|path| opaque(&unpacked, path)).collect();
    assert_eq!(marked, [true, false, true, true]);
}

#[test]
fn overlay_s_attributes_are_not_the_archive_s() {
    let unpacked = Archive::new()
        .pax(&[
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.good", b"a\nb\0c"),
        ])
        .file("file", "x")
        .unpack();
    let mut names = [0; 256];
    let length = rustix::fs::listxattr(unpacked.path("file"), &mut names).unwrap();
    assert_eq!(&names[..length], b"user.good\0");
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(unpacked.path("file"), c"user.good", &mut value).unwrap();
    assert_eq!(&value[..length], b"a\nb\0c");
}

#[test]
fn reads_names_from_extended_headers() {
    let long = format!("{}/file", "d".repeat(150));
    let unpacked = Archive::new()
        .pax(&[("path", long.as_bytes()), ("mtime", b"1600000000.5")])
        .file("short", "x")
        .pax(&[("linkpath", long.as_bytes())])
        .hard_link("link", "short")
        .unpack();
    assert_eq!(unpacked.text("link"), "x");
    let file = fs::metadata(unpacked.path(&long)).unwrap();
    assert_eq!((file.mtime(), file.mtime_nsec()), (1_600_000_000, 500_000_000));
    assert!(Archive::new().pax(&[("path", b"a\0/../b")]).file("x", "").unpack().result.is_err());
    assert!(
        Archive::new().pax(&[("path", b"../etc/witness")]).file("x", "").unpack().result.is_err()
    );
}

#[test]
fn makes_holes() {
    let unpacked = Archive::new()
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"holes"),
            ("GNU.sparse.realsize", b"1048580"),
        ])
        .file("GNUSparseFile.0/holes", &format!("{:\0<512}abc", "1\n1048576\n3\n"))
        .unpack();
    let data = fs::read(unpacked.path("holes")).unwrap();
    assert_eq!(data.len(), 1_048_580);
    assert_eq!(&data[1_048_576..], b"abc\0");
    assert!(fs::metadata(unpacked.path("holes")).unwrap().blocks() < 64);
}

#[test]
fn sizes_in_headers_promise_nothing() {
    let size = (u64::MAX / 2).to_string();
    let unpacked = Archive::new().pax(&[("size", size.as_bytes())]).file("x", "abc").unpack();
    assert!(unpacked.error().contains("cut off"), "{}", unpacked.error());
    let unpacked = Archive::new().pax(&[("uid", b"4294967295")]).file("x", "abc").unpack();
    assert!(unpacked.error().contains("out of range"), "{}", unpacked.error());
}
