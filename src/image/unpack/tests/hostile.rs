//! What was made to break out, to break down, or to fill disk and memory.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::{Archive, is_root};

/// A header in which nothing is set but kind and owner, and the name.
fn header(mut header: tar::Header, kind: u8, name: &[u8], size: u64) -> tar::Header {
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkflag = [kind];
    header.set_mode(0o644);
    header.set_uid(rustix::process::geteuid().as_raw().into());
    header.set_gid(rustix::process::getegid().as_raw().into());
    header.set_mtime(1_700_000_000);
    header.set_size(size);
    header
}

#[test]
fn names_that_are_too_long_are_refused() {
    let refused = |what: &str, archive: Archive| {
        let error = archive.unpack().error();
        assert!(error.contains("name too long"), "{what}: {error}");
    };
    let long = |length: usize| "x".repeat(length);
    for length in [256, 4095, 4096, 5000, 500_000] {
        let name = long(length);
        let path = || Archive::new().pax(&[("path", name.as_bytes())]);
        refused("a file", path().file("x", "x"));
        refused("a directory", path().dir("x"));
        refused("a link", path().symlink("x", "y"));
        let link = Archive::new().file("y", "").pax(&[("path", name.as_bytes())]);
        refused("a hard link", link.hard_link("x", "y"));
        let to = Archive::new().pax(&[("linkpath", name.as_bytes())]).hard_link("x", "y");
        refused("a hard link to it", to);
        let hidden = format!("d/.wh.{name}");
        let whiteout = Archive::new().dir("d/").pax(&[("path", hidden.as_bytes())]);
        refused("a whiteout", whiteout.file("x", ""));
        let in_it = format!("{name}/file");
        let parent = Archive::new().pax(&[("path", in_it.as_bytes())]);
        refused("a directory on the way", parent.file("x", ""));
        let gnu = Archive::new().entry(b'L', "././@LongLink", "", 0o644, name.as_bytes());
        refused("a name in GNU's way", gnu.file("x", ""));
    }
    for length in [4096, 500_000] {
        let target = long(length);
        let link = Archive::new().pax(&[("linkpath", target.as_bytes())]);
        refused("a link's target", link.symlink("x", "y"));
    }
    // More than the header may have.
    let name = long((1 << 20) + 1);
    let error = Archive::new().pax(&[("path", name.as_bytes())]).file("x", "").unpack().error();
    assert!(error.contains("larger than 1 MiB"), "{error}");
    // What is just short enough.
    let name = long(255);
    let unpacked = Archive::new().pax(&[("path", name.as_bytes())]).file("x", "text").unpack();
    assert_eq!(unpacked.text(&name), "text");
}

#[test]
fn names_are_bytes_in_every_format() {
    let name = b"caf\xe9 \xff\xfe\n";
    let found = |archive: Archive, path: &[u8]| {
        let unpacked = archive.unpack();
        let path = unpacked.path("").join(OsStr::from_bytes(path));
        assert_eq!(fs::read(&path).unwrap(), b"text", "{path:?}");
    };
    for kind in [0, b'0', b'7'] {
        for format in [tar::Header::new_old(), tar::Header::new_ustar(), tar::Header::new_gnu()] {
            found(Archive::new().raw(header(format, kind, name, 4), b"text"), name);
        }
    }
    let mut ustar = header(tar::Header::new_ustar(), b'0', name, 4);
    ustar.as_ustar_mut().unwrap().prefix[..2].copy_from_slice(b"\xfe\xff");
    found(Archive::new().raw(ustar, b"text"), &[b"\xfe\xff/", &name[..]].concat());
    found(Archive::new().pax(&[("path", name)]).file("x", "text"), name);
    let gnu = Archive::new().entry(b'L', "././@LongLink", "", 0o644, name);
    found(gnu.file("x", "text"), name);
    let unpacked = Archive::new().pax(&[("linkpath", name)]).symlink("l", "x").unpack();
    assert_eq!(fs::read_link(unpacked.path("l")).unwrap().as_os_str(), OsStr::from_bytes(name));
    // The old format has no prefix: what is there is rubbish.
    let mut old = header(tar::Header::new_old(), b'0', b"file", 4);
    old.as_mut_bytes()[345..350].copy_from_slice(b"../..");
    found(Archive::new().raw(old, b"text"), b"file");
}

#[test]
fn owners_beyond_all_numbers_are_refused() {
    for id in [&b"4294967295"[..], b"4294967296", b"18446744073709551615"] {
        for key in ["uid", "gid"] {
            for kind in [b'0', b'2', b'5', b'6'] {
                let archive = Archive::new().pax(&[(key, id)]);
                let error = archive.entry(kind, "x", "y", 0o644, b"").unpack().result.err();
                // Those of directories are looked at, too.
                let error = error.unwrap().to_string();
                assert!(error.contains("out of range"), "{key} {kind}: {error}");
            }
        }
    }
    for id in [&b"18446744073709551616"[..], b"-1", b"x", b"1e3"] {
        let error = Archive::new().pax(&[("uid", id)]).file("x", "").unpack().error();
        assert!(error.contains("damaged"), "{error}");
    }
    let mut large = header(tar::Header::new_gnu(), b'0', b"x", 0);
    large.as_old_mut().uid = [0x80, 0, 0, 1, 0, 0, 0, 0];
    let error = Archive::new().raw(large, b"").unpack().error();
    assert!(error.contains("out of range"), "{error}");
}

#[test]
fn a_file_of_four_gigabytes_with_holes_takes_no_space() {
    const SIZE: u64 = 4 << 30;
    let text = SIZE.to_string();
    let last = SIZE - 3;
    let map = format!("{:\0<512}abc", format!("1\n{last}\n3\n"));
    let first = [
        ("GNU.sparse.major", &b"1"[..]),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"holes"),
        ("GNU.sparse.realsize", text.as_bytes()),
    ];
    let pairs = format!("{last},3");
    let second = [
        ("GNU.sparse.size", text.as_bytes()),
        ("GNU.sparse.numblocks", b"1"),
        ("GNU.sparse.map", pairs.as_bytes()),
    ];
    let mut gnu = header(tar::Header::new_gnu(), b'S', b"holes", 3);
    let fields = gnu.as_gnu_mut().unwrap();
    fields.realsize[..].copy_from_slice(format!("{SIZE:011o}\0").as_bytes());
    fields.sparse[0].offset[..].copy_from_slice(format!("{last:011o}\0").as_bytes());
    fields.sparse[0].numbytes[..].copy_from_slice(b"00000000003\0");
    for archive in [
        Archive::new().pax(&first).file("GNUSparseFile.0/holes", &map),
        Archive::new().pax(&second).file("holes", "abc"),
        Archive::new().raw(gnu, b"abc"),
    ] {
        let unpacked = archive.unpack();
        let found = fs::metadata(unpacked.path("holes")).unwrap();
        assert_eq!(found.size(), SIZE);
        assert!(found.blocks() < 64, "{}", found.blocks());
        assert_eq!(unpacked.result.as_ref().unwrap().size, 3);
    }
}

#[test]
fn maps_that_lie_are_refused() {
    let huge = u64::MAX.to_string();
    let with = |size: &str, pairs: &str| {
        let records = [("GNU.sparse.size", size.as_bytes()), ("GNU.sparse.map", pairs.as_bytes())];
        Archive::new().pax(&records).file("x", "abc").unpack()
    };
    for (size, pairs) in [
        ("2", "0,3"),
        ("100", "0,2"),
        ("100", "0,4"),
        ("100", "50,2,0,1"),
        ("100", "0,2,1,1"),
        (huge.as_str(), "18446744073709551615,3"),
        // No file is as large.
        (huge.as_str(), "0,3"),
        ("x", "0,3"),
        ("100", "0,x"),
        ("-1", "0,3"),
    ] {
        assert!(with(size, pairs).result.is_err(), "{size} {pairs}");
    }
    let version = [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.realsize", b"100")];
    for map in ["", "1", "1\n", "99999999\n0\n3\n", "-1\n", "1\n0\n", "123456789012345678901\n"] {
        let unpacked = Archive::new().pax(&version).file("x", map).unpack();
        assert!(unpacked.result.is_err(), "{map:?}");
    }
}

#[test]
fn odd_marks_hide_only_what_is_in_the_layer() {
    // As directories and links they are marks all the same, and leave no file.
    let unpacked = Archive::new()
        .dir("a/")
        .dir("a/.wh..wh..opq/")
        .dir("b/")
        .symlink("b/.wh..wh..opq", "../../etc")
        .dir("c/")
        .symlink("c/.wh.x", "../../etc/witness")
        .hard_link("c/.wh.y", "c/.wh.x")
        .entry(b'6', "c/.wh.z", "", 0o644, b"")
        .file(".wh..wh..opq", "")
        .file(".wh..wh..opq/.wh..wh..opq", "")
        .unpack();
    for (path, count) in [("a", 0), ("b", 0), ("c", 3)] {
        assert_eq!(fs::read_dir(unpacked.path(path)).unwrap().count(), count, "{path}");
    }
    for name in ["c/x", "c/y", "c/z"] {
        let found = fs::symlink_metadata(unpacked.path(name)).unwrap();
        assert!(found.file_type().is_char_device() && found.rdev() == 0, "{name}");
    }
    // By way of a link they stay inside; what the link leads to is gone for the layers above.
    let unpacked =
        Archive::new().dir("etc/").symlink("l", "../etc").file("l/.wh.witness", "").unpack();
    let hidden = fs::symlink_metadata(unpacked.path("etc/witness")).unwrap();
    assert!(hidden.file_type().is_char_device());
    for mark in [".wh.witness", ".wh..wh..opq"] {
        let path = format!("l/{mark}");
        let unpacked = Archive::new().symlink("l", "../etc").file(&path, "").unpack();
        assert!(unpacked.result.is_err(), "{mark}");
        let path = format!("../etc/{mark}");
        assert!(Archive::new().file(&path, "").unpack().result.is_err(), "{mark}");
    }
}

#[test]
fn links_that_change_their_mind_lead_nowhere_else() {
    let unpacked =
        Archive::new().symlink("d", "../etc").dir("d/").file("d/witness", "inside").unpack();
    assert_eq!(unpacked.text("d/witness"), "inside");
    assert!(fs::symlink_metadata(unpacked.path("d")).unwrap().is_dir());
    // There and back, while the directory is the one that was used last.
    let unpacked = Archive::new()
        .dir("d/")
        .file("d/a", "x")
        .symlink("d", "../etc")
        .file("d/witness", "evil")
        .unpack();
    assert!(unpacked.result.is_err());
    // A second name of a link leads as far as the link.
    let unpacked = Archive::new()
        .symlink("l", "../etc")
        .hard_link("h", "l")
        .file("h/witness", "evil")
        .unpack();
    assert!(unpacked.result.is_err());
    let unpacked = Archive::new()
        .dir("etc/")
        .symlink("l", "../etc")
        .hard_link("h", "l")
        .file("h/witness", "inside")
        .unpack();
    assert_eq!(unpacked.text("etc/witness"), "inside");
    // Links in a circle.
    let unpacked = Archive::new().symlink("a", "b").symlink("b", "a").file("a/x", "").unpack();
    assert!(unpacked.result.is_err());
    // A file through a file.
    let unpacked = Archive::new().file("a", "x").file("a/b", "y").unpack();
    assert!(unpacked.result.is_err() || unpacked.text("a/b") == "y");
}

#[test]
fn devices_are_root_s() {
    let device = |kind| {
        let mut header = header(tar::Header::new_ustar(), kind, b"dev", 0);
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        Archive::new().raw(header, b"").file("file", "text").unpack()
    };
    for kind in [b'3', b'4'] {
        let unpacked = device(kind);
        assert_eq!(unpacked.text("file"), "text");
        let found = fs::symlink_metadata(unpacked.path("dev"));
        if is_root() {
            assert_eq!(found.unwrap().rdev(), rustix::fs::makedev(1, 3));
        } else {
            assert!(found.is_err());
            let warnings = &unpacked.result.as_ref().unwrap().warnings;
            assert!(warnings[0].contains("device `dev` was left out"), "{warnings:?}");
        }
    }
}

#[test]
fn headers_fill_no_memory() {
    let comment = vec![b'x'; 900_000];
    let records = [("comment", comment.as_slice())];
    let archive = Archive::new().extended(b'g', &records).extended(b'g', &records);
    let error = archive.file("x", "").unpack().error();
    assert!(error.contains("global headers are larger than 1 MiB"), "{error}");
    // Records of nothing, each of which would cost twenty times its bytes.
    let many = b"5 a=\n".repeat(1 << 17);
    let archive = Archive::new().entry(b'x', "pax", "", 0o644, &many);
    let error = archive.file("x", "").unpack().error();
    assert!(error.contains("too many records"), "{error}");
    let many: String = (0..5000).map(|n| format!("27 SCHILY.xattr.user.{n:04}=\n")).collect();
    let archive = Archive::new().entry(b'x', "pax", "", 0o644, many.as_bytes());
    let error = archive.file("x", "").unpack().error();
    assert!(error.contains("too many extended attributes"), "{error}");
    // Attributes of directories wait for the end of the archive.
    let value = vec![b'x'; 1 << 19];
    let mut archive = Archive::new();
    for number in 0..65 {
        archive = archive.pax(&[("SCHILY.xattr.user.x", &value)]).dir(&format!("{number}/"));
    }
    let error = archive.unpack().error();
    assert!(error.contains("larger than 32 MiB"), "{error}");
}
