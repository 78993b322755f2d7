//! Storage drivers: the same containers on each of them, and stores that know which one they have.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::process::Signal;

use super::support::layout::Tar;
use super::support::leaks::entries;
use super::support::registry::Registry;
use super::support::server::Server;
use super::support::{Barge, Need, eventually, fixture, is_root, needs, tool, wait_until};

/// A store with a driver on some file system.
struct Stage {
    barge: Barge,
    driver: &'static str,
    name: String,
}

impl Stage {
    /// A store where the tests are.
    fn here(driver: &'static str) -> Self {
        Self { barge: Barge::new(), driver, name: driver.to_owned() }
    }

    /// A store on a file system of its own, which `mount` makes in a directory `$S`. Needs root.
    fn mounted(driver: &'static str, name: &str, mount: &str) -> Self {
        let mut barge = Barge::new();
        barge.move_to(barge.place().with_mounts(&mount_at(&barge, mount)));
        Self { barge, driver, name: format!("{driver} on {name}") }
    }

    /// All drivers that this user can have, on the file systems that make a difference.
    fn all() -> Vec<Self> {
        let mut all = vec![Self::here("overlay"), Self::here("vfs")];
        if is_root() {
            all.extend(Self::with_space());
        }
        all
    }

    /// Those on file systems that nobody else uses. They need root.
    fn with_space() -> Vec<Self> {
        vec![
            Self::mounted("vfs", "tmpfs", "mount -t tmpfs -o size=600m none $S"),
            Self::mounted("vfs", "xfs", XFS),
            Self::mounted("btrfs", "btrfs", BTRFS),
        ]
    }

    /// Makes the store, with the image `busybox`.
    fn with_busybox(&self) -> &Self {
        let tar = fixture::busybox();
        let line = ["--storage-driver", self.driver, "import", "-q", &tar.to_string_lossy()];
        self.barge.run([&line[..], &["busybox"]].concat()).ok();
        self
    }

    /// Lists a directory of the store.
    fn entries(&self, path: &str) -> Vec<PathBuf> {
        let path = self.barge.root().join(path);
        self.barge.place().enter(|| entries(&path))
    }

    /// Checks that of containers and images nothing is left.
    #[track_caller]
    fn is_empty(&self) {
        for path in ["containers", "names", "tmp", "layers", "chains", "images", "blobs/sha256"] {
            wait_until(&format!("{path} is empty with {}", self.name), || {
                self.entries(path).is_empty()
            });
        }
        if self.driver == "btrfs" {
            assert_eq!(self.subvolumes(), "", "{}", self.name);
        }
    }

    /// Lists the subvolumes of a store on btrfs.
    fn subvolumes(&self) -> String {
        let root = self.barge.root();
        self.barge.place().enter(|| tool("btrfs", ["subvolume", "list", &*root.to_string_lossy()]))
    }

    /// Returns how many bytes of the file system are in use.
    fn used(&self) -> u64 {
        let (root, driver) = (self.barge.root(), self.driver);
        let found = self.barge.place().enter(|| {
            tool("sync", ["-f", &*root.to_string_lossy()]);
            if driver == "btrfs" {
                // What was removed at once is freed in the background.
                tool("btrfs", ["subvolume", "sync", "-s1", &*root.to_string_lossy()]);
            }
            rustix::fs::statvfs(&root).unwrap()
        });
        (found.f_blocks - found.f_bfree) * found.f_frsize
    }
}

const XFS: &str =
    "truncate -s 600M $S.img; mkfs.xfs -q -m reflink=1 $S.img; mount -o loop $S.img $S";
const BTRFS: &str =
    "truncate -s 600M $S.img; mkfs.btrfs -q $S.img; mount -o loop,commit=1 $S.img $S";

/// Returns commands that mount something where a store will be.
fn mount_at(barge: &Barge, mount: &str) -> String {
    let root = barge.root();
    fs::create_dir(&root).unwrap();
    format!("S={}; {mount}", root.display())
}

#[test]
fn containers_have_files_of_their_own() {
    for stage in Stage::all() {
        let Stage { barge, driver, name } = stage.with_busybox();
        assert_eq!(barge.run(["info", "-f", "{{.Store.GraphDriverName}}"]).ok().text(), *driver);
        let check = barge.run(["system", "check"]).lines();
        let line = check.iter().find(|line| line.contains("storage driver")).unwrap();
        assert!(line.contains(&format!(" {driver} in ")), "{line}");
        for name in ["one", "two"] {
            barge.start(["--name", name, "busybox", "sleep", "1000"]);
        }
        let change = "echo one >/file; rm /etc/group; mkdir /tmp/dir; echo x >>/etc/passwd";
        barge.run(["exec", "one", "sh", "-c", change]).ok();
        barge.run(["exec", "two", "ls", "/file", "/tmp/dir"]).exits(1);
        barge.run(["exec", "two", "grep", "-c", "", "/etc/group", "/etc/passwd"]).ok();
        barge.run(["exec", "two", "grep", "x$", "/etc/passwd"]).exits(1);
        // What is written stays with the container.
        for line in [["stop", "-t0", "one"], ["start", "one", "two"]] {
            barge.run(line).ok();
        }
        barge.run(["exec", "one", "cat", "/file"]).ok().stdout("one\n");
        barge.run(["exec", "one", "ls", "/etc/group"]).exits(1);
        assert_eq!(
            barge.inspect("one", "{{.Driver}} {{.GraphDriver.Name}}"),
            [*driver; 2].join(" ")
        );
        let image = ["image", "inspect", "-f", "{{.GraphDriver.Name}}", "busybox"];
        assert_eq!(barge.run(image).ok().text(), *driver);
        // The image stays as it was.
        barge.shell(&[], "ls /file").exits(1);
        barge.shell(&["--read-only"], "touch /file").exits(1);
        barge.shell(&["--read-only", "--tmpfs", "/t"], "touch /t/file").ok();
        barge.shell(&["-u", "app"], "touch /tmp/file && ! touch /file 2>/dev/null").ok();
        let volume = format!("{}:/v", barge.path_text("t"));
        barge.shell(&["-v", &volume], "echo there >/v/file").ok();
        assert_eq!(fs::read_to_string(barge.path("t/file")).unwrap(), "there\n", "{name}");
        barge.run(["run", "--rm", "--network=none", "builtin/hello"]).ok().stdout_has("Hello");
        if *driver != "overlay" {
            let host = ["run", "--rm", "--network=none", "builtin/host", "true"];
            barge.run(host).fails(125).error_has(&format!("`{driver}`")).hint_has("--root");
            barge.run(["rmi", "builtin/host"]).ok();
        }
        wait_until("the two are left", || stage.entries("containers").len() == 2);
        barge.run(["rm", "-f", "-t0", "-a"]).ok();
        barge.leaves_nothing();
        barge.run(["rmi", "busybox"]).ok();
        barge.run(["rmi", "builtin/hello"]).ok();
        stage.is_empty();
    }
}

/// busybox, and layers above it that change what is below in all the ways that there are.
fn many_layers() -> Vec<Vec<u8>> {
    let base = Tar::new()
        .directory("many/", 0o755)
        .directory("emptied/", 0o755)
        .file("emptied/old", 0o644, "1")
        .file("gone/deep/file", 0o644, "1")
        .file("changed", 0o644, "1")
        .owned_by(1000, 2000)
        .directory("owned/", 0o2775)
        .file("owned/file", 0o4711, "1")
        .symlink("owned/link", "file")
        .hardlink("owned/other", "owned/file")
        .file("owned/gone", 0o644, "1")
        .file("file-then-dir", 0o600, "1")
        .directory("dir-then-file/", 0o700)
        .file("dir-then-file/inner", 0o600, "1");
    let above = Tar::new()
        .directory("emptied/", 0o711)
        .file("emptied/.wh..wh..opq", 0o644, "")
        .file("emptied/new", 0o644, "2")
        .file(".wh.gone", 0o644, "")
        .file("changed", 0o755, "2")
        .directory("file-then-dir/", 0o750)
        .file("file-then-dir/inner", 0o644, "2")
        .file("dir-then-file", 0o644, "2")
        .directory("owned/", 0o700)
        .file("owned/.wh.gone", 0o644, "");
    let mut layers = vec![fixture::busybox_tar(), base.bytes(), above.bytes()];
    for number in 0..127 {
        let mut tar = Tar::new().file(&format!("many/{number}"), 0o644, format!("{number}\n"));
        if number % 3 == 0 && number > 0 {
            tar = tar.file(&format!("many/.wh.{}", number - 2), 0o644, "");
        }
        if number == 60 {
            tar = tar.directory("gone/", 0o755).file("gone/again", 0o644, "3");
        }
        layers.push(tar.bytes());
    }
    layers
}

/// Tells all about the files of a container, but what mounting things in it changes.
const LIST: &str = "cd /; find . -xdev | sort >/tmp/all; \
     grep -vE '^\\.(/(etc|dev|proc|sys|run|tmp/all)?(/.*)?)?$' /tmp/all >/run/some; \
     grep -v '^./tmp$' /run/some | while read -r f; do \
       if [ -d \"$f\" ] && [ ! -L \"$f\" ]; then stat -c '%n %F %a %u:%g %Y' \"$f\"; \
       else stat -c '%n %N %F %a %u:%g %h %s %Y' \"$f\"; fi; done; \
     find . -xdev -type f ! -path './etc/*' ! -path './tmp/*' ! -path './run/*' | sort | xargs md5sum";

#[test]
fn trees_are_as_overlay_shows_them() {
    let layers = many_layers();
    let mut want = String::new();
    for stage in Stage::all() {
        let barge = &stage.barge;
        let server = Server::start(barge.place());
        server.image("many", &layers);
        let image = server.reference("many:1");
        barge.run(["--storage-driver", stage.driver, "pull", "-q", &image]).ok();
        let line = ["run", "--rm", "--network=none", "--tmpfs", "/run", &image, "sh", "-c", LIST];
        let got = barge.run(line).ok().text();
        assert!(got.contains("./many/126") && got.contains("./gone/again"), "{got}");
        assert!(!got.contains("./emptied/old") && !got.contains("./owned/gone"), "{got}");
        if want.is_empty() {
            want = got;
        } else if got != want {
            let lacks = |a: &str, b: &str| -> Vec<String> {
                a.lines().filter(|line| !b.contains(line)).map(str::to_owned).take(9).collect()
            };
            panic!("{}: {:#?} for {:#?}", stage.name, lacks(&got, &want), lacks(&want, &got));
        }
        barge.run(["rmi", &image]).ok();
        stage.is_empty();
    }
}

#[test]
fn a_whole_distribution_is_as_overlay_shows_it() {
    if !needs(&[Need::Root, Need::Debian]) {
        return;
    }
    let list = "cd /; find . -xdev -not -path './etc*' -not -path './run*' -not -path '.' -not -path './dev' -not -path './proc' -not -path './sys' -not -path './tmp' \
                \\( -type d -printf '%p %M %u %g %T@\\n' -o -printf '%p %l %M %u %g %n %s %T@\\n' \\) | sort; \
                find usr var bin sbin lib -type f -print0 | sort -z | xargs -0 md5sum | md5sum";
    let mut want = String::new();
    let stages = [
        Stage::here("overlay"),
        Stage::mounted("vfs", "xfs", &XFS.replace("600M", "2G")),
        Stage::mounted("btrfs", "btrfs", &BTRFS.replace("600M", "2G")),
    ];
    for stage in stages {
        let barge = &stage.barge;
        let registry = Registry::with_web(barge.place());
        let image = registry.reference("web:1");
        barge.run(["--storage-driver", stage.driver, "pull", "-q", &image]).ok();
        let line = ["run", "--rm", "--network=none", "--entrypoint", "sh", &image, "-c", list];
        let got = barge.run(line).ok().text();
        let (got, got_lines) = (got.clone(), got.lines().count());
        assert!(got_lines > 5000, "{got_lines}");
        if want.is_empty() {
            want = got;
        } else if got != want {
            let odd = got.lines().zip(want.lines()).find(|(got, want)| got != want);
            panic!("{}: {odd:?}", stage.name);
        }
        barge.run(["rmi", &image]).ok();
        stage.is_empty();
    }
}

#[test]
fn many_first_starts_at_once() {
    for stage in Stage::all() {
        let barge = &stage.with_busybox().barge;
        let running: Vec<_> = (0..10)
            .map(|n: u32| {
                let script = format!("echo {n} >/file; cat /file");
                let line = ["run", "--rm", "--network=none", "busybox", "sh", "-c", &script];
                barge.command(line).spawn()
            })
            .collect();
        for (n, one) in running.into_iter().enumerate() {
            one.wait().ok().stdout(&format!("{n}\n"));
        }
        barge.leaves_nothing();
        barge.run(["rmi", "busybox"]).ok();
        stage.is_empty();
    }
}

#[test]
fn killed_creates_are_cleaned_up() {
    for stage in Stage::all().into_iter().skip(1) {
        let barge = &stage.with_busybox().barge;
        barge.kills();
        let create = ["create", "--name", "box", "busybox", "true"];
        let begin = Instant::now();
        barge.run(create).ok();
        let whole = begin.elapsed();
        barge.run(["rm", "box"]).ok();
        for round in 0..18 {
            // Now and then the shared trees are to be made, too.
            if round % 6 == 0 {
                barge.run(["rmi", "busybox"]).ok();
                stage.with_busybox();
            }
            let mut running = barge.command(create).spawn();
            eventually(whole * round / 18, || running.has_ended());
            running.signal(Signal::KILL);
            running.wait();
            barge.run(["rm", "-f", "-a"]).ok();
            barge.run(["create", "--name", "box", "busybox", "true"]).ok();
            assert_eq!(stage.entries("containers").len(), 1, "{} round {round}", stage.name);
            assert!(stage.entries("tmp").is_empty(), "{} round {round}", stage.name);
            barge.run(["rm", "box"]).ok();
        }
        barge.run(["rmi", "busybox"]).ok();
        stage.is_empty();
    }
}

#[test]
fn a_long_copy_holds_up_nobody() {
    let stage = Stage::here("vfs");
    let barge = &stage.with_busybox().barge;
    let files = (0..50_000).fold(Tar::new(), |tar, n| tar.file(&format!("f{n}"), 0o644, ""));
    let tar = barge.file("many.tar", files.bytes());
    barge.run(["import", "-q", &tar, "many"]).ok();
    let copies = || stage.entries("tmp").into_iter().any(|path| path.join("root/f0").exists());

    // Others may remove images while it goes on; not the one that is copied.
    let mut running = barge.command(["create", "--name", "box", "many", "x"]).spawn();
    wait_until("it copies", &copies);
    barge.run(["rmi", "busybox"]).ok();
    assert!(!running.has_ended(), "nothing is shown: the copy is too small");
    running.wait().ok();
    assert!(
        barge
            .root()
            .join("containers")
            .read_dir()
            .unwrap()
            .any(|container| { container.unwrap().path().join("root/f49999").exists() })
    );
    barge.run(["rm", "box"]).ok();

    // An image that is removed meanwhile makes no container.
    let mut running = barge.command(["create", "--name", "box", "many", "x"]).spawn();
    wait_until("it copies", &copies);
    barge.run(["rmi", "many"]).ok();
    assert!(!running.has_ended(), "nothing is shown: the copy is too small");
    running.wait().fails(125).error_has("localhost/many:latest: image not known");
    stage.is_empty();

    // Who does not want to wait does not have to.
    barge.run(["import", "-q", &tar, "many"]).ok();
    let mut running = barge.command(["run", "--rm", "--network=none", "many", "x"]).spawn();
    wait_until("it copies", &copies);
    running.signal(Signal::INT);
    running.wait().fails(125).error_has("interrupted before the container was made");
    barge.run(["rmi", "many"]).ok();
    stage.is_empty();
}

#[test]
fn space_is_shared_and_freed() {
    if !needs(&[Need::Root]) {
        return;
    }
    const MIB: u64 = 1 << 20;
    for stage in Stage::with_space() {
        let barge = &stage.barge;
        barge.run(["--storage-driver", stage.driver, "images"]).ok();
        let empty = stage.used();
        let big = vec![b'z'; 40 << 20];
        let tar = barge.file("big.tar", Tar::new().file("big", 0o644, big).bytes());
        let tars = [fixture::busybox().to_string_lossy().into_owned(), tar];
        for (tar, name) in tars.iter().zip(["busybox", "big"]) {
            barge.run(["import", "-q", tar, name]).ok();
        }
        let full = stage.used();
        for name in ["a", "b", "c"] {
            barge.run(["create", "--name", name, "big", "true"]).ok();
        }
        let grown = stage.used().saturating_sub(full) / MIB;
        // A file system that cannot share has three copies.
        let want = if stage.name.contains("tmpfs") { 120..122 } else { 0..4 };
        assert!(want.contains(&grown), "{}: {grown} MiB for three copies", stage.name);
        let script = "dd if=/dev/zero of=/file bs=1M count=50 2>/dev/null";
        barge.run(["run", "--network=none", "--name", "w", "busybox", "sh", "-c", script]).ok();
        assert!(stage.used() > full + 49 * MIB, "{}", stage.name);
        barge.run(["rm", "-a"]).ok();
        wait_until("containers are freed", || stage.used() < full + 4 * MIB);
        barge.run(["rmi", "busybox", "big"]).ok();
        wait_until("images are freed", || stage.used() < empty + 4 * MIB);
        stage.is_empty();
    }
}

#[test]
fn a_store_with_containers_keeps_its_driver() {
    let barge = Barge::new();
    barge.run(["--storage-driver", "zfs", "ps"]).fails(125).error_has("`zfs`").hint_has("vfs");
    let driver = || barge.run(["info", "-f", "{{.Store.GraphDriverName}}"]).ok().text();
    barge.command(["images", "-q"]).env("STORAGE_DRIVER", "vfs").run().ok();
    assert_eq!(driver(), "vfs");
    barge.import_busybox();
    // The images are the same for all.
    barge.run(["--storage-driver", "overlay2", "ps", "-q"]).ok();
    assert_eq!(driver(), "overlay");
    barge.run(["create", "--name", "box", "busybox", "true"]).ok();
    let error = format!(
        "the store {} was made with the storage driver `overlay` and has containers: it cannot be opened with `vfs`",
        barge.root().display()
    );
    for output in [
        barge.run(["--storage-driver=vfs", "ps"]),
        barge.command(["ps"]).env("STORAGE_DRIVER", "vfs").run(),
        barge.run(["--storage-driver=vfs", "run", "--rm", "busybox", "true"]),
    ] {
        output.fails(125).error(&error).hint_has("--root");
    }
    // The flag goes before the variable.
    let both = ["--storage-driver", "overlay", "ps", "-q"];
    barge.command(both).env("STORAGE_DRIVER", "vfs").run().ok();
    barge.run(["rm", "box"]).ok();
    barge.run(["--storage-driver", "vfs", "create", "--name", "box", "busybox", "true"]).ok();
    assert_eq!(barge.inspect("box", "{{.Driver}} {{json .GraphDriver.Data}}"), "vfs null");
    barge.run(["rm", "box"]).ok();
    if !is_root() {
        return;
    }
    barge.run(["--storage-driver", "btrfs", "ps"]).fails(125).error_has("not on btrfs");
    assert_eq!(driver(), "vfs");
}

#[test]
fn what_works_is_chosen() {
    if !needs(&[Need::Root]) {
        return;
    }
    let driver = |stage: &Stage| {
        let get = ["info", "-f", "{{.Store.GraphDriverName}}"];
        stage.barge.run(get).ok().stderr("").text()
    };
    for (name, mount) in [("xfs", XFS), ("btrfs", BTRFS), ("tmpfs", "mount -t tmpfs none $S")] {
        let stage = Stage::mounted("overlay", name, mount);
        assert_eq!(driver(&stage), "overlay", "{name}");
    }
    // As in a container, whose own file system is an overlay.
    let nested = "mkdir $S.l $S.u $S.w; \
                  mount -t overlay none -o lowerdir=$S.l,upperdir=$S.u,workdir=$S.w $S";
    let stage = Stage::mounted("vfs", "overlay", nested);
    let barge = &stage.barge;
    let refused = barge.run(["--storage-driver", "overlay", "ps"]).fails(125);
    refused.error_has("`overlay` does not work").hint_has("--root");
    let output = barge.run(["ps", "-q"]).exits(0);
    let warning = output.errors();
    assert_eq!(warning.lines().count(), 1, "{warning}");
    for word in ["Warning: ", "vfs", "overlay does not work", "--root"] {
        assert!(warning.contains(word), "{word}: {warning}");
    }
    assert_eq!(driver(&stage), "vfs");
    // There are no whiteouts as overlay has them: they cannot be made on an overlay.
    let registry = Registry::start(barge.place());
    let image = registry.reference("box:1");
    barge.run(["pull", "-q", &image]).ok();
    let script = "ls / /emptied; cat /greeting; find / -xdev -name '.wh.*'";
    let line = ["run", "--rm", "--network=none", &image, "sh", "-c", script];
    let output = barge.run(line).ok().text();
    assert!(output.ends_with("/emptied:\nnew\nhello from a layer"), "{output}");
    assert!(!output.contains("removed"), "{output}");
    barge.run(["rmi", &image]).ok();
    stage.is_empty();
}

#[test]
fn subvolumes_without_root() {
    if !needs(&[Need::Root, Need::User("barge-test")]) {
        return;
    }
    for option in ["", "-o user_subvol_rm_allowed"] {
        let mut barge = Barge::of_user("barge-test");
        let mount = BTRFS.replace("-o loop", &format!("{option} -o loop"));
        let mount = mount_at(&barge, &format!("{mount}; chown barge-test: $S"));
        barge.move_to(barge.place().with_mounts(&mount));
        let tar = barge.path("busybox.tar");
        fs::copy(fixture::busybox(), &tar).unwrap();
        let line = ["--storage-driver", "btrfs", "import", "-q", &tar.to_string_lossy(), "busybox"];
        barge.run(line).ok();
        let stage = Stage { barge, driver: "btrfs", name: format!("btrfs {option}") };
        let barge = &stage.barge;
        let line = ["run", "-d", "--network=none", "--name", "box", "busybox", "sleep", "1000"];
        barge.run(line).exits(0);
        let script = "mkdir -p /a/b; echo x >/a/b/c; chmod 0 /a/b; chown app /a; ls -ld /a";
        barge.run(["exec", "box", "sh", "-c", script]).ok().stdout_has("app");
        barge.shell(&[], "ls /a").exits(1);
        barge.run(["rm", "-f", "-t0", "box"]).ok();
        barge.run(["rmi", "busybox"]).ok();
        stage.is_empty();
    }
}

/// An image whose second layer has files of others.
fn foreign_layer() -> Vec<u8> {
    Tar::new().owned_by(33, 44).directory("www/", 0o750).file("www/page", 0o4640, "hi\n").bytes()
}

const OWNERS: &str = "stat -c '%u:%g %a' /www /www/page";

#[test]
fn a_single_id_is_explained_and_enough_on_request() {
    if !needs(&[Need::Root, Need::User("barge-nosub")]) {
        return;
    }
    for driver in ["overlay", "vfs"] {
        let barge = Barge::of_user("barge-nosub");
        let server = Server::start(barge.place());
        server.image("web", &[fixture::busybox_tar(), foreign_layer()]);
        let image = server.reference("web:1");
        let pull = |flags: &[&str]| {
            let line = [&["--storage-driver", driver], flags, &["pull", "-q", &image]].concat();
            barge.run(line)
        };
        let output = pull(&[]);
        assert!(output.errors().contains("usermod --add-subuids"), "{}", output.story());
        output
            .exits(125)
            .error_has("`www/page`")
            .hint_has("--storage-opt ignore_chown_errors=true");
        let squash = ["--storage-opt", "ignore_chown_errors=true"];
        pull(&squash).exits(0).stderr_has("files of other users were given to you");
        // It needs no flag to be run.
        let line = ["run", "--rm", "--network=none", &image, "sh", "-c", OWNERS];
        barge.run(line).exits(0).stdout("0:0 750\n0:0 4640\n");
        let squashed = barge.layers().iter().filter(|layer| is_squashed(layer)).count();
        assert_eq!((squashed, barge.layers().len()), (1, 2), "{driver}");
        // It is not taken for what it should be.
        pull(&[]).exits(125).error_has("given to one user").hint_has("barge rmi");
        server.image("other", &[foreign_layer()]);
        let other = server.reference("other:1");
        barge.run(["pull", "-q", &other]).exits(125).error_has("given to one user");
        barge.run([&squash[..], &["pull", "-q", &other]].concat()).exits(0);
        barge.run(["rmi", &other, &image]).exits(0);
        assert!(barge.layers().is_empty(), "{driver}");
    }
}

fn is_squashed(layer: &Path) -> bool {
    fs::read_to_string(layer.join("layer.json")).unwrap().contains(r#""squashed":true"#)
}

#[test]
fn ids_that_come_later_are_used() {
    if !needs(&[Need::NoRoot]) {
        return;
    }
    let barge = Barge::new();
    let server = Server::start(barge.place());
    server.image("web", &[fixture::busybox_tar(), foreign_layer()]);
    let image = server.reference("web:1");
    // Without the two programs there is one ID only.
    let pull = ["pull", "-q", &image];
    barge
        .command(pull)
        .env("PATH", "/nonexistent")
        .env("STORAGE_OPTS", "overlay.ignore_chown_errors=true")
        .run()
        .exits(0)
        .stderr_has("given to you");
    barge.run(pull).fails(125).error_has("given to one user").hint_has("barge rmi");
    barge.run(["rmi", &image]).ok();
    // With all IDs there is nothing to ignore.
    barge.run(["--storage-opt", "ignore_chown_errors=true", "pull", "-q", &image]).ok().stderr("");
    let line = ["run", "--rm", "--network=none", &image, "sh", "-c", OWNERS];
    assert_eq!(barge.run(line).exits(0).text(), "33:44 750\n33:44 4640");
    barge.run(pull).ok();
    barge.run(["--storage-opt", "size=10G", "ps"]).fails(125).error_has("`size=10G`");
}
