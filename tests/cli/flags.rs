//! Flags of `run` and `create` and what they do inside the container: environment, users, own files.

use std::fs;

use super::support::{Barge, is_root};

#[test]
fn env_host_is_below_the_image() {
    let barge = Barge::with_busybox();
    let script = "echo $BARGE_OWN $PATH";
    let line = ["run", "--rm", "--network", "none", "--env-host", "busybox", "sh", "-c", script];
    let output = barge.command(line).env("BARGE_OWN", "mine").run();
    output.ok().stdout("mine /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n");
    barge.shell(&[], "echo ${BARGE_TEST:-none}").ok().stdout("none\n");
}

#[test]
fn env_merge_uses_what_is_set() {
    let barge = Barge::with_busybox();
    let flags = ["-e", "A=1", "--env-merge", "A=${A}-2", "--env-merge", "B=x${A}${NONE}y${"];
    barge.shell(&flags, "echo $A $B").ok().stdout("1-2 x1-2y${\n");
}

#[test]
fn unsetenv_all_leaves_out_what_was_not_asked_for() {
    let barge = Barge::with_busybox();
    let line = ["run", "--rm", "--network", "none", "--unsetenv-all", "-e", "A=1", "busybox"];
    let output = barge.run([&line[..], &["/bin/busybox", "env"]].concat()).ok().text();
    let mut names: Vec<_> = output.lines().filter_map(|it| it.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["A", "HOME", "HOSTNAME"]);
}

#[test]
fn proxies_are_passed_on_unless_unwanted() {
    let barge = Barge::with_busybox();
    let run = |flags: &[&str]| {
        let mut line = vec!["run", "--rm", "--network", "none"];
        line.extend(flags);
        line.extend(["busybox", "sh", "-c", "echo ${http_proxy:-none} ${NO_PROXY:-none}"]);
        barge.command(line).env("http_proxy", "http://p:1").env("NO_PROXY", "x").run().ok().text()
    };
    assert_eq!(run(&[]), "http://p:1 x");
    assert_eq!(run(&["--http-proxy=false"]), "none none");
    assert_eq!(run(&["-e", "http_proxy=own"]), "own x");
}

#[test]
fn time_zones_are_this_machines() {
    let barge = Barge::with_busybox();
    // A zone that no data base has: the file is what counts.
    let mut zone = b"TZif".to_vec();
    zone.extend([0; 40]);
    fs::create_dir(barge.path("zones")).unwrap();
    fs::write(barge.path("zones/Own"), &zone).unwrap();
    fs::write(barge.path("zones/Text"), "no zone").unwrap();
    let run = |name: &str| {
        let flag = format!("--tz={name}");
        let line = ["run", "--rm", "--network", "none", &flag, "busybox", "cat", "/etc/localtime"];
        barge.command(line).env("TZDIR", barge.path("zones")).run()
    };
    assert_eq!(run("Own").ok().stdout, zone);
    for bad in ["Nowhere", "Text", "../zones/Own", ""] {
        run(bad).fails(125).error_has("finding timezone");
    }
    assert!(barge.containers().is_empty());
}

#[test]
fn local_is_the_time_zone_of_this_machine() {
    let Ok(own) = fs::read("/etc/localtime") else { return };
    let barge = Barge::with_busybox();
    let line = ["run", "--rm", "--network", "none", "--tz", "local", "busybox"];
    let output = barge.run([&line[..], &["cat", "/etc/localtime"]].concat());
    assert_eq!(output.ok().stdout, own);
}

#[test]
fn unknown_users_and_groups_get_lines() {
    let barge = Barge::with_busybox();
    let script = "tail -n 1 /etc/passwd; tail -n 1 /etc/group";
    barge
        .shell(&["-u", "1234:4321", "-w", "/tmp"], script)
        .ok()
        .stdout("1234:*:1234:4321:container user:/tmp:/bin/sh\n4321:x:4321:1234\n");
    let own = ["-u", "1234:4321", "--passwd-entry", "me:x:$UID:$GID:$NAME:$HOME:/bin/sh"];
    let group = ["--group-entry", "us:x:$GID:"];
    barge
        .shell(&[&own[..], &group].concat(), &format!("id -un; id -gn; {script}"))
        .ok()
        .stdout("me\nus\nme:x:1234:4321:container user:/:/bin/sh\nus:x:4321:\n");
    let script = "grep -c 1234 /etc/passwd; grep -c 4321 /etc/group";
    barge.shell(&["-u", "1234:4321", "--passwd=false"], script).exits(1).stdout("0\n0\n");
}

#[test]
fn databases_of_the_host_are_left_alone() {
    let barge = Barge::with_busybox();
    let passwd = barge.file("passwd", "root:x:0:0::/root:/bin/sh\n");
    let volume = format!("{passwd}:/etc/passwd");
    barge.shell(&["-u", "0:4321", "-v", &volume], "id -u").ok().stdout("0\n");
    barge.shell(&["--user", "1234", "-v", &volume], "id -u").ok().stdout("1234\n");
    assert_eq!(fs::read_to_string(&passwd).unwrap(), "root:x:0:0::/root:/bin/sh\n");
}

#[test]
fn hostile_databases_are_no_way_out() {
    let barge = Barge::with_busybox();
    // A link is not written through, and what the kernel makes up is no database.
    let prepare = |name: &str, script: &str| {
        let line =
            ["run", "--name", name, "--network", "none", "-u", "1234", "busybox", "sh", "-c"];
        barge.run([&line[..], &[script]].concat())
    };
    prepare("first", "true").ok();
    let line = ["run", "-d", "--network", "none", "--name", "links", "busybox", "sh", "-c"];
    let script = "rm /etc/passwd /etc/group; echo kept > /kept; ln -s /kept /etc/passwd; \
                  ln -s /proc/self/environ /etc/group; test ! -e /again; touch /again";
    barge.run([&line[..], &[script]].concat()).ok();
    barge.run(["wait", "links"]).ok().stdout("0\n");
    // It starts again with these files, as a user that they do not know.
    barge.run(["start", "links"]).ok();
    barge.await_status("links", "exited");
    barge.run(["inspect", "--format", "{{.State.Error}}", "links"]).ok().stdout("\n");
}

#[test]
fn users_of_the_host_can_be_added() {
    let barge = Barge::with_busybox();
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.starts_with("games:")).unwrap();
    let script = "grep ^games: /etc/passwd";
    barge.shell(&["--hostuser", "games"], script).ok().stdout(&format!("{line}\n"));
    barge.shell(&["--hostuser", "games", "-u", "games"], "id -un").ok().stdout("games\n");
    barge.shell(&["--hostuser", "nosuch"], "true").fails(125).error_has("nosuch");
}

#[test]
fn keep_groups_is_alone() {
    let barge = Barge::with_busybox();
    barge
        .shell(&["--group-add", "keep-groups", "--group-add", "5"], "true")
        .fails(125)
        .error_has("is not allowed with any other --group-add options");
    let of_caller = fs::read_to_string("/proc/self/status").unwrap();
    let count = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
        line.split_whitespace().count()
    };
    let inside = barge.shell(&["--group-add", "keep-groups"], "cat /proc/self/status").ok().text();
    assert_eq!(count(&inside), count(&of_caller));
}

#[test]
fn personality_is_that_of_the_first_process_and_of_exec() {
    let barge = Barge::with_busybox();
    let id = barge.start([
        "--personality",
        "LINUX32",
        "busybox",
        "sh",
        "-c",
        "uname -m; echo up; sleep 99",
    ]);
    let own = barge.shell(&[], "uname -m").ok().text();
    barge.await_log(&id, "up");
    let first = barge.run(["logs", &id]).ok().lines().remove(0);
    assert_ne!(first, own);
    assert_eq!(barge.run(["exec", &id, "uname", "-m"]).ok().text(), first);
    barge.shell(&["--personality", "VMS"], "true").fails(125).error_has("personality");
}

#[test]
fn another_program_can_be_the_init() {
    let barge = Barge::with_busybox();
    let init = barge.file("init", "#!/bin/sh\necho init \"$@\"; shift; exec \"$@\"\n");
    super::support::tool("chmod", ["755", &init]);
    let line = ["run", "--rm", "--network", "none", "--init", "--init-path", &init, "busybox"];
    barge.run([&line[..], &["echo", "up"]].concat()).ok().stdout("init -- echo up\nup\n");
    barge
        .shell(&["--init", "--init-path", "/no/such/init"], "true")
        .fails(125)
        .error_has("/no/such/init");
}

#[test]
fn names_of_the_image_can_stay() {
    let barge = Barge::with_busybox();
    let mounted = |flags: &[&str]| {
        barge.shell(flags, "grep -oE ' /etc/(hosts|hostname|resolv.conf) ' /proc/self/mountinfo | sort -u | xargs")
            .ok()
            .text()
    };
    assert_eq!(mounted(&[]), "/etc/hostname /etc/hosts /etc/resolv.conf");
    assert_eq!(mounted(&["--no-hosts"]), "/etc/hostname /etc/resolv.conf");
    assert_eq!(mounted(&["--no-hostname"]), "/etc/hosts /etc/resolv.conf");
    assert_eq!(mounted(&["--dns", "none"]), "/etc/hostname /etc/hosts");
    barge
        .shell(&["--no-hosts", "--add-host", "a:1.2.3.4"], "true")
        .fails(125)
        .stderr("Error: --no-hosts and --add-host cannot be set together\n");
    barge
        .shell(&["--no-hosts", "--hosts-file", "none"], "true")
        .fails(125)
        .error_has("--no-hosts and --hosts-file cannot be set together");
    barge.shell(&["--dns", "none", "--dns", "1.1.1.1"], "true").fails(125);
    barge.shell(&["--dns", "here"], "true").fails(125).error_has("here is not an ip address");
}

#[test]
fn names_of_one_address_share_a_line() {
    let barge = Barge::with_busybox();
    let flags = ["--add-host", "a;b.example:192.0.2.1", "--add-host", "c:192.0.2.1"];
    barge
        .shell(&flags, "grep 192.0.2.1 /etc/hosts")
        .ok()
        .stdout("192.0.2.1\ta b.example\n192.0.2.1\tc\n");
}

#[test]
fn hosts_files_begin_as_asked() {
    let barge = Barge::with_busybox();
    let base = barge.file("base", "192.0.2.9 base");
    let flags = ["--hostname", "box", "--hosts-file"];
    let hosts =
        |file: &str| barge.shell(&[&flags[..], &[file]].concat(), "cat /etc/hosts").ok().text();
    assert!(hosts(&base).starts_with("192.0.2.9 base\n127.0.0.1\tbox"), "{}", hosts(&base));
    assert!(hosts("none").starts_with("127.0.0.1\tbox"), "{}", hosts("none"));
    barge.shell(&["--hosts-file", "/no/such"], "true").fails(125).error_has("/no/such");
    barge
        .shell(&["--dns-search", ".", "--dns-search", "a.example"], "true")
        .fails(125)
        .error_has("search domains");
    let script = "grep -c search /etc/resolv.conf";
    barge.shell(&["--dns-search", "none"], script).exits(1).stdout("0\n");
}

#[test]
fn the_domain_name_is_set() {
    let barge = Barge::with_busybox();
    let script = "cat /proc/sys/kernel/domainname";
    barge.shell(&["--domainname", "example.org"], script).ok().stdout("example.org\n");
}

#[test]
fn the_host_has_a_name_where_it_can_be_reached() {
    let barge = Barge::with_busybox();
    let line = ["run", "--rm", "busybox", "grep", "internal", "/etc/hosts"];
    let output = barge.run(line);
    if is_root() {
        let names = "host.containers.internal host.docker.internal";
        assert_eq!(output.ok().text(), format!("10.88.0.1\t{names}"));
    } else if output.status == 0 {
        // An older pasta cannot give it to the container; then it is another one of the host's.
        let address = output.text().split('\t').next().unwrap().to_owned();
        let all = super::support::tool("ip", ["-4", "-o", "addr"]);
        assert!(address == "169.254.1.2" || all.contains(&format!(" {address}/")), "{address}");
    }
    barge.shell(&[], "grep -c internal /etc/hosts").exits(1).stdout("0\n");
}

#[test]
fn read_only_leaves_nothing_writable_on_request() {
    let barge = Barge::with_busybox();
    let script =
        "for d in /tmp /run /var/tmp; do touch $d/x 2>/dev/null && echo $d; done; echo end";
    barge.shell(&["--read-only"], script).ok().stdout("/tmp\n/run\n/var/tmp\nend\n");
    let none = ["--read-only", "--read-only-tmpfs=false"];
    barge.shell(&none, script).ok().stdout("end\n");
}

#[test]
fn containerenv_tells_the_privileged_who_they_are() {
    let barge = Barge::with_busybox();
    barge.shell(&[], "wc -c < /run/.containerenv").ok().stdout("0\n");
    let text = barge.shell(&["--privileged", "--name", "me"], "cat /run/.containerenv").ok().text();
    assert!(text.contains("\nname=\"me\"\nid=\""), "{text}");
    assert!(text.ends_with(&format!("rootless={}", u8::from(!is_root()))), "{text}");
}

#[test]
fn the_monitors_process_id_is_written() {
    let barge = Barge::with_busybox();
    let file = barge.path_text("pid");
    barge.start(["--conmon-pidfile", &file, "busybox", "sleep", "99"]);
    let pid = fs::read_to_string(&file).unwrap();
    let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(words.starts_with("barge: monitor "), "{words:?}");
}

#[test]
fn rmi_removes_the_image_with_the_container() {
    let barge = Barge::with_busybox();
    let line = ["run", "--rmi", "--network", "none"];
    barge
        .run([&line[..], &["--rm=false", "busybox", "true"]].concat())
        .fails(125)
        .error_has("the --rmi option does not work without --rm");
    barge.run(["create", "--name", "user", "busybox", "true"]).ok();
    let output = barge.run([&line[..], &["busybox", "true"]].concat());
    assert_eq!(output.status, 0);
    assert!(output.errors().contains("image is in use by a container"), "{}", output.errors());
    barge.run(["rm", "user"]).ok();
    barge.run([&line[..], &["busybox", "sh", "-c", "exit 3"]].concat()).exits(3);
    assert!(barge.containers().is_empty());
    barge.run(["image", "exists", "busybox"]).exits(1);
}

#[test]
fn required_containers_are_started_first() {
    let barge = Barge::with_busybox();
    barge.run(["create", "--name", "first", "--network", "none", "busybox", "sleep", "99"]).ok();
    let id = barge.start(["--requires", "first", "busybox", "sleep", "99"]);
    assert_eq!(barge.status("first"), "running");
    barge.run(["rm", "-f", "-t", "0", "first"]).fails(125).error_has("dependent containers");
    barge.run(["rm", "-f", "-t", "0", &id]).ok();
    barge.run(["create", "--requires", "nosuch", "busybox", "true"]).fails(125).error_has("nosuch");
}

#[test]
fn ulimits_can_be_the_callers() {
    let barge = Barge::with_busybox();
    let script = "ulimit -n 77; exec \"$@\"";
    let inner = ["run", "--rm", "--network", "none", "--ulimit", "host", "busybox", "sh", "-c"];
    let program = super::support::fixture::barge().display().to_string();
    let (root, runroot) = (barge.root(), barge.runroot());
    let (root, runroot) = (root.to_string_lossy(), runroot.to_string_lossy());
    let mut line = vec!["-c", script, "sh", &program, "--root", &root, "--runroot", &runroot];
    line.extend(inner);
    line.push("ulimit -n");
    barge.other_command("sh", line).run().ok().stdout("77\n");
}

#[test]
fn flags_of_other_tools_say_why_they_are_not_there() {
    let barge = Barge::with_busybox();
    let output = barge.run(["run", "--isolation", "process", "busybox", "true"]);
    assert_eq!(output.status, 125);
    assert_eq!(
        output.errors().trim_end(),
        "Error: unknown flag: --isolation\nSee 'barge run --help'\nHint: it concerns containers of Windows"
    );
    let output = barge.shell(&["--disable-content-trust", "--kernel-memory", "1g"], "true");
    assert_eq!(output.status, 0);
    assert!(output.errors().contains("--kernel-memory is ignored"), "{}", output.errors());
}
