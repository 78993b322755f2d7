//! What image names lead to: `registries.conf`, mirrors, short names.

use super::support::layout::Tar;
use super::support::process::Invocation;
use super::support::server::{Answer, Server};
use super::support::{Barge, is_root};

/// A store and two registries that have `team/app:1`, each with a layer of its own.
struct Case {
    barge: Barge,
    one: Server,
    two: Server,
    conf: String,
}

impl Case {
    fn new() -> Self {
        let barge = Barge::new();
        let [one, two] = ["one", "two"].map(|name| {
            let server = Server::start(barge.place());
            server.image("team/app", &[Tar::new().file("name", 0o644, name).bytes()]);
            server
        });
        let conf = barge.path_text("registries.conf");
        Self { barge, one, two, conf }
    }

    /// Writes the configuration; `ONE` and `TWO` are the registries.
    fn configure(&self, text: &str) {
        let text = text.replace("ONE", &self.one.address()).replace("TWO", &self.two.address());
        self.barge.file("registries.conf", text);
    }

    fn command<const N: usize>(&self, line: [&str; N]) -> Invocation {
        self.barge.command(line).env("CONTAINERS_REGISTRIES_CONF", &self.conf)
    }

    /// Pulls an image, says which registry it came from, and removes it.
    #[track_caller]
    fn source(&self, name: &str) -> &'static str {
        self.command(["pull", "-q", name]).run().ok();
        // The name on record is the one that was asked for.
        self.command(["image", "exists", name]).run().ok();
        let names = ["image", "inspect", "--format", "{{join .RepoTags \" \"}}", name];
        let names = self.command(names).run().ok().text();
        let full = if name.contains(':') { name.to_owned() } else { format!("{name}:latest") };
        assert!(names.ends_with(&full), "{names} for {name}");
        let layers = self.barge.layers();
        let [layer] = layers.as_slice() else { panic!("{layers:?}") };
        let from = std::fs::read_to_string(layer.join("diff/name")).unwrap();
        self.command(["rmi", name]).run().ok();
        match from.as_str() {
            "one" => "one",
            "two" => "two",
            other => panic!("{other}"),
        }
    }
}

#[test]
fn mirrors_are_tried_in_order() {
    let case = Case::new();
    let name = "registry.invalid/team/app:1";
    let mirrored = |first: &str, second: &str| {
        format!(
            "[[registry]]\nlocation = \"registry.invalid\"\n\
             [[registry.mirror]]\nlocation = \"{first}\"\n\
             [[registry.mirror]]\nlocation = \"{second}\"\n"
        )
    };
    case.configure(&mirrored("ONE", "TWO"));
    assert_eq!(case.source(name), "one");
    assert!(case.two.asked().is_empty());
    case.configure(&mirrored("TWO", "ONE"));
    assert_eq!(case.source(name), "two");
    // One that is not there, one that does not have it, and one whose layers are bad.
    case.configure(&mirrored("nowhere.invalid", "TWO"));
    assert_eq!(case.source(name), "two");
    case.configure(&mirrored("ONE/nothing", "TWO"));
    assert_eq!(case.source(name), "two");
    let parts = case.one.image("team/app", &[Tar::new().file("name", 0o644, "one").bytes()]);
    case.one.answer(&parts.layer_path(0), Answer::new("application/octet-stream", "bad"));
    case.configure(&mirrored("ONE", "TWO"));
    assert_eq!(case.source(name), "two");
    // The last one to be asked is the registry itself, and the error tells of all.
    case.configure(&mirrored("ONE", "TWO/nothing"));
    let output = case.command(["pull", "-q", name]).run().fails(125);
    let output = output.error_has("mirrors also failed").error_has("/nothing/team/app:1");
    output.error_has("registry.invalid").error_has("there is no host of this name");
}

#[test]
fn mirrors_are_not_shown_what_is_for_the_registry() {
    let case = Case::new();
    case.configure(
        "[[registry]]\nlocation = \"TWO\"\n[[registry.mirror]]\nlocation = \"ONE/nothing\"\n",
    );
    let asks =
        || Answer::new("text/plain", "").status(401).header("WWW-Authenticate", "Basic realm=x");
    case.one.answer("/v2/nothing/team/app/manifests/1", asks());
    case.two.answer_once("/v2/team/app/manifests/1", asks());
    let name = case.two.reference("team/app:1");
    case.command(["pull", "-q", "--creds", "user:secret", &name]).run().ok();
    let shown = |server: &Server| {
        server
            .requests()
            .iter()
            .filter(|request| !request.header("authorization").is_empty())
            .count()
    };
    assert_eq!(shown(&case.one), 0);
    assert!(shown(&case.two) > 0);
}

#[test]
fn mirrors_may_be_for_tags_or_digests_only() {
    let case = Case::new();
    let mirror = |usage: &str| {
        format!(
            "[[registry]]\nprefix = \"registry.invalid\"\nlocation = \"TWO\"\n\
             [[registry.mirror]]\nlocation = \"ONE\"\npull-from-mirror = \"{usage}\"\n"
        )
    };
    let name = "registry.invalid/team/app:1";
    for (usage, want) in [("all", "one"), ("tag-only", "one"), ("digest-only", "two")] {
        case.configure(&mirror(usage));
        assert_eq!(case.source(name), want, "{usage}");
    }
    let template = ["image", "inspect", "--format", "{{.Digest}}", name];
    case.configure(&mirror("all"));
    case.command(["pull", "-q", name]).run().ok();
    let digest = case.command(template).run().ok().text();
    case.command(["rmi", name]).run().ok();
    let by_digest = format!("registry.invalid/team/app@{digest}");
    case.configure(&mirror("digest-only"));
    case.command(["pull", "-q", &by_digest]).run().ok();
    // Only the first registry has an image with this digest.
    case.command(["rmi", &by_digest]).run().ok();
    case.configure(&mirror("tag-only"));
    case.command(["pull", "-q", &by_digest]).run().fails(125);
}

#[test]
fn a_location_is_rewritten() {
    let case = Case::new();
    case.configure("[[registry]]\nprefix = \"*.example.invalid/x\"\nlocation = \"ONE\"\n");
    case.command(["pull", "-q", "x/y"]).run().fails(125).error_has("as in *.example.com");
    case.configure("[[registry]]\nprefix = \"*.example.invalid\"\nlocation = \"ONE\"\n");
    assert_eq!(case.source("a.b.example.invalid/team/app:1"), "one");
    case.configure("[[registry]]\nprefix = \"example.invalid/alias\"\nlocation = \"TWO/team\"\n");
    assert_eq!(case.source("example.invalid/alias/app:1"), "two");
    // A namespace on the mirror's side, a tag in the prefix.
    case.configure(
        "[[registry]]\nprefix = \"example.invalid/x:old\"\nlocation = \"TWO/team/app:1\"\n",
    );
    assert_eq!(case.source("example.invalid/x:old"), "two");
}

#[test]
fn what_is_blocked_is_refused() {
    let case = Case::new();
    case.configure("[[registry]]\nlocation = \"ONE/team\"\nblocked = true\n");
    let name = case.one.reference("team/app:1");
    let output = case.command(["pull", "-q", &name]).run().fails(125);
    output.error_has("is blocked in").error_has("registries.conf");
    assert!(case.one.asked().is_empty());
    // Another namespace of the same registry is not.
    case.one.image("free/app", &[Tar::new().file("name", 0o644, "one").bytes()]);
    assert_eq!(case.source(&case.one.reference("free/app:1")), "one");
}

#[test]
fn an_insecure_registry_needs_no_certificate() {
    let case = Case::new();
    // Being on this machine alone counts for nothing when the user insists.
    let name = "registry.invalid/team/app:1";
    let text = |insecure: bool| {
        format!(
            "[[registry]]\nprefix = \"registry.invalid\"\nlocation = \"ONE\"\ninsecure = {insecure}\n"
        )
    };
    case.configure(&text(true));
    assert_eq!(case.source(name), "one");
    case.command(["pull", "-q", "--tls-verify", name]).run().fails(125);
}

#[test]
fn short_names_follow_aliases_and_search_registries() {
    let case = Case::new();
    case.two.image("team/other", &[Tar::new().file("name", 0o644, "other").bytes()]);
    case.configure(
        "unqualified-search-registries = [\"ONE\", \"TWO\"]\n\
         [aliases]\nshort = \"ONE/team/app\"\n",
    );
    let (one, two) = (case.one.reference("team/app:1"), case.two.reference("team/other:1"));
    let output = case.command(["pull", "short:1"]).run().ok();
    let line = format!("Resolved \"short\" as an alias ({})\n", case.conf);
    assert!(output.errors().starts_with(&line), "{}", output.errors());
    for name in ["short:1", &one] {
        case.command(["image", "exists", name]).run().ok();
    }
    // The registry is found by searching; the first does not have it.
    let output = case.command(["pull", "team/other:1"]).run().exits(0);
    let tried: Vec<String> = output
        .errors()
        .lines()
        .filter(|line| line.starts_with("Trying"))
        .map(str::to_owned)
        .collect();
    let first = case.one.reference("team/other:1");
    assert_eq!(tried, [format!("Trying to pull {first}..."), format!("Trying to pull {two}...")]);
    case.command(["image", "exists", "team/other:1"]).run().ok();
    let template = ["image", "inspect", "--format", "{{.Id}}", "team/other:1"];
    let by_short = case.command(template).run().ok().text();
    let by_full = case.command(["image", "inspect", "--format", "{{.Id}}", &two]).run().ok();
    assert_eq!(by_full.text(), by_short);
    // What was given here comes first.
    case.command(["tag", &one, "team/other:1"]).run().ok();
    let own = case.command(template).run().ok().text();
    assert_ne!(own, by_short);
    case.command(["rmi", "localhost/team/other:1"]).run().ok();
    let missing = ["run", "--rm", "--pull=never", "nothing-of-the-sort", "true"];
    case.command(missing).run().fails(125).error_has("image not known");
    let output = case.command(["pull", "-q", "nothing-of-the-sort"]).run().fails(125);
    output.error_has("from any registry").error_has(&case.two.reference("nothing-of-the-sort"));
}

#[test]
fn nobody_is_asked_without_a_terminal() {
    let case = Case::new();
    let text = "unqualified-search-registries = [\"ONE\", \"TWO\"]\nshort-name-mode = ";
    case.configure(&format!("{text}\"enforcing\"\n"));
    let output = case.command(["pull", "-q", "team/app:1"]).run().fails(125);
    output
        .error_has("short-name resolution enforced but cannot prompt without a TTY")
        .hint_has(&case.one.reference("team/app:1"));
    case.configure(&format!("{text}\"permissive\"\n"));
    case.command(["pull", "-q", "team/app:1"]).run().ok();
    case.configure("unqualified-search-registries = []\n");
    let output = case.command(["pull", "-q", "team/other:1"]).run().fails(125);
    output.error_has("no unqualified-search registries are defined in");
}

#[test]
fn a_choice_on_a_terminal_is_remembered() {
    let mut case = Case::new();
    if is_root() {
        // Root's choices are the system's.
        let place = case.barge.place().with_mounts("mount -t tmpfs none /var/cache");
        case.barge.move_to(place);
    }
    case.configure("unqualified-search-registries = [\"ONE\", \"TWO\"]\n");
    let mut terminal = case.command(["pull", "team/app:1"]).terminal();
    terminal.expect("Please select an image");
    terminal.send("7\n");
    terminal.expect("none of them");
    terminal.send("2\n");
    terminal.exits(0);
    assert!(case.one.asked().is_empty());
    // Next time nobody is asked, with whatever tag.
    case.two.answer(
        "/v2/team/app/tags/list",
        Answer::new("application/json", r#"{"name":"team/app","tags":["1"]}"#),
    );
    let mut terminal = case.command(["pull", "-a", "team/app"]).terminal();
    terminal.exits(0);
    assert!(!terminal.screen().contains("Please select"));
    assert!(case.one.asked().is_empty());
}

#[test]
fn a_damaged_file_is_named_with_its_line() {
    let case = Case::new();
    case.configure("# fine\nunqualified-search-registries = [\n[[registry]]\n");
    let output = case.command(["pull", "-q", "x"]).run().fails(125);
    output.error_has(&format!("{}, line ", case.conf));
    let missing = case.barge.path_text("missing.conf");
    let command = case.barge.command(["pull", "-q", "x"]);
    command.env("CONTAINERS_REGISTRIES_CONF", &missing).run().fails(125).error_has(&missing);
    // Names that were given here do not need it.
    case.barge.import_busybox();
    case.command(["image", "exists", "busybox"]).run().ok();
}

#[test]
fn a_user_has_a_file_of_their_own() {
    let case = Case::new();
    let dir = case.barge.path("h/.config/containers/registries.conf.d");
    std::fs::create_dir_all(&dir).unwrap();
    let alias = |registry: &Server| {
        let target = registry.reference("team/app");
        std::fs::write(dir.join("mine.conf"), format!("[aliases]\nmine = \"{target}\"\n")).unwrap();
    };
    alias(&case.one);
    case.barge.run(["pull", "-q", "mine:1"]).ok();
    case.barge.run(["image", "exists", &case.one.reference("team/app:1")]).ok();
    alias(&case.two);
    case.barge.run(["pull", "-q", "mine:1"]).ok();
    case.barge.run(["image", "exists", &case.two.reference("team/app:1")]).ok();
}

#[test]
fn skopeo_asks_the_same_places() {
    let case = Case::new();
    case.configure(
        "[[registry]]\nprefix = \"example.invalid/a\"\nlocation = \"ONE/nothing\"\ninsecure = true\n\
         [[registry.mirror]]\nlocation = \"ONE/also-nothing\"\ninsecure = true\n\
         [[registry.mirror]]\nlocation = \"TWO/x\"\ninsecure = true\npull-from-mirror = \"digest-only\"\n\
         [[registry]]\nprefix = \"*.invalid\"\nlocation = \"TWO\"\ninsecure = true\n",
    );
    let asked = |server: &Server| -> Vec<String> {
        let mut paths = server.asked();
        paths.retain(|path| path.contains("/manifests/"));
        paths.dedup();
        server.forget_requests();
        paths
    };
    let digest = format!("sha256:{}", "1".repeat(64));
    for name in [
        "example.invalid/a/b:1",
        &format!("example.invalid/a/b@{digest}"),
        "other.invalid/a/b:1",
        "example.invalid/ab:1",
    ] {
        case.command(["pull", "-q", "--retry=0", name]).run().fails(125);
        let ours = (asked(&case.one), asked(&case.two));
        let url = format!("docker://{name}");
        let line = ["--registries-conf", &case.conf, "inspect", "--raw", &url];
        assert_ne!(case.barge.other_command("skopeo", line).run().status, 0);
        let theirs = (asked(&case.one), asked(&case.two));
        assert_eq!(ours, theirs, "{name}");
        assert!(!ours.0.is_empty() || !ours.1.is_empty(), "{name}");
    }
}
