//! `barge container checkpoint` and `restore`, with CRIU.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::support::registry::free_port;
use super::support::{Barge, Need, Output, needs, unstable, wait_until};

/// Counts on its output, and serves a page.
const COUNT: &str = "mkdir /www; echo page > /www/index.html; httpd -p 80 -h /www; echo kept > /data/f; \
     echo mine > /dev/shm/f; i=0; while :; do i=$((i+1)); echo $i; echo $i > /tmp/i; sleep 0.05; done";

fn is_here() -> bool {
    needs(&[Need::Root, Need::Debian]) && cfg!(target_arch = "x86_64")
}

/// Runs a command that finds CRIU.
fn with_criu(barge: &Barge, line: &[&str]) -> Output {
    let path = format!("{}:{}", unstable::criu().display(), std::env::var("PATH").unwrap());
    barge.command(line).env("PATH", path).run()
}

/// Runs a command that finds a CRIU that fails.
fn with_failing_criu(barge: &Barge, line: &[&str]) -> Output {
    let script = "#!/bin/sh\nlog=$1.log\nwhile [ $1 != --work-dir ]; do shift; done\n\
                  echo '(00.1) Error (criu/x.c:1): it is too late' > \"$2/$log\"\nexit 1\n";
    let program = barge.file("criu", script);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", barge.directory().display(), std::env::var("PATH").unwrap());
    barge.command(line).env("PATH", path).run()
}

fn counted(barge: &Barge, name: &str) -> u64 {
    barge.run(["exec", name, "cat", "/tmp/i"]).text().trim().parse().unwrap_or(0)
}

fn state(barge: &Barge, name: &str) -> String {
    barge.inspect(name, "{{.State.Status}} {{.State.Checkpointed}} {{.State.Restored}}")
}

#[test]
fn containers_go_on_where_they_were() {
    if !is_here() {
        return;
    }
    let barge = Barge::with_busybox();
    barge.run(["network", "create", "--subnet", "10.71.0.0/24", "n"]).ok();
    let port = free_port(barge.place());
    let published = format!("127.0.0.1:{port}:80");
    let line = ["run", "-d", "--name", "c", "--network", "n", "-p", &published, "-v", "v:/data"];
    let line =
        [&line[..], &["--restart", "always", "-m", "64m", "busybox", "sh", "-c", COUNT]].concat();
    barge.run(line).ok();
    wait_until("it counts", || counted(&barge, "c") > 3);
    let seen = |what: &str| barge.run(["exec", "c", "sh", "-c", what]).ok().text();
    let addresses = "ip addr show eth0 | grep -o 'ether [^ ]*\\|inet [^ ]*'";
    let before = seen(addresses);

    with_criu(&barge, &["container", "checkpoint", "c"]).ok().stdout("c\n");
    assert_eq!(state(&barge, "c"), "exited true false");
    barge.run(["ps", "-q"]).ok().stdout("");
    // It ends for that, and is not started again.
    let log = barge.run(["logs", "c"]).ok().lines();
    let stopped: u64 = log.last().unwrap().parse().unwrap();

    with_failing_criu(&barge, &["container", "restore", "c"])
        .fails(125)
        .error_has("it is too late")
        .hint_has("restore.log");
    assert_eq!(state(&barge, "c"), "exited true false");

    with_criu(&barge, &["container", "restore", "c"]).ok().stdout("c\n");
    assert_eq!(state(&barge, "c"), "running false true");
    wait_until("it goes on", || counted(&barge, "c") > stopped + 3);
    let log = barge.run(["logs", "c"]).ok().lines();
    let numbers: Vec<u64> = log.iter().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    assert_eq!(seen("cat /data/f /dev/shm/f /proc/1/comm"), "kept\nmine\nsh");
    assert_eq!(seen(addresses), before);
    let url = format!("http://127.0.0.1:{port}/");
    barge.other_command("curl", ["-s", &url]).run().ok().stdout("page\n");
    barge.run(["exec", "c", "nslookup", "c"]).ok().stdout_has("10.71.0.2");

    // It ends as any other, and its restart policy has it begin anew.
    let pid = barge.inspect("c", "{{.State.Pid}}");
    barge.other_command("kill", ["-9", &pid]).run().ok();
    wait_until("it begins anew", || state(&barge, "c") == "running false false");
    assert_eq!(barge.inspect("c", "{{.RestartCount}}"), "1");
    barge.run(["rm", "-f", "-t", "0", "c"]).ok();
    barge.leaves_nothing();
}

#[test]
fn checkpoints_can_be_kept() {
    if !is_here() {
        return;
    }
    let barge = Barge::with_busybox();
    let script = "i=0; while :; do i=$((i+1)); echo $i > /tmp/i; sleep 0.05; done";
    let line = ["run", "-d", "--name", "c", "--network", "none", "busybox", "sh", "-c", script];
    barge.run(line).ok();
    wait_until("it counts", || counted(&barge, "c") > 3);
    with_criu(&barge, &["container", "checkpoint", "--leave-running", "c"]).ok();
    assert_eq!(state(&barge, "c"), "running true false");
    let then = counted(&barge, "c");
    wait_until("it goes on", || counted(&barge, "c") > then + 3);
    with_criu(&barge, &["container", "restore", "c"]).fails(125).error_has("running already");
    for _ in 0..2 {
        barge.run(["stop", "-t", "0", "c"]).ok();
        with_criu(&barge, &["container", "restore", "--keep", "c"]).ok();
        assert_eq!(state(&barge, "c"), "running true true");
    }
    // From its beginning, as always; then there is none any more.
    barge.run(["restart", "-t", "0", "c"]).ok();
    assert_eq!(state(&barge, "c"), "running false false");
    barge.run(["stop", "-t", "0", "c"]).ok();
    with_criu(&barge, &["container", "restore", "c"]).fails(125).error_has("no checkpoint of it");
    barge.run(["rm", "c"]).ok();
    barge.leaves_nothing();
}

/// Moves a container to another store, with all that it has.
#[test]
fn containers_move_to_other_stores() {
    if !is_here() {
        return;
    }
    let (barge, other) = (Barge::with_busybox(), Barge::new());
    let script = "rm /bin/tac; echo new > /bin/new; echo kept > /data/f; echo own > /anonymous/f; \
                  exec 9>>/tmp/log; i=0; while :; do i=$((i+1)); echo $i >&9; echo $i > /tmp/i; \
                  sleep 0.05; done";
    for store in [&barge, &other] {
        store.run(["network", "create", "--subnet", "10.71.0.0/24", "n"]).ok();
    }
    let line = ["run", "-d", "--name", "c", "--network", "n", "-v", "v:/data", "-v", "/anonymous"];
    let line = [&line[..], &["-p", "127.0.0.1::80"]].concat();
    barge.run([&line[..], &["busybox", "sh", "-c", script]].concat()).ok();
    wait_until("it counts", || counted(&barge, "c") > 3);
    let port = barge.run(["port", "c", "80"]).ok().text();
    let archive = barge.path_text("c.tar.zst");
    let live = barge.path_text("live.tar");
    let line = ["container", "checkpoint", "-R", "-c", "none", "-e", &live, "c"];
    with_criu(&barge, &line).ok();
    let then = counted(&barge, "c");
    wait_until("it goes on", || counted(&barge, "c") > then + 3);
    with_criu(&barge, &["container", "checkpoint", "--export", &archive, "c"]).ok().stdout("c\n");
    let mode = fs::metadata(&archive).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let lines = "/var/lib/none";
    with_criu(&barge, &["container", "restore", "-i", lines]).fails(125).error_has(lines);

    let import = |more: &[&str]| {
        with_criu(&other, &[&["container", "restore", "--import", &archive], more].concat())
    };
    import(&[]).fails(125).error_has("image not known").hint_has("pull or load");
    let image = barge.path_text("image.tar");
    barge.run(["save", "-q", "-o", &image, "busybox"]).exits(0);
    other.run(["load", "-q", "-i", &image]).exits(0);
    let id = import(&[]).ok().text();
    assert_eq!(id, barge.inspect("c", "{{.Id}}"));
    wait_until("it goes on", || counted(&other, "c") > then + 10);
    let seen =
        "cat /data/f /anonymous/f /bin/new; ls /bin/tac 2>/dev/null; hostname; tail -n 2 /tmp/log";
    let seen = |name: &str| other.run(["exec", name, "sh", "-c", seen]).text();
    assert_eq!(other.run(["port", "c", "80"]).ok().text(), port);
    let first = seen("c");
    assert!(first.starts_with(&format!("kept\nown\nnew\n{}\n", &id[..12])), "{first}");

    // A second one needs a name, volumes and an address of its own.
    import(&[]).fails(125).error_has("volume v is here already").hint_has("--ignore-volumes");
    import(&["--ignore-volumes"]).fails(125).error_has("is here already").hint_has("--name");
    let line = ["--ignore-volumes", "--name", "d"];
    import(&line).fails(125).error_has("already allocated").hint_has("--ignore-static-ip");
    assert_eq!(other.run(["ps", "-aq"]).ok().lines().len(), 1);
    let line = [&line[..], &["--ignore-static-ip", "--ignore-static-mac"]].concat();
    let second = import(&line).ok().text();
    assert_ne!(second, id);
    // The anonymous volume is another one, and empty, as the archive's files are left out.
    wait_until("it goes on", || counted(&other, "d") > then + 10);
    assert!(seen("d").starts_with("kept\nnew\n"), "{}", seen("d"));
    other.run(["rm", "-f", "-t", "0", "-v", "c", "d"]).ok();
    other.run(["volume", "rm", "v"]).ok();
    assert_eq!(other.run(["volume", "ls", "-q"]).ok().text(), "");

    // What was written while it went on is whole.
    with_criu(&other, &["container", "restore", "-i", &live]).ok();
    wait_until("it goes on", || counted(&other, "c") > then);
    other.run(["rm", "-f", "-t", "0", "-v", "c"]).ok();
    other.run(["volume", "rm", "v"]).ok();

    // Archives are not trusted to be what they should; nothing is left of one that is not.
    let whole = fs::read(&live).unwrap();
    for (name, text, why) in [
        ("cut", &whole[..whole.len() / 2 / 512 * 512 + 100], "cut off"),
        ("none", &[0; 1024][..], "no checkpoint that barge has exported"),
        ("text", b"nothing", ""),
    ] {
        let path = other.path_text(name);
        fs::write(&path, text).unwrap();
        with_criu(&other, &["container", "restore", "-i", &path]).fails(125).error_has(why);
    }
    let script = "mkdir new; tar -xf $1 -C new; echo evil > new/e; \
                  tar -cf evil.tar --transform 's|^e$|checkpoint/../../../../evil|' -P -C new . e";
    let line = ["-ec", &format!("cd {}; {script}", other.directory().display()), "-", &live];
    other.other_command("sh", line).run().ok();
    let evil = other.path_text("evil.tar");
    let line = ["container", "restore", "-i", &evil];
    with_failing_criu(&other, &line).fails(125).error_has("too late").hint_has("r/restore.log");
    let script = "sed -i 's|\"name\":\"c\"|\"name\":\"../../evil\"|' new/config.dump; tar -cf evil.tar -C new .";
    let line = ["-ec", &format!("cd {}; {script}", other.directory().display())];
    other.other_command("sh", line).run().ok();
    let line = ["container", "restore", "-i", &evil];
    with_criu(&other, &line).fails(125).error_has("names must match");
    let names = other.other_command("find", [&other.path_text(""), "-name", "evil"]).run();
    names.ok().stdout("");
    assert_eq!(other.run(["ps", "-aq"]).ok().text(), "");
    assert_eq!(other.run(["volume", "ls", "-q"]).ok().text(), "");
    barge.run(["rm", "-f", "-v", "c"]).ok();
    barge.leaves_nothing();
    other.leaves_nothing();
}

#[test]
fn a_checkpoint_that_fails_changes_nothing() {
    if !is_here() {
        return;
    }
    let barge = Barge::with_busybox();
    let line = ["run", "-d", "--name", "c", "--network", "none", "--restart", "always", "busybox"];
    barge.run([&line[..], &["sleep", "1000"]].concat()).ok();
    with_failing_criu(&barge, &["container", "checkpoint", "c"])
        .fails(125)
        .error_has("cannot checkpoint container c")
        .error_has("it is too late");
    assert_eq!(state(&barge, "c"), "running false false");
    assert!(!Path::new(&barge.inspect("c", "{{.StaticDir}}")).join("checkpoint.new").exists());
    // Nobody has stopped it.
    let pid = barge.inspect("c", "{{.State.Pid}}");
    barge.other_command("kill", ["-9", &pid]).run().ok();
    wait_until("it is started again", || barge.inspect("c", "{{.RestartCount}}") == "1");
    barge.run(["rm", "-f", "-t", "0", "c"]).ok();
    barge.leaves_nothing();
}

/// One that is to go on stands still while its files are read; whatever fails then.
#[test]
fn a_live_checkpoint_that_fails_lets_it_go_on() {
    if !is_here() {
        return;
    }
    let barge = Barge::with_busybox();
    let script = "i=0; while :; do i=$((i+1)); echo $i > /tmp/i; sleep 0.05; done";
    let line = ["run", "-d", "--name", "c", "--network", "none", "busybox", "sh", "-c", script];
    barge.run(line).ok();
    wait_until("it counts", || counted(&barge, "c") > 3);
    // CRIU is done, and then there is no place for our notes.
    let real = unstable::criu().join("criu");
    let script = format!(
        "#!/bin/sh\n{} \"$@\" || exit 1\n\
         while [ $1 != --images-dir ]; do shift; done\nrm -r \"$2\"\n",
        real.display()
    );
    let program = barge.file("criu", script);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", barge.directory().display(), std::env::var("PATH").unwrap());
    let archive = barge.path_text("c.tar");
    let line = ["container", "checkpoint", "-R", "-e", &archive, "c"];
    barge.command(line).env("PATH", path).run().fails(125).error_has("barge.json");
    let then = counted(&barge, "c");
    wait_until("it goes on", || counted(&barge, "c") > then + 3);
    assert!(!Path::new(&archive).exists());
    assert_eq!(state(&barge, "c"), "running false false");
    barge.run(["rm", "-f", "-t", "0", "c"]).ok();
    barge.leaves_nothing();
}

#[test]
fn what_cannot_be_restored_is_not_checkpointed() {
    let barge = Barge::with_busybox();
    if !needs(&[Need::Root]) {
        barge.start(["--name", "c", "busybox", "sleep", "1000"]);
        barge.run(["container", "checkpoint", "c"]).fails(125).error_has("checkpoints need root");
        return;
    }
    for (flags, why) in [
        (&["-t"][..], "with a terminal"),
        (&["--rm"], "with --rm"),
        (&["--init"], "with an init"),
        (&["--userns", "auto:size=2000"], "with a user namespace of their own"),
        (&["--pid", "host"], "with namespaces of others"),
        (&["--mount", "type=image,src=busybox,dst=/x"], "with this kind of mount, at /x"),
    ] {
        let line = [&["run", "-d", "--name", "c", "--network", "none"], flags].concat();
        barge.run([&line[..], &["busybox", "sleep", "1000"]].concat()).exits(0);
        barge.run(["container", "checkpoint", "c"]).fails(125).error_has(why);
        assert_eq!(barge.inspect("c", "{{.State.Status}}"), "running");
        barge.run(["rm", "-f", "-t", "0", "c"]).ok();
    }
    barge.run(["create", "--name", "c", "busybox", "true"]).ok();
    barge.run(["container", "checkpoint", "c"]).fails(125).error_has("it is created, not running");
    barge.run(["container", "restore", "c"]).fails(125).error_has("no checkpoint of it");
    barge.run(["rm", "c"]).ok();
    barge.leaves_nothing();
}
