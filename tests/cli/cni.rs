//! Networks that CNI plugins make: `network create -d cni:PLUGIN`.

use std::path::Path;

use super::support::{Barge, Need, leave_out, needs, wait_until};

/// What a container serves that is asked for its name.
const SERVE: &str =
    "mkdir /www; echo page of $HOSTNAME > /www/index.html; exec httpd -f -p 80 -h /www";

fn serve(barge: &Barge, name: &str, network: &str) {
    let line = ["run", "-d", "--name", name, "--hostname", name, "--network", network, "busybox"];
    barge.run([&line[..], &["sh", "-c", SERVE]].concat()).ok();
    wait_until("the page is there", || page(barge, name, "127.0.0.1").contains("page of"));
}

/// Gets the page of a host, asked from a container; empty if there is none.
fn page(barge: &Barge, from: &str, host: &str) -> String {
    let script = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {host} 80 | tail -n 1");
    barge.run(["exec", from, "sh", "-c", &script]).text()
}

#[test]
fn plugins_connect_containers() {
    if !needs(&[Need::Root]) {
        return;
    }
    if !Path::new("/usr/lib/cni/bridge").exists() {
        return leave_out("it needs the package containernetworking-plugins");
    }
    let barge = Barge::with_busybox();
    let create = ["network", "create", "-d", "cni:bridge", "--subnet", "10.93.0.0/24"];
    let options = ["-o", "bridge=cni-test", "-o", "isGateway=true", "n"];
    barge.run([&create[..], &options].concat()).ok();
    barge.run(["network", "ls", "-q", "--filter", "driver=cni:bridge"]).ok().stdout("n\n");
    serve(&barge, "one", "n:mac=92:d0:c6:0a:29:33");
    serve(&barge, "two", "n:alias=zwei");
    for host in ["one", "10.93.0.2"] {
        assert_eq!(page(&barge, "two", host), "page of one");
    }
    assert_eq!(page(&barge, "one", "zwei"), "page of two");
    let script = "ip -4 -o addr show dev eth0 | awk '{print $4}'; ip route | awk '/^default/ {print $3}'; \
                  cat /sys/class/net/eth0/address; grep -w one /etc/hosts";
    barge
        .run(["exec", "one", "sh", "-c", script])
        .ok()
        .stdout("10.93.0.2/24\n10.93.0.1\n92:d0:c6:0a:29:33\n10.93.0.2\tone\n");
    let shown = "{{.NetworkSettings.Networks.n.IPAddress}} {{.NetworkSettings.Networks.n.Gateway}}";
    assert_eq!(barge.inspect("one", shown), "10.93.0.2 10.93.0.1");
    // What is given back is free: there are no more addresses than that.
    let create = ["network", "create", "-d", "cni:ptp", "--subnet", "10.94.0.0/29", "small"];
    barge.run(create).ok();
    for _ in 0..8 {
        let line = ["run", "--rm", "--network", "small", "busybox", "ip", "-4", "addr"];
        barge.run(line).ok().stdout_has("inet 10.94.0.");
    }
    barge.run(["network", "connect", "small", "one"]).ok();
    barge.run(["exec", "one", "ip", "-4", "-o", "addr"]).ok().stdout_has("eth1    inet 10.94.0.");
    barge.run(["network", "disconnect", "small", "one"]).ok();
    barge.run(["exec", "one", "ls", "/sys/class/net"]).ok().stdout("eth0\nlo\n");
    for _ in 0..3 {
        barge.run(["restart", "-t", "0", "two"]).ok();
    }
    wait_until("it serves again", || page(&barge, "one", "two") == "page of two");
    // What its monitor cannot do any more the next command does.
    let id = barge.inspect("two", "{{.Id}}");
    let monitor = super::support::leaks::processes().into_iter().find(|process| {
        let line = process.command_line();
        line.starts_with("barge: monitor") && line.contains(&id[..12])
    });
    barge.kills();
    super::support::tool("kill", ["-9", &monitor.unwrap().pid.to_string()]);
    barge.await_status("two", "exited");
    let leases = || {
        let all = super::support::leaks::entries(&barge.runroot().join("cni/n"));
        all.iter().filter(|it| it.file_name().unwrap().to_string_lossy().starts_with("10.")).count()
    };
    assert_eq!(leases(), 1);
    barge.run(["rm", "-f", "-t", "0", "one", "two"]).ok();
    assert_eq!(leases(), 0);
    for (network, error) in [
        (&["-d", "cni:nosuch", "bad"][..], "there is no CNI plugin `nosuch`"),
        (&["-d", "cni:bridge", "-o", "ipam.type=nosuch", "bad"], "the CNI plugin `bridge` failed"),
    ] {
        barge.run([&["network", "create"], network].concat()).ok();
        let line = ["run", "--rm", "--network", "bad", "busybox", "true"];
        barge.run(line).fails(125).error_has(error);
        barge.run(["network", "rm", "bad"]).ok();
    }
    barge.run(["network", "create", "-d", "cni:../sh", "bad"]).fails(125).error_has("unsupported");
    barge.run(["network", "rm", "n", "small"]).ok();
    assert!(!barge.runroot().join("cni/n").exists());
    barge.leaves_nothing();
}
