//! Names of hosts: `system connection` and `context`.

use super::super::support::Barge;

#[test]
fn remote_connections_have_names() {
    let barge = Barge::new();
    let run = |line: &[&str]| barge.run(line);
    let connection = |line: &[&str]| barge.run([&["system", "connection"], line].concat());
    connection(&["ls", "-q"]).ok().stdout("");
    run(&["--remote", "ps"]).fails(125).error("no connection is the usual one");
    connection(&["add", "one", "me@host", "--port", "2222", "--identity", "/k"]).ok().stdout("");
    connection(&["add", "two", "/run/x.sock"]).ok();
    connection(&["add", "one", "host"]).fails(125).error("there is a connection `one` already");
    connection(&["add", "x", "ftp://host"]).fails(125).error_has("invalid address of a host");
    connection(&["add", "default", "host"]).fails(125).error("`default` is this machine");
    let format = "{{.Name}} {{.URI}} {{.Identity}} {{.Default}}";
    connection(&["ls", "--format", format])
        .ok()
        .stdout("one ssh://me@host:2222 /k true\ntwo unix:///run/x.sock  false\n");
    connection(&["default", "two"]).ok();
    run(&["--remote", "ps"]).fails(125).error_has("cannot connect to unix:///run/x.sock");
    connection(&["rename", "two", "three"]).ok();
    connection(&["ls", "--format", "{{.Name}} {{.Default}}"])
        .ok()
        .stdout("one false\nthree true\n");
    connection(&["rm", "one"]).ok();
    connection(&["rm", "one"]).fails(125).error("no connection `one`");
    connection(&["rm", "--all"]).ok();
    connection(&["ls", "-q"]).ok().stdout("");
}

#[test]
fn remote_connections_are_contexts_to_users_of_docker() {
    let barge = Barge::new();
    let context = |line: &[&str]| barge.run([&["context"], line].concat());
    context(&["show"]).ok().stdout("default\n");
    let created =
        context(&["create", "far", "--description", "Far away", "--docker", "host=tcp://h:1"]);
    assert_eq!((created.status, created.text()), (0, "far".to_owned()), "{}", created.story());
    context(&["create", "bad", "--docker", "ca=x"]).fails(125).error("a connection needs a host");
    // It is used by none but who asks for it.
    context(&["show"]).ok().stdout("default\n");
    barge.run(["ps", "-q"]).ok().stdout("");
    let used = context(&["use", "far"]);
    assert_eq!((used.status, used.text()), (0, "far".to_owned()), "{}", used.story());
    context(&["show"]).ok().stdout("far\n");
    context(&["ls", "--format", "{{.Name}} {{.Current}} {{.Description}} {{.DockerEndpoint}}"])
        .ok()
        .stdout("default false This machine \nfar true Far away tcp://h:1\n");
    let shown = context(&["inspect"]).ok().json();
    assert_eq!(shown[0]["Endpoints"]["docker"]["Host"], "tcp://h:1");
    context(&["rm", "far"]).fails(125).error("context `far` is in use");
    context(&["use", "default"]).ok().stdout("default\n");
    context(&["rm", "far"]).ok().stdout("far\n");
    context(&["use", "far"]).fails(125).error("no connection `far`");
    // By its name, this machine is always there.
    barge.run(["--context", "default", "ps", "-q"]).ok().stdout("");
}
