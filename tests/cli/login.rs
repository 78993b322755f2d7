//! `barge login`, `barge logout`: a registry with users, one with a token server, files and helpers.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::support::http::{Http, Reply, reply};
use super::support::registry::{Registry, free_port};
use super::support::{Barge, Output};

/// `user:secret` in base 64.
const ENCODED: &str = "dXNlcjpzZWNyZXQ=";

fn host(registry: &Registry) -> String {
    registry.reference("box").split('/').next().unwrap().to_owned()
}

fn log_in(barge: &Barge, host: &str, flags: &[&str], password: &str) -> Output {
    let mut line = vec!["login", "-u", "user", "--password-stdin"];
    line.extend(flags);
    line.push(host);
    barge.command(line).input(format!("{password}\n")).run()
}

fn json_of(barge: &Barge, name: &str) -> Value {
    serde_json::from_slice(&fs::read(barge.path(name)).unwrap()).unwrap()
}

#[test]
fn login_is_tried_before_it_is_kept() {
    let barge = Barge::new();
    let registry = Registry::with_password(barge.place());
    let (host, image) = (host(&registry), registry.reference("box:1"));
    let file = "x/containers/auth.json";
    log_in(&barge, &host, &[], "wrong")
        .fails(125)
        .error(&format!("logging into \"{host}\": invalid username/password"));
    assert!(!barge.path(file).exists());
    barge.run(["pull", "-q", &image]).fails(125);
    barge.run(["login", "--get-login", &host]).fails(125).error(&format!("not logged into {host}"));

    log_in(&barge, &host, &[], "secret").ok().stdout("Login Succeeded!\n").stderr("");
    assert_eq!(json_of(&barge, file), json!({ "auths": { &host: { "auth": ENCODED } } }));
    let mode = fs::metadata(barge.path(file)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    barge.run(["login", "--get-login", &host]).ok().stdout("user\n");
    barge.run(["pull", "-q", &image]).ok();
    barge.run(["login", &host]).ok().stdout(&format!(
        "Authenticating with existing credentials for {host}\n\
         Existing credentials are valid. Already logged in to {host}\n"
    ));
    // A login that fails takes nothing away.
    log_in(&barge, &host, &[], "wrong").fails(125);
    barge.run(["login", "--get-login", &host]).ok().stdout("user\n");

    let removed = format!("Removed login credentials for {host}\n");
    barge.run(["logout", &host]).ok().stdout(&removed).stderr("");
    assert_eq!(json_of(&barge, file), json!({ "auths": {} }));
    barge.run(["logout", &host]).fails(125).error(&format!("not logged into {host}"));
    barge.run(["pull", "-q", &image]).fails(125).error_has("authentication required");
}

#[test]
fn login_chooses_its_file() {
    let barge = Barge::new();
    let registry = Registry::with_password(barge.place());
    let host = host(&registry);
    let own = barge.path_text("t/own.json");
    let output = log_in(&barge, &host, &["-v", "--authfile", &own], "secret").ok();
    output.stdout(&format!("Used: {own}\nLogin Succeeded!\n"));
    barge.run(["login", "--get-login", "--authfile", &own, &host]).ok().stdout("user\n");
    barge.run(["login", "--get-login", &host]).fails(125);

    // Docker's file keeps what is in it, and Docker's names.
    fs::create_dir(barge.path("t/docker")).unwrap();
    let text =
        r#"{"HttpHeaders":{"X":"1"},"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"}}}"#;
    let compat = barge.file("t/docker/config.json", text);
    log_in(&barge, &host, &["--compat-auth-file", &compat], "secret").ok();
    let document = json_of(&barge, "t/docker/config.json");
    assert_eq!(document["HttpHeaders"]["X"], "1");
    assert_eq!(document["auths"]["https://index.docker.io/v1/"]["auth"], "YTpi");
    assert_eq!(document["auths"][&host]["auth"], ENCODED);
    let part = format!("{host}/team");
    log_in(&barge, &part, &["--compat-auth-file", &compat], "secret")
        .fails(125)
        .error_has("namespaced key");
    log_in(&barge, &host, &["--compat-auth-file", &compat, "--authfile", &own], "secret")
        .fails(125);

    let by_variable = |name: &str, value: &str, line: &[&str]| {
        barge.command(line).env(name, value).input("secret\n").run()
    };
    let line = ["login", "-v", "-u", "user", "--password-stdin", &host];
    let other = barge.path_text("t/other.json");
    by_variable("REGISTRY_AUTH_FILE", &other, &line).ok().stdout_has(&other);
    let docker = barge.path_text("t/docker");
    by_variable("DOCKER_CONFIG", &docker, &line).ok().stdout_has(&compat);
    by_variable("DOCKER_CONFIG", &docker, &["logout", "docker.io"])
        .ok()
        .stdout("Removed login credentials for docker.io\n");
    let known = json_of(&barge, "t/docker/config.json");
    assert_eq!(known["auths"].as_object().unwrap().len(), 1);

    let missing = barge.path_text("t/none.json");
    barge.run(["logout", "--authfile", &missing, &host]).fails(125).error(&format!(
        "credential file is not accessible: faccessat {missing}: no such file or directory"
    ));
    barge
        .run(["logout", "--all", "--authfile", &own])
        .ok()
        .stdout("Removed login credentials for all registries\n");
    assert_eq!(json_of(&barge, "t/own.json"), json!({ "auths": {} }));
    barge.run(["logout", "--all", &host]).fails(125).error("--all takes no arguments");
}

#[test]
fn logout_knows_logins_of_other_tools() {
    let barge = Barge::new();
    fs::create_dir(barge.path("h/.docker")).unwrap();
    barge.file("h/.docker/config.json", r#"{"auths":{"quay.io":{"auth":"YTpi"}}}"#);
    barge.run(["login", "--get-login", "quay.io"]).ok().stdout("a\n");
    barge.run(["logout", "quay.io"]).ok().stdout_has("Not logged into quay.io with current tool.");
}

#[test]
fn login_to_a_part_of_a_registry() {
    let barge = Barge::new();
    let registry = Registry::with_password(barge.place());
    let host = host(&registry);
    let part = format!("{host}/box");
    log_in(&barge, &part, &[], "secret").ok();
    barge.run(["login", "--get-login", &host]).fails(125);
    barge.run(["pull", "-q", &registry.reference("box:1")]).ok();
    let tagged = format!("{host}/box:1");
    log_in(&barge, &tagged, &[], "secret")
        .fails(125)
        .error(&format!("reference \"{tagged}\" contains tag or digest"));
}

#[test]
fn login_says_what_is_wrong_with_the_request() {
    let barge = Barge::new();
    for (line, error) in [
        (
            &["login", "-u", "a", "-p", "b", "--password-stdin", "quay.io"][..],
            "can't specify both --password-stdin and --password",
        ),
        (
            &["login", "--password-stdin", "quay.io"],
            "must provide --username with --password-stdin",
        ),
        (&["login", "quay"], "`quay` is not a registry"),
        (&["login", "a", "b"], "accepts at most 1 arg(s), received 2"),
        (&["login", "--get-login", "quay.io"], "not logged into quay.io"),
        (&["login", "quay.io"], "cannot read the username: the input ended"),
    ] {
        let output = barge.run(line).exits(125);
        assert!(output.errors().contains(&format!("Error: {error}\n")), "{}", output.errors());
    }
    let port = free_port(barge.place());
    let host = format!("127.0.0.1:{port}");
    log_in(&barge, &host, &[], "secret")
        .fails(125)
        .error_has(&format!("authenticating creds for \"{host}\": "))
        .error_has("connection refused");
    fs::create_dir(barge.path("x/containers")).unwrap();
    barge.file("x/containers/auth.json", "{");
    log_in(&barge, &host, &[], "secret").fails(125).error_has("auth.json is damaged");
}

#[test]
fn login_asks_on_a_terminal_without_echo() {
    let barge = Barge::new();
    let registry = Registry::with_password(barge.place());
    let host = host(&registry);
    let mut terminal = barge.command(["login", &host]).terminal();
    let before = terminal.settings_before().local_modes;
    terminal.expect("Username: ");
    terminal.send("user\n");
    terminal.expect("Password: ");
    terminal.send("secrex\u{7f}t\r");
    terminal.expect("Login Succeeded!");
    terminal.exits(0);
    assert!(!terminal.screen().contains("secre"), "{}", terminal.screen());
    assert_eq!(terminal.settings().local_modes, before);
    barge.run(["login", "--get-login", &host]).ok().stdout("user\n");

    let mut terminal = barge.command(["login", "-u", "user", &host]).terminal();
    terminal.expect("Password: ");
    terminal.send("sec\u{3}");
    terminal.expect("the question was not answered");
    terminal.exits(125);
    assert_eq!(terminal.settings().local_modes, before);
}

#[test]
fn login_warns_of_passwords_on_the_command_line() {
    let barge = Barge::new();
    let registry = Registry::with_password(barge.place());
    let host = host(&registry);
    barge
        .run(["login", "-u", "user", "-p", "secret", &host])
        .exits(0)
        .stdout("Login Succeeded!\n")
        .stderr("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n");
}

/// A registry that wants tokens, and the server of these, in one.
fn with_tokens(barge: &Barge, lasting: bool) -> Http {
    Http::start(barge.place(), move |request| {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let own = format!("http://{}", request.header("host"));
        let token = |text: &str| -> Reply {
            let refresh = if lasting { r#","refresh_token":"lasting""# } else { "" };
            reply(200, format!(r#"{{"token":"{text}"{refresh}}}"#))
        };
        let refused = || reply(401, r#"{"details":"incorrect username or password"}"#);
        if path == "/token" {
            let body = String::from_utf8_lossy(&request.body);
            let good = format!("Basic {ENCODED}");
            return match request.method.as_str() {
                "POST" if body.contains("refresh_token=lasting&") => token("by-refresh"),
                "GET" if request.header("authorization") == good => {
                    assert!(query.contains("service=tests"), "{query}");
                    token("by-password")
                }
                _ => refused(),
            };
        }
        if request.header("authorization").starts_with("Bearer by-") {
            return match path {
                "/v2/" => reply(200, "{}"),
                _ => reply(404, r#"{"errors":[{"message":"no such thing"}]}"#),
            };
        }
        let challenge = format!("Bearer realm=\"{own}/token\",service=\"tests\"");
        (401, vec![("WWW-Authenticate", challenge)], Vec::new())
    })
}

#[test]
fn login_by_tokens() {
    let barge = Barge::new();
    let server = with_tokens(&barge, false);
    let host = server.address();
    log_in(&barge, &host, &[], "wrong")
        .fails(125)
        .error(&format!("logging into \"{host}\": invalid username/password"));
    log_in(&barge, &host, &[], "secret").ok().stdout("Login Succeeded!\n");
    let entry = json_of(&barge, "x/containers/auth.json")["auths"][&host].clone();
    assert_eq!(entry, json!({ "auth": ENCODED }));
    for request in server.seen() {
        // The registry itself is not shown the password, and no scope is asked for.
        let is_token = request.path.starts_with("/token");
        assert!(is_token || !request.header("authorization").starts_with("Basic"), "{request:?}");
        assert!(!request.path.contains("scope="), "{request:?}");
    }
}

#[test]
fn login_keeps_a_lasting_token_in_place_of_the_password() {
    let barge = Barge::new();
    let server = with_tokens(&barge, true);
    let host = server.address();
    log_in(&barge, &host, &[], "secret").ok().stdout("Login Succeeded!\n");
    let entry = json_of(&barge, "x/containers/auth.json")["auths"][&host].clone();
    // `user:` without the password.
    assert_eq!(entry, json!({ "auth": "dXNlcjo=", "identitytoken": "lasting" }));
    barge.run(["login", "--get-login", &host]).ok().stdout("user\n");
    server.seen();
    let image = format!("{host}/team/app");
    barge.run(["pull", "-q", &image]).fails(125).error_has("no such thing");
    let seen = server.seen();
    let post = seen.iter().find(|request| request.method == "POST").unwrap();
    let body = String::from_utf8_lossy(&post.body);
    assert!(body.contains("grant_type=refresh_token"), "{body}");
    assert!(body.contains("scope=repository%3Ateam%2Fapp%3Apull"), "{body}");
    // Another login takes its place.
    log_in(&barge, &host, &[], "secret").ok();
}

/// A helper that keeps its entries in files of a directory.
const HELPER: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 9
echo "$1" >>calls
case $1 in
store) text=$(cat); name=$(printf %s "$text" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/' | tr / _)
    printf '%s' "$text" >"entry-$name" ;;
get) name=$(cat | tr / _)
    [ -e "entry-$name" ] || { echo 'credentials not found in native keychain'; exit 1; }
    cat "entry-$name" ;;
erase) name=$(cat | tr / _); rm -f "entry-$name" ;;
esac
"#;

#[test]
fn login_uses_helpers() {
    let barge = Barge::new();
    let registry = Registry::with_password(barge.place());
    let (host, image) = (host(&registry), registry.reference("box:1"));
    fs::create_dir(barge.path("t/bin")).unwrap();
    let program = barge.file("t/bin/docker-credential-tests", HELPER);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", barge.path_text("t/bin"));
    let run = |line: &[&str]| barge.command(line).env("PATH", &path).input("secret\n").run();
    for (name, text) in [
        ("own", format!(r#"{{"credHelpers":{{"{host}":"tests"}}}}"#)),
        ("all", r#"{"credsStore":"tests"}"#.to_owned()),
    ] {
        let file = barge.file(&format!("t/{name}.json"), text);
        let with = ["--authfile", &file, &host];
        let line =
            |words: &[&'static str]| -> Vec<&str> { words.iter().copied().chain(with).collect() };
        run(&line(&["login", "-v", "-u", "user", "--password-stdin"]))
            .ok()
            .stdout("Used: credential helper: tests\nLogin Succeeded!\n");
        let document = json_of(&barge, &format!("t/{name}.json"));
        assert_eq!(document["auths"][&host], json!({}));
        run(&line(&["login", "--get-login"])).ok().stdout("user\n");
        run(&["pull", "-q", "--authfile", &file, &image]).ok();
        run(&["rmi", &image]).ok();
        run(&line(&["logout"])).ok().stdout(&format!("Removed login credentials for {host}\n"));
        run(&line(&["logout"])).fails(125).error(&format!("not logged into {host}"));
        run(&["pull", "-q", "--authfile", &file, &image]).fails(125);
    }
    // One that is missing is named, with what to install.
    let file = barge.file("t/none.json", format!(r#"{{"credHelpers":{{"{host}":"pass"}}}}"#));
    run(&["login", "-u", "user", "--password-stdin", "--authfile", &file, &host])
        .fails(125)
        .error_has("docker-credential-pass is not installed")
        .hint_has("golang-docker-credential-helpers");
    // Left behind by another machine's tool, it is not in the way of what needs none.
    let file = barge.file("t/left.json", r#"{"credsStore":"desktop"}"#);
    run(&["pull", "-q", "--authfile", &file, &image])
        .fails(125)
        .error_has("authentication required");
}

#[test]
fn a_stranger_to_whom_a_registry_leads_gets_no_secrets() {
    let barge = Barge::new();
    for other in ["localhost", "127.0.0.1"] {
        no_secrets_for(&barge, other);
    }
}

/// Lets a registry lead to another server on this machine, under this name.
fn no_secrets_for(barge: &Barge, other: &str) {
    let thief = Http::start(barge.place(), |request| match request.path.as_str() {
        "/token?service=x&account=user" => reply(200, r#"{"token":"stolen"}"#),
        _ => {
            let realm = format!("http://{}/token", request.header("host"));
            let challenges = format!("Bearer realm=\"{realm}\",service=\"x\", Basic realm=\"x\"");
            (401, vec![("WWW-Authenticate", challenges)], Vec::new())
        }
    });
    let there = thief.address().replace("127.0.0.1", other);
    let registry = Http::start(barge.place(), move |request| {
        if request.header("authorization") != format!("Basic {ENCODED}") {
            return (401, vec![("WWW-Authenticate", "Basic realm=\"x\"".to_owned())], Vec::new());
        }
        let to = format!("http://{there}{}", request.path);
        (307, vec![("Location", to)], Vec::new())
    });
    let image = format!("{}/team/app:1", registry.address());
    barge.run(["pull", "-q", "--creds", "user:secret", &image]).fails(125);
    let seen = thief.seen();
    assert!(!seen.is_empty());
    for request in seen {
        assert!(request.header("authorization").is_empty(), "{request:?}");
        assert!(!request.path.contains("/token"), "{request:?}");
    }
}

#[test]
fn a_token_server_that_leads_elsewhere_gives_no_secrets_away() {
    let barge = Barge::new();
    let thief = Http::start(barge.place(), |_| reply(200, r#"{"token":"stolen"}"#));
    for status in [301, 302, 303, 307, 308] {
        let there = thief.address();
        let registry = Http::start(barge.place(), move |request| {
            let token = format!("http://{}/token", request.header("host"));
            match request.path.as_str() {
                path if path.starts_with("/token") => {
                    (status, vec![("Location", format!("http://{there}/token"))], Vec::new())
                }
                _ => {
                    let challenge = format!("Bearer realm=\"{token}\",service=\"x\"");
                    (401, vec![("WWW-Authenticate", challenge)], Vec::new())
                }
            }
        });
        let host = registry.address();
        let image = format!("{host}/team/app:1");
        let entry = json!({ "auth": ENCODED, "identitytoken": "lasting" });
        let file = barge.file("t.json", json!({ "auths": { &host: entry } }).to_string());
        let pull = |options: [&str; 2]| {
            let line = [&["pull", "-q", "--retry=0"], options.as_slice(), &[&image]].concat();
            barge.run(line).fails(125)
        };
        pull(["--authfile", &file]).error_has("redirects to another host");
        assert_eq!(thief.seen().len(), 0, "{status}");
        // A password is in a header, which stays behind.
        pull(["--creds", "user:secret"]);
        log_in(&barge, &host, &[], "secret").fails(125);
        for request in thief.seen() {
            assert_eq!(request.header("authorization"), "", "{status}: {request:?}");
            assert!(request.body.is_empty(), "{status}: {request:?}");
        }
        // To the token server as to the registry: only the latter gets what it is for.
        for request in registry.seen() {
            let is_token = request.path.starts_with("/token");
            assert!(is_token || !request.header("authorization").contains("Basic"));
        }
    }
}

#[test]
fn login_uses_the_programs_that_registries_conf_lists() {
    let barge = Barge::new();
    let registry = Registry::with_password(barge.place());
    let host = host(&registry);
    fs::create_dir(barge.path("t/bin")).unwrap();
    let program = barge.file("t/bin/docker-credential-tests", HELPER);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(barge.path("h/.config/containers")).unwrap();
    let text = "credential-helpers = [\"tests\", \"containers-auth.json\"]\n";
    barge.file("h/.config/containers/registries.conf", text);
    let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", barge.path_text("t/bin"));
    let run = |line: &[&str]| barge.command(line).env("PATH", &path).input("secret\n").run();
    run(&["login", "-v", "-u", "user", "--password-stdin", &host])
        .ok()
        .stdout("Used: credential helper: tests\nLogin Succeeded!\n");
    assert!(!barge.path("x/containers/auth.json").exists());
    run(&["login", "--get-login", &host]).ok().stdout("user\n");
    // It knows whole registries only; a part of one goes into the file.
    let part = format!("{host}/team");
    run(&["login", "-u", "user", "--password-stdin", &part]).ok();
    assert!(barge.path("x/containers/auth.json").exists());
    run(&["logout", &host]).ok().stdout(&format!("Removed login credentials for {host}\n"));
    run(&["login", "--get-login", &host]).fails(125);
    run(&["logout", &part]).ok();
}
