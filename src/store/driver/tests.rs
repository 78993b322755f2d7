//! Layers on top of each other, and stores that change their driver.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, mknodat, utimensat,
};

use super::*;
use crate::error::Kind;
use crate::spec::digest::Digest;
use crate::spec::storage::StorageOptions;
use crate::store::layer::LayerInfo;
use crate::sys::root::Root;

/// Layers and a tree to put them on.
struct Trial {
    dir: tempfile::TempDir,
    layers: usize,
}

impl Trial {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tree")).unwrap();
        Self { dir, layers: 0 }
    }

    fn tree(&self, path: &str) -> PathBuf {
        self.dir.path().join("tree").join(path)
    }

    /// Fills a layer and puts it on top.
    fn layer(&mut self, fill: impl FnOnce(&Layer)) {
        let layer = Layer(self.dir.path().join(self.layers.to_string()));
        self.layers += 1;
        fs::create_dir(&layer.0).unwrap();
        fill(&layer);
        merge::apply(&layer.0, &self.tree(""), &|| false).unwrap();
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.tree(path)).ok()
    }

    fn list(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.tree(path)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

struct Layer(PathBuf);

impl Layer {
    fn file(&self, path: &str, text: &str) -> &Self {
        self.parents(path);
        fs::write(self.0.join(path), text).unwrap();
        self
    }

    fn dir(&self, path: &str, mode: u32) -> &Self {
        fs::create_dir_all(self.0.join(path)).unwrap();
        fs::set_permissions(self.0.join(path), Permissions::from_mode(mode)).unwrap();
        self
    }

    fn opaque(&self, path: &str) -> &Self {
        self.dir(path, 0o755).xattr(path, c"user.overlay.opaque", b"y")
    }

    fn xattr(&self, path: &str, name: &std::ffi::CStr, value: &[u8]) -> &Self {
        lsetxattr(self.0.join(path), name, value, XattrFlags::empty()).unwrap();
        self
    }

    fn whiteout(&self, path: &str) -> &Self {
        self.parents(path);
        let path = self.0.join(path);
        mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        self
    }

    fn parents(&self, path: &str) {
        fs::create_dir_all(self.0.join(path).parent().unwrap()).unwrap();
    }
}

fn xattr(path: &Path, name: &std::ffi::CStr) -> Option<Vec<u8>> {
    let mut value = [0_u8; 64];
    let length = rustix::fs::lgetxattr(path, name, &mut value).ok()?;
    Some(value[..length].to_vec())
}

#[test]
fn what_is_above_wins() {
    let mut trial = Trial::new();
    trial.layer(|layer| {
        layer.file("kept", "1").file("changed", "1").file("dir/old", "1").file("gone", "1");
        layer.file("gone-dir/deep/file", "1").file("emptied/old", "1").file("file-then-dir", "1");
        layer.file("dir-then-file/inner", "1");
        symlink("kept", layer.0.join("link-then-dir")).unwrap();
    });
    trial.layer(|layer| {
        layer.file("changed", "2").file("dir/new", "2").whiteout("gone").whiteout("gone-dir");
        layer.opaque("emptied").file("emptied/new", "2").file("file-then-dir/inner", "2");
        layer.file("dir-then-file", "2").dir("link-then-dir", 0o755).whiteout("never-there");
    });
    let names = ["changed", "dir", "dir-then-file", "emptied", "file-then-dir", "kept"];
    assert_eq!(trial.list("")[..6], names);
    assert_eq!(trial.list("")[6..], ["link-then-dir"]);
    assert_eq!(trial.list("dir"), ["new", "old"]);
    assert_eq!(trial.list("emptied"), ["new"]);
    assert_eq!(trial.read("changed").unwrap(), "2");
    assert_eq!(trial.read("file-then-dir/inner").unwrap(), "2");
    assert_eq!(trial.read("dir-then-file").unwrap(), "2");
    assert!(trial.tree("link-then-dir").symlink_metadata().unwrap().is_dir());
    assert_eq!(xattr(&trial.tree("emptied"), c"user.overlay.opaque"), None, "overlay's mark");
    trial.layer(|layer| {
        layer.file("gone", "3").opaque("dir").file("dir/newer", "3");
    });
    assert_eq!(trial.read("gone").unwrap(), "3", "what was hidden may come again");
    assert_eq!(trial.list("dir"), ["newer"]);
}

#[test]
fn whiteouts_may_be_files() {
    let mut trial = Trial::new();
    trial.layer(|layer| {
        layer.file("gone", "1").file("again/old", "1").file("emptied/old", "1").file("kept", "1");
    });
    trial.layer(|layer| {
        layer.file(".wh.gone", "").file(".wh.again", "").file("again/new", "2");
        layer.file("emptied/.wh..wh..opq", "").file("emptied/new", "2").file(".wh.none", "");
    });
    assert_eq!(trial.list(""), ["again", "emptied", "kept"]);
    assert_eq!(trial.list("again"), ["new"]);
    assert_eq!(trial.list("emptied"), ["new"]);
}

#[test]
fn attributes_come_along() {
    let mut trial = Trial::new();
    let time = |seconds| Timespec { tv_sec: seconds, tv_nsec: 123_456_789 };
    trial.layer(|layer| {
        layer.file("dir/file", "text").dir("dir", 0o2750).dir("closed", 0o000);
        layer.xattr("dir/file", c"user.note", b"hello").xattr("dir", c"user.old", b"x");
        layer.xattr("dir", c"user.kept", b"1");
        let path = layer.0.join("dir/file");
        fs::set_permissions(&path, Permissions::from_mode(0o4711)).unwrap();
        let times = Timestamps { last_access: time(7), last_modification: time(-8) };
        utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
        utimensat(CWD, layer.0.join("dir"), &times, AtFlags::empty()).unwrap();
        symlink("nowhere", layer.0.join("link")).unwrap();
        utimensat(CWD, layer.0.join("link"), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        let fifo = layer.0.join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        fs::set_permissions(&fifo, Permissions::from_mode(0o622)).unwrap();
    });
    let found = |path: &str| trial.tree(path).symlink_metadata().unwrap();
    assert_eq!(found("dir/file").mode() & 0o7777, 0o4711);
    assert_eq!(found("dir").mode() & 0o7777, 0o2750);
    assert_eq!(found("closed").mode() & 0o7777, 0);
    assert_eq!(found("fifo").mode(), 0o010_622);
    for path in ["dir/file", "dir", "link"] {
        let times = (found(path).mtime(), found(path).mtime_nsec());
        assert_eq!(times, (-8, 123_456_789), "{path}");
    }
    assert_eq!(fs::read_link(trial.tree("link")).unwrap(), Path::new("nowhere"));
    assert_eq!(xattr(&trial.tree("dir/file"), c"user.note").unwrap(), b"hello");
    // As root would have no trouble with it, but others have to clean up.
    fs::set_permissions(trial.tree("closed"), Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(trial.dir.path().join("0/closed"), Permissions::from_mode(0o700)).unwrap();
    trial.layer(|layer| {
        layer.dir("dir", 0o711).xattr("dir", c"user.kept", b"2");
    });
    assert_eq!(trial.tree("dir").metadata().unwrap().mode() & 0o7777, 0o711);
    assert_eq!(xattr(&trial.tree("dir"), c"user.kept").unwrap(), b"2");
    assert_eq!(xattr(&trial.tree("dir"), c"user.old"), None);
    assert_eq!(trial.read("dir/file").unwrap(), "text");
}

#[test]
fn links_stay_links() {
    let mut trial = Trial::new();
    trial.layer(|layer| {
        layer.file("a/one", "x").file("lone", "y").dir("b/c", 0o755);
        fs::hard_link(layer.0.join("a/one"), layer.0.join("b/c/two")).unwrap();
        fs::hard_link(layer.0.join("a/one"), layer.0.join("three")).unwrap();
        symlink("x", layer.0.join("link")).unwrap();
        fs::hard_link(layer.0.join("link"), layer.0.join("b/link")).unwrap();
    });
    let inode = |path: &str| trial.tree(path).symlink_metadata().unwrap().ino();
    assert_eq!(inode("a/one"), inode("b/c/two"));
    assert_eq!(inode("a/one"), inode("three"));
    assert_eq!(inode("link"), inode("b/link"));
    assert_eq!(trial.tree("three").metadata().unwrap().nlink(), 3);
    assert_ne!(trial.tree("three").metadata().unwrap().ino(), {
        trial.dir.path().join("0/three").metadata().unwrap().ino()
    });
    trial.layer(|layer| {
        layer.file("three", "other");
    });
    assert_eq!(trial.read("a/one").unwrap(), "x", "the others keep what they have");
}

#[test]
fn holes_stay_holes() {
    let mut trial = Trial::new();
    let size = 64 << 20;
    trial.layer(|layer| {
        let file = fs::File::create(layer.0.join("sparse")).unwrap();
        file.write_all_at(b"middle", 20 << 20).unwrap();
        file.set_len(size).unwrap();
        fs::File::create(layer.0.join("hole")).unwrap().set_len(size).unwrap();
        let big = vec![b'z'; 300_001];
        fs::write(layer.0.join("big"), &big).unwrap();
    });
    for path in ["sparse", "hole"] {
        let found = trial.tree(path).metadata().unwrap();
        assert_eq!(found.len(), size, "{path}");
        assert!(found.blocks() < 2048, "{path}: {} blocks", found.blocks());
    }
    let mut text = [0; 8];
    let file = fs::File::open(trial.tree("sparse")).unwrap();
    file.read_exact_at(&mut text, (20 << 20) - 1).unwrap();
    assert_eq!(&text, b"\0middle\0");
    assert_eq!(trial.read("big").unwrap().len(), 300_001);
}

#[test]
fn depth_takes_no_open_files() {
    let mut trial = Trial::new();
    let deep = "d/".repeat(1100);
    trial.layer(|layer| {
        // Longer than a path may be, were it absolute.
        let mut dir = Root::open(&layer.0).unwrap().dir(b"").unwrap();
        for _ in 0..1100 {
            rustix::fs::mkdirat(&dir, "d", Mode::from_raw_mode(0o755)).unwrap();
            let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
            dir = rustix::fs::openat(&dir, "d", flags, Mode::empty()).unwrap();
        }
        mknodat(&dir, "end", FileType::RegularFile, Mode::from_raw_mode(0o644), 0).unwrap();
    });
    let root = Root::open(&trial.tree("")).unwrap();
    let flags = rustix::fs::OFlags::RDONLY;
    root.file(format!("{deep}end").as_bytes(), flags, Mode::empty()).unwrap();
}

fn open(dir: &Path, driver: Option<DriverName>) -> Result<Store> {
    let options = StorageOptions { driver, ..StorageOptions::default() };
    Store::open_with(&dir.join("root"), &dir.join("run"), &options).map(|(store, _)| store)
}

#[test]
fn a_store_keeps_its_driver() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(open(dir.path(), Some(DriverName::Vfs)).unwrap().driver(), DriverName::Vfs);
    assert_eq!(open(dir.path(), None).unwrap().driver(), DriverName::Vfs);
    // As in a version that knew one driver only.
    fs::remove_file(dir.path().join("root/driver")).unwrap();
    assert_eq!(open(dir.path(), None).unwrap().driver(), DriverName::Overlay);
    // Without containers it may change.
    assert_eq!(open(dir.path(), Some(DriverName::Vfs)).unwrap().driver(), DriverName::Vfs);
    fs::create_dir(dir.path().join("root/containers/x")).unwrap();
    let error = open(dir.path(), Some(DriverName::Overlay)).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().contains("`vfs`"), "{error}");
    assert_eq!(open(dir.path(), None).unwrap().driver(), DriverName::Vfs);
    fs::write(dir.path().join("root/driver"), "zfs").unwrap();
    assert_eq!(open(dir.path(), None).unwrap_err().kind(), Kind::Unsupported);
}

#[test]
fn a_container_has_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Some(DriverName::Vfs)).unwrap();
    let layer = |digit: &str, name: &str| {
        let id = DiffId(Digest::from_hex(&digit.repeat(64)).unwrap());
        let draft = store.layers().begin().unwrap();
        fs::write(draft.diff().join(name), "x").unwrap();
        store.publish(vec![draft.finish(&id, &LayerInfo::default()).unwrap()]).unwrap();
        id
    };
    let layers = [layer("a", "one"), layer("b", "two")];
    let place = dir.path().join("container");
    fs::create_dir(&place).unwrap();
    // A copy that was cut off.
    fs::create_dir_all(dir.path().join("root/tmp/dead/root")).unwrap();
    store.new_tree(&layers, true, None, &|| false).unwrap().unwrap().place(&place).unwrap();
    assert!(place.join("root/one").exists() && place.join("root/two").exists());
    assert_eq!(place.join("root").metadata().unwrap().mode() & 0o7777, 0o755);
    let left = || fs::read_dir(dir.path().join("root/tmp")).unwrap().count();
    assert_eq!(left(), 0);
    // One that fails leaves nothing.
    let missing = DiffId(Digest::from_hex(&"c".repeat(64)).unwrap());
    store.new_tree(&[missing], false, None, &|| false).unwrap_err();
    let error = store.new_tree(&layers, false, None, &|| true).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(left(), 0);
}
