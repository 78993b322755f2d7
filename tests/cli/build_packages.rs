//! `build --sbom`: packages in the databases of an image.

use std::fs;

use serde_json::Value;

use super::build::context;
use super::support::{Barge, Need, needs};

/// Makes databases of RPM as the tool itself does not: many packages, of which some are large and the last
/// ones are in the log only.
const DATABASE: &str = r#"
import os, shutil, sqlite3, struct, sys
def header(name, epoch, size):
    index, data = b"", b""
    for tag, kind, value in [(1000, 6, name.encode() + b"\0"), (1001, 6, b"1.0\0"), (1002, 6, b"2.x\0"),
            (1003, 4, struct.pack(">I", epoch)), (1022, 6, b"noarch\0"), (1014, 6, b"MIT\0"), (5000, 7, b"x" * size)]:
        if tag == 1003:
            if not epoch: continue
            data += b"\0" * (-len(data) % 4)
        index += struct.pack(">IIII", tag, kind, len(data), 1)
        data += value
    return struct.pack(">II", len(index) // 16, len(data)) + index + data
into = sys.argv[1]
path = os.path.join(into, "made")
database = sqlite3.connect(path)
database.execute("PRAGMA page_size=1024")
database.execute("PRAGMA journal_mode=WAL")
database.execute("PRAGMA wal_autocheckpoint=0")
database.execute("CREATE TABLE 'Other' (a, b, c REAL)")
database.execute("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)")
insert = lambda number: database.execute("INSERT INTO Packages(blob) VALUES(?)",
    (header("p%d" % number, number % 3, number * 37 % 5000 if number % 100 else 200000),))
for number in range(700): insert(number)
insert_key = database.execute("INSERT INTO Packages(blob) VALUES(?)", (header("gpg-pubkey", 0, 9),))
database.commit()
database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
for number in range(700, 800): insert(number)
database.commit()
for number in range(800, 900): insert(number)
for name in ["", "-wal"]: shutil.copy(path + name, os.path.join(into, "rpmdb.sqlite" + name))
"#;

/// Builds with a bill of materials, and returns the packages in it.
fn billed(barge: &Barge, dir: &str) -> Vec<Value> {
    let output = barge.path_text("billed");
    let to = format!("type=oci,tar=false,dest={output}");
    let said = barge.run(["build", "--network=none", "--sbom", "-o", &to, dir]).ok().errors();
    assert!(!said.contains("Warning"), "{said}");
    let blobs = fs::read_dir(barge.path("billed/blobs/sha256")).unwrap();
    let documents = blobs.filter_map(|blob| {
        let text = fs::read(blob.unwrap().path()).unwrap();
        let document: Value = serde_json::from_slice(&text).ok()?;
        document["predicate"]["packages"].as_array().cloned()
    });
    let all = documents.collect::<Vec<_>>();
    fs::remove_dir_all(barge.path("billed")).unwrap();
    let [packages] = all.as_slice() else { panic!("{all:?}") };
    packages.clone()
}

#[test]
fn build_bills_packages_of_rpm() {
    let barge = Barge::new();
    let file = "FROM scratch\nCOPY rpm /usr/lib/sysimage/rpm\nADD links.tar /var/lib/\nCOPY release /etc/os-release\n";
    let dir = context(&barge, &[("Dockerfile", file), ("release", "ID=x\nVERSION_ID=9\n")]);
    let inside = barge.path("ctx/rpm");
    fs::create_dir(&inside).unwrap();
    // As on systems where both paths lead to it.
    fs::create_dir(barge.path("links")).unwrap();
    std::os::unix::fs::symlink("../../usr/lib/sysimage/rpm", barge.path("links/rpm")).unwrap();
    let links = [&barge.path_text("links"), &barge.path_text("ctx/links.tar")];
    barge.other_command("tar", ["-C", links[0], "-cf", links[1], "rpm"]).run().ok();
    let place = inside.display().to_string();
    barge.other_command("python3", ["-c", DATABASE, &place]).run().ok();
    let packages = billed(&barge, &dir);
    let mut names: Vec<String> =
        packages.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
    names.sort_by_key(|name| name[1..].parse::<u32>().unwrap());
    let want: Vec<String> = (0..800).map(|number| format!("p{number}")).collect();
    assert_eq!(names, want);
    let p4 = packages.iter().find(|it| it["name"] == "p4").unwrap();
    assert_eq!(p4["versionInfo"], "1:1.0-2.x");
    let address = "pkg:rpm/x/p4@1.0-2.x?arch=noarch&distro=x-9&epoch=1";
    assert_eq!(p4["externalRefs"][0]["referenceLocator"], address);
    // What is damaged is told, and the build goes on.
    let path = inside.join("rpmdb.sqlite");
    let mut data = fs::read(&path).unwrap();
    data.truncate(5000);
    fs::write(&path, data).unwrap();
    fs::remove_file(inside.join("rpmdb.sqlite-wal")).unwrap();
    let line = ["build", "--network=none", "--sbom", dir.as_str()];
    barge.run(line).exits(0).stderr_has("are not all named: ");
    // So are databases of other kinds.
    fs::remove_file(path).unwrap();
    fs::write(inside.join("Packages"), "x").unwrap();
    barge.run(line).exits(0).stderr_has("this one is of Berkeley DB");
    fs::remove_file(inside.join("Packages")).unwrap();
    // One of RPM's own making.
    let [rpm, own] = [barge.path_text("rpm"), barge.path_text("own")];
    if needs(&[Need::Tool("rpmbuild")]) {
        let spec = barge.file("thing.spec", "Name: thing\nVersion: 1.2\nRelease: 3\nEpoch: 4\nSummary: t\nLicense: MIT\nVendor: V\nBuildArch: noarch\n%description\nt\n%files\n");
        let define = format!("_topdir {rpm}");
        barge.other_command("rpmbuild", ["--define", &define, "-bb", &spec]).run().ok();
        let database = ["--root", &own, "--dbpath", "/db", "--define", "_db_backend sqlite"];
        let package = format!("{rpm}/RPMS/noarch/thing-1.2-3.noarch.rpm");
        fs::create_dir(&own).unwrap();
        let install = ["--nodeps", "--ignorearch", "-i", &package];
        // Debian's complains that it is not how its packages are installed.
        barge.other_command("rpm", database.iter().chain(&install)).run();
        fs::copy(barge.path("own/db/rpmdb.sqlite"), inside.join("rpmdb.sqlite")).unwrap();
        let packages = billed(&barge, &dir);
        assert_eq!(packages.len(), 1, "{packages:?}");
        assert_eq!(packages[0]["versionInfo"], "4:1.2-3");
        assert_eq!(packages[0]["supplier"], "Organization: V");
    }
}
