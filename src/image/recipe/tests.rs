//! Archives of all kinds, unpacked and made again bit for bit.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use crate::image::ingest::{Expected, layer};
use crate::image::stream::TarStream;
use crate::spec::digest::DiffId;
use crate::store::Store;
use crate::store::blob::digest_of;

/// A store with one layer that was unpacked from an archive.
struct Unpacked {
    _dir: tempfile::TempDir,
    store: Store,
    id: DiffId,
}

impl Unpacked {
    #[track_caller]
    fn new(archive: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root"), &dir.path().join("run")).unwrap();
        let ingested =
            layer(&store, archive, &Expected { blob: None, diff_id: None }, |_| {}).unwrap();
        store.publish(ingested.finished).unwrap();
        assert_eq!(ingested.diff_id.0, digest_of(archive));
        Self { _dir: dir, store, id: ingested.diff_id }
    }

    fn again(&self) -> std::io::Result<Vec<u8>> {
        let mut again = Vec::new();
        TarStream::open(&self.store, &self.id).unwrap().read_to_end(&mut again)?;
        Ok(again)
    }

    /// Returns a path beside the layer's files.
    fn beside(&self, name: &str) -> std::path::PathBuf {
        self.store.layers().path(&self.id).with_file_name(name)
    }
}

#[track_caller]
fn comes_back(archive: &[u8], what: &str) -> Unpacked {
    let unpacked = Unpacked::new(archive);
    assert!(unpacked.again().unwrap() == archive, "{what}");
    unpacked
}

/// An archive in the making, with nothing checked.
#[derive(Clone, Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn entry(mut self, kind: u8, path: &str, link: &str, data: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.as_old_mut().linkflag = [kind];
        header.set_mode(0o755);
        header.set_uid(rustix::process::geteuid().as_raw().into());
        header.set_gid(rustix::process::getegid().as_raw().into());
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        // Padding that is not zero counts, too.
        self.0.resize(self.0.len().next_multiple_of(512), b'p');
        self
    }

    fn file(self, path: &str, text: &str) -> Self {
        self.entry(b'0', path, "", text.as_bytes())
    }

    fn dir(self, path: &str) -> Self {
        self.entry(b'5', path, "", b"")
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(b'2', path, target, b"")
    }

    fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(b'1', path, target, b"")
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

fn run(program: &str, directory: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).current_dir(directory).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    output.stdout
}

/// A tree with all that an archive may hold and any user can make.
fn tree(top: &Path) {
    let long = "n".repeat(120);
    fs::create_dir_all(top.join("d").join(&long).join(&long)).unwrap();
    fs::write(top.join("d").join(&long).join(&long).join("file"), "deep").unwrap();
    fs::write(top.join("empty"), "").unwrap();
    for size in [1, 511, 512, 513, 300_000] {
        let data: Vec<u8> = (0..size).map(|n: u32| (n.wrapping_mul(31) >> 3) as u8).collect();
        fs::write(top.join(format!("size{size}")), data).unwrap();
    }
    fs::hard_link(top.join("size513"), top.join("again")).unwrap();
    std::os::unix::fs::symlink("/d", top.join("link")).unwrap();
    run("mkfifo", top, &["pipe"]);
    fs::write(top.join("\u{fc}n\u{ef}"), "not ASCII").unwrap();
    // Three pieces with holes between them and a hole at the end.
    let sparse = fs::File::create(top.join("sparse")).unwrap();
    for (offset, text) in [(0, "beginning"), (1 << 20, "middle"), (5 << 20, "end")] {
        std::os::unix::fs::FileExt::write_all_at(&sparse, text.as_bytes(), offset).unwrap();
    }
    sparse.set_len(6 << 20).unwrap();
}

#[test]
fn what_gnu_tar_writes_comes_back() {
    let top = tempfile::tempdir().unwrap();
    tree(top.path());
    for options in [
        &["--format=gnu"][..],
        &["--format=oldgnu"],
        &["--format=ustar", "--exclude=d"],
        &["--format=v7", "--exclude=d", "--exclude=pipe"],
        &["--format=posix"],
        &["--format=gnu", "-S"],
        &["--format=posix", "-S", "--sparse-version=0.0"],
        &["--format=posix", "-S", "--sparse-version=0.1"],
        &["--format=posix", "-S", "--sparse-version=1.0"],
        &["--format=gnu", "-b", "1"],
        &["--format=gnu", "-V", "volume"],
        &["--format=posix", "--pax-option=globexthdr.name=g,comment=x"],
    ] {
        let mut line = vec!["-c", "--numeric-owner"];
        line.extend(options);
        line.push(".");
        let archive = run("tar", top.path(), &line);
        comes_back(&archive, &options.join(" "));
    }
}

#[test]
fn what_python_writes_comes_back() {
    let top = tempfile::tempdir().unwrap();
    tree(top.path());
    for format in ["USTAR", "GNU", "PAX"] {
        let script = format!(
            "import sys, tarfile\n\
             out = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=tarfile.{format}_FORMAT)\n\
             out.add('.', filter=lambda member: None if '{format}' == 'USTAR' and 'n' * 120 in member.name else member)\n\
             out.close()"
        );
        comes_back(&run("python3", top.path(), &["-c", &script]), format);
    }
}

#[test]
fn what_replaces_itself_comes_back() {
    let archive = Archive::default;
    for (what, archive) in [
        ("twice", archive().file("f", "first").file("f", "second").file("./f", "third")),
        ("removed by a link", archive().file("f", "first").symlink("f", "x")),
        ("a directory that becomes a file", archive().dir("d").file("d/f", "x").file("d", "y")),
        (
            "in a directory that goes twice",
            archive()
                .file("a/b/f", "one")
                .file("a/b", "two")
                .file("a", "three")
                .dir("a")
                .file("a/b/f", "four")
                .entry(b'6', "a", "", b""),
        ),
        (
            "through a link to a directory",
            archive()
                .dir("real")
                .symlink("link", "real")
                .file("link/f", "one")
                .file("real/f", "two")
                .symlink("real", "elsewhere")
                .dir("elsewhere")
                .file("link/f", "three"),
        ),
        (
            "with another name",
            archive().file("f", "one").hard_link("g", "f").file("f", "two").hard_link("f", "g"),
        ),
        ("whiteouts", archive().file(".wh.a", "data").file("d/.wh..wh..opq", "x").file("a", "y")),
        ("AUFS", archive().file(".wh..wh.plnk", "some data").dir(".wh..wh.orph")),
        ("a device", archive().entry(b'3', "null", "", b"").file("null", "no device any more")),
        ("odd paths", archive().file("./a//b/../c", "x").file("/absolute", "y").dir("./")),
        (
            "trailing rubbish",
            Archive([archive().file("f", "x").end(), vec![b'r'; 70_000]].concat()),
        ),
        ("no end", archive().file("f", "x")),
        ("nothing", archive()),
    ] {
        comes_back(&archive.0, what);
        comes_back(&archive.end(), what);
    }
}

#[test]
fn a_moved_file_is_kept_once() {
    let archive = Archive::default().file("f", "first").file("f", "second").end();
    let unpacked = comes_back(&archive, "twice");
    assert_eq!(fs::read_to_string(unpacked.beside("aside/0")).unwrap(), "first");
    assert_eq!(fs::read_to_string(unpacked.beside("diff/f")).unwrap(), "second");
    let plain = comes_back(&Archive::default().file("f", "first").end(), "once");
    assert!(!plain.beside("aside").exists() && !plain.beside("moved").exists());
}

#[test]
fn many_replacements_come_back() {
    // A generator of no quality but the same each time.
    let mut state = 1_u32;
    let mut random = |most: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % most
    };
    for round in 0..40 {
        let mut archive = Archive::default();
        for number in 0..60 {
            let depth = random(3);
            let path: Vec<String> = (0..=depth).map(|_| format!("n{}", random(3))).collect();
            let (path, text) = (path.join("/"), format!("content {number}"));
            archive = match random(6) {
                0 => archive.dir(&path),
                1 => archive.symlink(&format!("s{}", random(3)), &path),
                2 => archive.file(&format!("s{}/x", random(2)), &text),
                _ => archive.file(&path, &text),
            };
        }
        let archive = archive.end();
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root"), &dir.path().join("run")).unwrap();
        let expected = Expected { blob: None, diff_id: None };
        // Paths may lead through links that lead nowhere: such archives are refused.
        let Ok(ingested) = layer(&store, archive.as_slice(), &expected, |_| {}) else { continue };
        store.publish(ingested.finished).unwrap();
        let mut again = Vec::new();
        let stream = TarStream::open(&store, &ingested.diff_id).unwrap().read_to_end(&mut again);
        stream.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert!(again == archive, "round {round}");
    }
}

#[test]
fn notices_what_was_changed() {
    let archive = Archive::default().file("f", "first").file("g", "other").end();
    let unpacked = comes_back(&archive, "untouched");
    let file = unpacked.beside("diff/f");
    fs::write(&file, "other").unwrap();
    assert!(unpacked.again().unwrap_err().to_string().contains("was changed in the store"));
    fs::write(&file, "f").unwrap();
    assert!(unpacked.again().unwrap_err().to_string().contains("shorter than it was"));
    fs::remove_file(&file).unwrap();
    assert!(unpacked.again().unwrap_err().to_string().contains("`f` of the layer"));
    let recipe = unpacked.beside("recipe.zst");
    let data = fs::read(&recipe).unwrap();
    for damaged in [&data[..data.len() / 2], b"", b"no recipe"] {
        fs::write(&recipe, damaged).unwrap();
        assert!(unpacked.again().is_err());
    }
    fs::remove_file(&recipe).unwrap();
    assert!(TarStream::open(&unpacked.store, &unpacked.id).is_err());
}

#[test]
fn a_kept_blob_needs_no_recipe() {
    let archive = Archive::default().file("f", "first").end();
    for level in [None, Some(1)] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root"), &dir.path().join("run")).unwrap();
        let blob = match level {
            Some(level) => zstd::encode_all(archive.as_slice(), level).unwrap(),
            None => archive.clone(),
        };
        let (digest, id) = (digest_of(&blob), DiffId(digest_of(&archive)));
        let expected = Expected { blob: Some((&digest, blob.len() as u64)), diff_id: Some(&id) };
        let ingested = layer(&store, blob.as_slice(), &expected, |_| {}).unwrap();
        store.publish(ingested.finished).unwrap();
        let unpacked = Unpacked { _dir: dir, store, id };
        assert!(unpacked.again().unwrap() == archive);
        assert_eq!(unpacked.beside("recipe.zst").exists(), level.is_none());
        assert_eq!(unpacked.store.blobs().exists(&digest), level.is_some());
        let packed = unpacked.store.layers().packed(&unpacked.id).unwrap();
        assert_eq!(packed.first().map(|packed| &packed.digest), Some(&digest));
    }
}
