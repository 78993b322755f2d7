//! `containers.conf`: what new containers are like where no flag says it.

use std::fs;

use super::support::{Barge, Need, is_root, needs};

/// Runs a script in a new container, with the files that the test has written.
#[track_caller]
fn shell(barge: &Barge, flags: &[&str], script: &str) -> String {
    let line = [&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat();
    let file = barge.path("conf");
    barge.command(line).env("CONTAINERS_CONF", file).run().exits(0).text()
}

#[test]
fn it_says_what_flags_leave_open() {
    let barge = Barge::with_busybox();
    let bound = barge.path_text("t");
    fs::write(barge.path("t/file"), "bound").unwrap();
    let conf = format!(
        "[containers]\n\
         annotations = [\"of=file\"]\n\
         default_capabilities = [\"CHOWN\", \"CAP_KILL\"]\n\
         default_sysctls = [\"net.ipv4.ip_forward=0\", \"net.ipv4.ip_default_ttl=33\"]\n\
         default_ulimits = [\"nofile=100:200\", \"core=0:0\"]\n\
         dns_servers = [\"192.0.2.1\"]\n\
         dns_searches = [\"a.example\"]\n\
         env = [\"OF_FILE=1\", \"BOTH=1\"]\n\
         host_containers_internal_ip = \"192.0.2.9\"\n\
         init = true\n\
         netns = \"none\"\n\
         oom_score_adj = 500\n\
         read_only = true\n\
         shm_size = \"3m\"\n\
         umask = \"0077\"\n\
         unknown = {{ a = 1 }}\n\
         volumes = [\"{bound}:/bound:ro\"]\n\
         [engine]\n\
         stop_timeout = 77\n"
    );
    barge.file("conf", conf);
    let script = "grep CapBnd /proc/self/status | cut -f2; cat /proc/sys/net/ipv4/ip_default_ttl; \
                  ulimit -n; ulimit -Hn; ulimit -c; grep nameserver /etc/resolv.conf; \
                  grep search /etc/resolv.conf; echo $OF_FILE $BOTH; \
                  grep -o '192.0.2.9.host.containers.internal' /etc/hosts | tr '\\t' ' '; \
                  tr '\\0' '\\n' </proc/1/cmdline | head -n 1; ls /sys/class/net; cat /proc/self/oom_score_adj; \
                  touch /x 2>&1; grep /dev/shm /proc/mounts | grep -o size=[0-9]*k; umask; \
                  cat /bound/file";
    let want = "0000000000000021\n33\n100\n200\n0\nnameserver 192.0.2.1\nsearch a.example\n1 1\n\
                192.0.2.9 host.containers.internal\n/sbin/barge-init\nlo\n500\n\
                touch: /x: Read-only file system\nsize=3072k\n0077\nbound";
    assert_eq!(shell(&barge, &[], script), want);

    // Flags say it better.
    let flags = [
        "--cap-add=SETUID",
        "--cap-drop=KILL",
        "--sysctl=net.ipv4.ip_default_ttl=44",
        "--ulimit=nofile=50:60",
        "--dns=192.0.2.2",
        "-e=BOTH=2",
        "--shm-size=4m",
        "--umask=022",
        "--oom-score-adj=600",
        "--tmpfs=/bound",
        "--no-hosts",
    ];
    let script = "grep CapBnd /proc/self/status | cut -f2; cat /proc/sys/net/ipv4/ip_default_ttl; \
                  ulimit -n; ulimit -c; grep nameserver /etc/resolv.conf; echo $OF_FILE $BOTH; \
                  grep /dev/shm /proc/mounts | grep -o size=[0-9]*k; umask; \
                  cat /proc/self/oom_score_adj; ls /bound; grep -c internal /etc/hosts; :";
    let want = "0000000000000081\n44\n50\n0\nnameserver 192.0.2.2\n1 2\nsize=4096k\n0022\n600";
    // The image has no /etc/hosts.
    assert_eq!(shell(&barge, &flags, script), want);

    let conf = barge.path_text("conf");
    let line = ["create", "--name", "box", "--annotation", "own=1", "busybox", "true"];
    barge.command(line).env("CONTAINERS_CONF", conf).run().ok();
    assert_eq!(barge.inspect("box", "{{.Config.StopTimeout}}"), "77");
    let annotations = barge.inspect("box", "{{json .HostConfig.Annotations}}");
    assert!(annotations.contains("\"of\":\"file\"") && annotations.contains("\"own\":\"1\""));
}

#[test]
fn it_says_which_networks_are_usual() {
    let barge = Barge::with_busybox();
    let write = |text: &str| drop(barge.file("conf", format!("[network]\n{text}\n")));
    let run = |line: &[&str]| barge.command(line).env("CONTAINERS_CONF", barge.path("conf")).run();
    write(
        "default_subnet = \"10.60.0.0/16\"\n\
         default_subnet_pools = [{base = \"10.61.0.0/24\", size = 25}]",
    );
    for name in ["a", "b"] {
        run(&["network", "create", name]).ok();
    }
    run(&["network", "create", "c"]).fails(125).error_has("no private network is free");
    let template = "{{range .Subnets}}{{.Subnet}}{{end}}";
    for (name, want) in [("podman", "10.60.0.0/16"), ("a", "10.61.0.0/25"), ("b", "10.61.0.128/25")]
    {
        let shown = run(&["network", "inspect", name, "-f", template]).ok().text();
        assert_eq!(shown, want);
    }
    let script = "ip -4 -o addr show dev eth0 | awk '{print $4}'";
    let address = |network: &[&str]| {
        let line = [&["run", "--rm"], network, &["busybox", "sh", "-c", script]].concat();
        run(&line).exits(0).text()
    };
    let bridge = ["--network", "bridge"];
    assert_eq!(address(&bridge), "10.60.0.2/16");
    write("default_network = \"b\"");
    assert_eq!(address(&bridge), "10.61.0.130/25");
    if is_root() {
        assert_eq!(address(&[]), "10.61.0.130/25");
    }
    write("default_network = \"nosuch\"");
    let line = ["run", "--rm", "--network", "bridge", "busybox", "true"];
    run(&line).fails(125).error_has("unable to find network with name or ID nosuch");
    barge.leaves_nothing();
}

#[test]
fn it_says_which_network_stack_is_usual() {
    if !needs(&[Need::NoRoot, Need::Tool("pasta"), Need::Tool("slirp4netns")]) {
        return;
    }
    let barge = Barge::with_busybox();
    for (text, want) in [
        ("default_rootless_network_cmd = \"slirp4netns\"", "slirp4netns 65520"),
        (
            "default_rootless_network_cmd = \"pasta\"\npasta_options = [\"-m\", \"1400\"]",
            "pasta 1400",
        ),
        ("pasta_options = [\"--mtu\", \"1300\"]", "pasta 1300"),
    ] {
        barge.file("conf", format!("[network]\n{text}\n"));
        let script = "cat /sys/class/net/[!l]*/mtu";
        let line = ["run", "--name", "box", "busybox", "sh", "-c", script];
        let file = barge.path("conf");
        let mtu = barge.command(line).env("CONTAINERS_CONF", file).run().exits(0).text();
        let mode = barge.inspect("box", "{{.HostConfig.NetworkMode}}");
        assert_eq!(format!("{mode} {mtu}"), want);
        barge.run(["rm", "box"]).ok();
    }
    barge.leaves_nothing();
}

#[test]
fn files_come_one_over_the_other() {
    let barge = Barge::with_busybox();
    let home = barge.path("h/.config/containers");
    fs::create_dir_all(home.join("containers.conf.d")).unwrap();
    let run = |script: &str, variables: &[(&str, &str)]| {
        let line = ["run", "--rm", "--network", "none", "busybox", "sh", "-c", script];
        let mut command = barge.command(line).env("CONTAINERS_CONF", "");
        for (name, value) in variables {
            command = command.env(name, value);
        }
        command.run().ok().text()
    };
    let write = |name: &str, text: &str| {
        fs::write(home.join(name), format!("[containers]\n{text}\n")).unwrap();
    };
    write("containers.conf", "env = [\"A=1\", \"B=1\"]\numask = \"0001\"");
    assert_eq!(run("echo $A$B; umask", &[]), "11\n0001");
    write("containers.conf.d/10.conf", "env = [\"A=2\", {append = true}]");
    write("containers.conf.d/20.conf", "env = [\"C=3\"]\numask = \"0002\"");
    write("containers.conf.d/30.txt", "env = [\"C=4\"]");
    assert_eq!(run("echo $A$B$C; umask", &[]), "213\n0002");
    let file = barge.file("other", "[containers]\numask = \"0007\"\n");
    assert_eq!(run("echo $A$B$C; umask", &[("CONTAINERS_CONF_OVERRIDE", &file)]), "213\n0007");
    assert_eq!(run("echo $A$B$C; umask", &[("CONTAINERS_CONF", &file)]), "\n0007");
    // What distributions ship takes no capabilities away.
    let all = run("grep CapBnd /proc/self/status", &[("HOME", "/dev/null")]);
    if is_root() {
        assert_eq!(all, "CapBnd:\t00000000a80425fb");
    }
}

#[test]
fn modules_say_more() {
    let barge = Barge::with_busybox();
    let modules = barge.path("h/.config/containers/containers.conf.modules");
    fs::create_dir_all(&modules).unwrap();
    fs::write(modules.join("dark"), "[containers]\numask = \"0077\"\nenv = [\"A=dark\"]\n")
        .unwrap();
    let usual = barge.file("usual", "[containers]\numask = \"0007\"\nenv = [\"A=usual\"]\n");
    let last = barge.file("last", "[containers]\nenv = [\"A=last\"]\n");
    let run = |flags: &[&str], variables: &[(&str, &str)]| {
        let line = ["run", "--rm", "--network", "none", "busybox", "sh", "-c", "echo $A; umask"];
        let mut command = barge.command([flags, &line].concat()).env("CONTAINERS_CONF", &usual);
        for (name, value) in variables {
            command = command.env(name, value);
        }
        command.run()
    };
    run(&[], &[]).ok().stdout("usual\n0007\n");
    run(&["--module", "dark"], &[]).ok().stdout("dark\n0077\n");
    run(&["--module", "dark", "--module", &last], &[]).ok().stdout("last\n0077\n");
    // Above all of them.
    let over = ("CONTAINERS_CONF_OVERRIDE", last.as_str());
    run(&["--module=dark"], &[over]).ok().stdout("last\n0077\n");
    for module in ["nosuch", "/nosuch"] {
        run(&["--module", module], &[])
            .fails(125)
            .error_has(&format!("could not resolve module \"{module}\""))
            .hint_has("containers.conf.modules");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let barge = Barge::with_busybox();
    let line = ["run", "--rm", "--network", "none", "busybox", "true"];
    for (text, error) in [
        ("[containers]\n\npids_limit = \"many\"\n", "conf, line 3: "),
        ("[containers]\nuserns = \"x\"\n", "conf: `userns`: "),
        ("[containers]\ndns_servers = [\"x\"]\n", "conf: `dns_servers`: x is not an ip address"),
        ("[engine]\npull_policy = \"x\"\n", "`pull_policy` in containers.conf: "),
    ] {
        let file = barge.file("conf", text);
        barge.command(line).env("CONTAINERS_CONF", file).run().fails(125).error_has(error);
    }
    let missing = barge.path_text("missing");
    let output = barge.command(line).env("CONTAINERS_CONF", missing).run();
    output.fails(125).error_has("missing: no such file or directory");
    let file = barge.file("conf", "[engine]\npull_policy = \"always\"\n");
    let output = barge.command(line).env("CONTAINERS_CONF_OVERRIDE", &file).run();
    assert_ne!(output.status, 0, "a registry was not asked");
    let line = ["run", "--rm", "--network", "none", "--pull", "never", "busybox", "true"];
    barge.command(line).env("CONTAINERS_CONF_OVERRIDE", file).run().ok();
}
