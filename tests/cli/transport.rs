//! The way to a registry: certificates, proxies, redirects, registries that are busy.

use std::fs;

use super::support::layout::Tar;
use super::support::proxy::Proxy;
use super::support::registry::{Registry, free_port};
use super::support::server::{Answer, Server};
use super::support::{Barge, Output};

struct Case {
    barge: Barge,
    server: Server,
    name: String,
}

impl Case {
    fn new() -> Self {
        let barge = Barge::new();
        barge.run(["images"]).ok();
        let server = Server::start(barge.place());
        server.image("app", &[Tar::new().file("x", 0o644, "x").bytes()]);
        let name = server.reference("app:1");
        Self { barge, server, name }
    }

    fn pull<const N: usize>(&self, options: [&str; N]) -> Output {
        let line: Vec<&str> =
            ["pull", "-q"].into_iter().chain(options).chain([self.name.as_str()]).collect();
        self.barge.run(line)
    }
}

#[test]
fn certificates_of_a_registry() {
    let barge = Barge::new();
    barge.run(["images"]).ok();
    let given = barge.path("given");
    let registry = Registry::with_tls(barge.place(), &given);
    let name = registry.reference("box:1");
    let before = barge.files();
    let creds = ["--creds", "user:secret"];
    let pull = |options: &[&str]| {
        let line = [&["pull", "-q"], creds.as_slice(), options, &[name.as_str()]].concat();
        barge.run(line)
    };
    // Whatever is on this machine need not prove who it is; but this one wants to know who we are.
    pull(&[]).fails(125);
    pull(&["--tls-verify"]).fails(125).error_has("certificate").hint_has("--tls-verify=false");
    let given = given.to_str().unwrap();
    pull(&["--tls-verify", "--cert-dir", given]).ok();
    barge.run(["rmi", &name]).ok();
    pull(&["--cert-dir", given]).ok();
    barge.run(["rmi", &name]).ok();
    barge.has_files(&before, "");
    let line = ["pull", "-q", "--creds", "user:wrong", "--cert-dir", given, &name];
    barge.run(line).fails(125).error_has("denies access");
    // The same, in the place for it.
    let host = name.split('/').next().unwrap();
    let usual = barge.path("h/.config/containers/certs.d").join(host);
    fs::create_dir_all(&usual).unwrap();
    for file in ["ca.crt", "client.cert", "client.key"] {
        fs::copy(format!("{given}/{file}"), usual.join(file)).unwrap();
    }
    pull(&["--tls-verify"]).ok();
    barge.run(["rmi", &name]).ok();
    fs::remove_file(usual.join("client.key")).unwrap();
    pull(&["--tls-verify"]).fails(125).error_has("missing key").error_has("client.cert");
    fs::write(usual.join("ca.crt"), "-----BEGIN CERTIFICATE-----\nx\n").unwrap();
    fs::remove_file(usual.join("client.cert")).unwrap();
    pull(&["--tls-verify"]).fails(125).error_has("ca.crt");
}

#[test]
fn a_proxy_leads_to_registries() {
    let case = Case::new();
    let proxy = Proxy::start(case.barge.place(), &case.server.address());
    let far = "registry.invalid/app:1";
    let line = ["pull", "-q", "--tls-verify=false", far];
    let variables =
        [("HTTP_PROXY", "HTTPS_PROXY"), ("http_proxy", "https_proxy"), ("ALL_PROXY", "all_proxy")];
    for (plain, encrypted) in variables {
        let command = case.barge.command(line).env(plain, proxy.address());
        command.env(encrypted, proxy.address()).run().ok();
        case.barge.run(["rmi", far]).ok();
    }
    // TLS through a tunnel first; the server knows none.
    let lines = proxy.lines();
    assert_eq!(lines[0], "CONNECT registry.invalid:443 HTTP/1.1");
    assert!(lines[1].starts_with("GET http://registry.invalid/v2/app/manifests/1 "), "{lines:?}");
    // Who is excepted is looked for directly, and not found.
    let command = case.barge.command(line).env("ALL_PROXY", proxy.address());
    let output = command.env("NO_PROXY", "other.invalid,.invalid").run().fails(125);
    output.error_has("there is no host of this name");
    // What is on this machine is never looked for elsewhere.
    let nobody = format!("http://127.0.0.1:{}", free_port(case.barge.place()));
    let line = ["pull", "-q", &case.name];
    case.barge.command(line).env("ALL_PROXY", &nobody).env("HTTP_PROXY", &nobody).run().ok();
    let output =
        case.barge.command(["pull", "-q", far]).env("HTTPS_PROXY", &nobody).run().fails(125);
    output.error_has("connection refused");
    // A registry may have a proxy of its own.
    let conf =
        format!("[[registry]]\nlocation = \"registry.invalid\"\nproxy = \"{}\"\n", proxy.address());
    let conf = case.barge.file("registries.conf", conf);
    let line = ["pull", "-q", "--tls-verify=false", far];
    case.barge.command(line).env("CONTAINERS_REGISTRIES_CONF", conf).run().ok();
}

#[test]
fn a_busy_registry_is_asked_again() {
    let case = Case::new();
    let manifest = "/v2/app/manifests/1";
    let busy = |status: u16| {
        Answer::new("application/json", TOO_MANY).status(status).header("Retry-After", "0")
    };
    for status in [429, 500, 502, 503] {
        for _ in 0..3 {
            case.server.answer_once(manifest, busy(status));
        }
        case.pull([]).ok();
        case.barge.run(["rmi", &case.name]).ok();
    }
    // As often as the user wants.
    for (retry, good) in [("0", false), ("1", false), ("2", true)] {
        case.server.forget_requests();
        for _ in 0..2 {
            case.server.answer_once(manifest, busy(503));
        }
        let output = case.pull(["--retry", retry, "--retry-delay", "1ms"]);
        assert_eq!(output.status == 0, good, "{retry}: {}", output.story());
        while !good && case.pull(["--retry=0"]).status != 0 {}
        case.barge.run(["rmi", &case.name]).ok();
    }
}

const TOO_MANY: &str = r#"{"errors":[{"code":"TOOMANYREQUESTS",
    "message":"You have reached your unauthenticated pull rate limit."}]}"#;

#[test]
fn a_rate_limit_is_explained() {
    let case = Case::new();
    let answer = Answer::new("application/json", TOO_MANY).status(429);
    case.server.answer("/v2/app/manifests/1", answer.clone().header("Retry-After", "21600"));
    // So long a wait is the user's decision.
    let output = case.pull([]).fails(125).error_has("wants fewer requests");
    output.error_has("pull rate limit").hint_has("21600 seconds").hint_has("barge login");
    assert_eq!(case.server.asked().len(), 1);
    case.server.answer("/v2/app/manifests/1", answer);
    let output = case.pull(["--retry=1", "--creds=a:b"]).fails(125).error_has("pull rate limit");
    output.hint_has("mirror");
    assert_eq!(case.server.asked().len(), 3);
}

#[test]
fn credentials_stay_with_the_registry() {
    let case = Case::new();
    let elsewhere = Server::start(case.barge.place());
    let parts = elsewhere.image("app", &[Tar::new().file("x", 0o644, "x").bytes()]);
    let manifest = "/v2/app/manifests/1";
    let asks =
        Answer::new("text/plain", "").status(401).header("WWW-Authenticate", "Basic realm=x");
    case.server.answer_once(manifest, asks);
    let to = format!("http://{}{}", elsewhere.address(), parts.layer_path(0));
    let moved = Answer::new("text/plain", "").status(307).header("Location", &to);
    case.server.answer(&parts.layer_path(0), moved);
    case.pull(["--creds", "user:secret"]).ok();
    let shown: Vec<bool> = case
        .server
        .requests()
        .iter()
        .map(|request| request.header("authorization") == "Basic dXNlcjpzZWNyZXQ=")
        .collect();
    // The question that was refused, and all that followed.
    assert_eq!(shown, [false, true, true, true]);
    let [request] = &elsewhere.requests()[..] else { panic!("{:?}", elsewhere.requests()) };
    assert_eq!(request.header("authorization"), "");
    assert_eq!(request.header("cookie"), "");
    assert_eq!(request.header("referer"), "");
}

#[test]
fn redirects_come_to_an_end() {
    let case = Case::new();
    let manifest = "/v2/app/manifests/1";
    let to = |place: &str| Answer::new("text/plain", "").status(307).header("Location", place);
    case.server.answer(manifest, to(manifest));
    case.pull(["--retry=0"]).fails(125).error_has("too many redirects");
    for place in ["file:///etc/passwd", "gopher://x/y", "//", ""] {
        case.server.answer(manifest, to(place));
        case.pull(["--retry=0"]).fails(125);
    }
}
