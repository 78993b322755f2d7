//! Names that a container has for others: `--link`.

use super::support::{Barge, wait_until};

/// What a container serves that is asked for its name.
const SERVE: &str =
    "mkdir /www; echo page of $HOSTNAME > /www/index.html; exec httpd -f -p 80 -h /www";

fn run(barge: &Barge, name: &str, flags: &[&str], command: &[&str]) {
    let line = [&["run", "-d", "--name", name], flags, &["busybox"], command].concat();
    // Another user may have no control groups, and is told so once.
    barge.run(line).exits(0);
}

fn serve(barge: &Barge, name: &str, network: &str) {
    let flags = ["--hostname", "server", "--network", network];
    run(barge, name, &flags, &["sh", "-c", SERVE]);
    wait_until("the page is there", || page(barge, name, "127.0.0.1") == "page of server");
}

/// Gets the page of a host, asked from a container; empty if there is none.
fn page(barge: &Barge, from: &str, host: &str) -> String {
    let script = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {host} 80 | tail -n 1");
    barge.run(["exec", from, "sh", "-c", &script]).text()
}

#[test]
fn a_link_is_a_name_that_one_container_knows() {
    let barge = Barge::with_busybox();
    barge.run(["network", "create", "a"]).ok();
    barge.run(["network", "create", "b"]).ok();
    serve(&barge, "db", "a");
    let wait = ["sleep", "1000"];
    run(&barge, "web", &["--network", "a", "--link", "db:Data.Base", "--link", "later"], &wait);
    run(&barge, "other", &["--network", "b"], &wait);
    for (from, host, want) in [
        ("web", "data.base", "page of server"),
        ("web", "db", "page of server"),
        ("web", "nosuch", ""),
        ("db", "data.base", ""),
        ("other", "data.base", ""),
    ] {
        assert_eq!(page(&barge, from, host), want, "{host} from {from}");
    }
    let shown = "{{(index .NetworkSettings.Networks \"a\").Links}}";
    assert_eq!(barge.inspect("web", shown), "[db:Data.Base later:later]");
    // A name leads to whoever has it at the time, and to nobody while there is nobody.
    barge.run(["rm", "-f", "-t", "0", "db"]).ok();
    assert_eq!(page(&barge, "web", "data.base"), "");
    run(&barge, "takes-an-address", &["--network", "a"], &wait);
    serve(&barge, "db", "a");
    assert_eq!(page(&barge, "web", "data.base"), "page of server");
    barge.run(["network", "connect", "--link", "db:store", "a", "other"]).ok();
    wait_until("it knows the name", || page(&barge, "other", "store") == "page of server");
    assert_eq!(page(&barge, "web", "store"), "");
    barge.run(["network", "connect", "--link", "a b", "b", "web"]).fails(125).error_has("a b");
    barge.run(["rm", "-f", "-t", "0", "-a"]).ok();
    barge.leaves_nothing();
}

#[test]
fn a_link_is_a_line_of_hosts_where_a_network_has_no_names() {
    let barge = Barge::with_busybox();
    serve(&barge, "db", "podman");
    let address = "{{(index .NetworkSettings.Networks \"podman\").IPAddress}}";
    let line = format!("{}\tdata server db", barge.inspect("db", address));
    let flags = ["--network", "podman", "--link", "db:data"];
    run(&barge, "web", &flags, &["sleep", "1000"]);
    for name in ["data", "db", "server"] {
        assert_eq!(page(&barge, "web", name), "page of server");
    }
    let hosts = || barge.run(["exec", "web", "cat", "/etc/hosts"]).ok().lines();
    assert!(hosts().contains(&line), "{:?}", hosts());
    // Whoever says nothing of networks means the one that others see it on.
    run(&barge, "usual", &["--link", "db"], &["sleep", "1000"]);
    assert_eq!(page(&barge, "usual", "db"), "page of server");
    barge.run(["stop", "-t", "0", "db"]).exits(0);
    barge
        .run(["restart", "-t", "0", "web"])
        .fails(125)
        .error_has("cannot link to container `db`: it does not run on network `podman`");
    barge.run(["start", "db"]).ok();
    barge.run(["start", "web"]).ok();
    assert_eq!(page(&barge, "web", "data"), "page of server");
    for (flags, error) in [
        (&["--link", "nosuch"][..], "no container with name or ID \"nosuch\" found"),
        (&["--network", "host", "--link", "db"], "cannot be set for network mode host"),
        (&["--link", "db:"], "invalid link `db:`"),
    ] {
        barge.run([&["create"], flags, &["busybox", "true"]].concat()).fails(125).error_has(error);
    }
    barge.run(["rm", "-f", "-t", "0", "-a"]).ok();
    barge.leaves_nothing();
}
