//! `barge search`: a real registry's catalog, and a scripted search as Docker Hub has one.

use std::fs;

use serde_json::json;

use super::support::Barge;
use super::support::http::{Http, reply};
use super::support::registry::Registry;

#[test]
fn search_goes_through_the_catalog() {
    let barge = Barge::new();
    let (from, to) = (Registry::start(barge.place()), Registry::empty(barge.place()));
    let name = from.reference("box:1");
    barge.run(["pull", "-q", &name]).exits(0);
    for target in ["box:a", "team/box:1", "team/box:2", "other/thing:1"] {
        barge.run(["push", "-q", &name, &to.reference(target)]).exits(0);
    }
    let host = to.reference("");
    let host = host.trim_end_matches('/');
    let width = host.len() + "/other/thing".len() + 2;
    let table = |names: &[&str]| {
        let mut text = format!("{:width$}DESCRIPTION\n", "NAME");
        for name in names {
            text += &format!("{:width$}\n", format!("{host}/{name}"));
        }
        text
    };
    let all = barge.run(["search", &format!("{host}/")]).ok();
    all.stdout(&table(&["box", "other/thing", "team/box"]));
    let names = |line: &[&str]| {
        let line = [&["search", "--format", "{{.Name}}"], line].concat();
        barge.run(line).ok().lines()
    };
    let term = format!("{host}/box");
    assert_eq!(names(&[&term]), [format!("{host}/box"), format!("{host}/team/box")]);
    assert_eq!(names(&["--limit", "1", &term]).len(), 1);
    assert!(names(&["--filter", "stars=1", &term]).is_empty());
    let document = barge.run(["search", "--format", "json", &format!("{host}/thing")]).ok().json();
    let want = json!([{
        "Index": host,
        "Name": format!("{host}/other/thing"),
        "Description": "",
        "Stars": 0,
        "Official": "",
        "Automated": "",
        "Tag": "",
    }]);
    assert_eq!(document, want);
    barge.run(["search", &format!("{host}/nosuch")]).ok().stdout("").stderr("");

    let repository = format!("{host}/team/box");
    let mut tags = barge.run(["search", "--list-tags", &repository]).ok().lines();
    assert_eq!(tags.remove(0), format!("{:1$}TAG", "NAME", repository.len() + 2));
    tags.sort();
    assert_eq!(tags, [format!("{repository}  1"), format!("{repository}  2")]);
    let line = ["search", "--list-tags", "--limit", "1", "--format", "json", &repository];
    let document = barge.run(line).ok().json();
    assert_eq!(document[0]["Name"], repository);
    assert_eq!(document[0]["Tags"].as_array().unwrap().len(), 1);
    barge.run(["search", "--list-tags", &format!("{host}/none")]).fails(125).error_has("none");
    barge
        .run(["search", "--list-tags", "--filter", "stars=1", &repository])
        .fails(125)
        .error("filters are not applicable to list tags result");
}

#[test]
fn search_asks_a_registry_that_wants_a_password() {
    let barge = Barge::new();
    let registry = Registry::with_password(barge.place());
    let host = registry.reference("");
    barge.run(["search", &host]).fails(125).error_has("authentication required");
    let found = barge.run(["search", "--creds", "user:secret", &host]).ok();
    found.stdout_has("/box");
}

#[test]
fn search_shows_what_a_search_finds() {
    let barge = Barge::new();
    let server = Http::start(barge.place(), |request| {
        let long = "x".repeat(60);
        match request.path.as_str() {
            "/v1/search?q=web&n=25" => reply(
                200,
                json!({ "results": [
                    {
                        "name": "web",
                        "description": "first\u{1b}[2J\nline",
                        "star_count": 70,
                        "is_official": true,
                    },
                    { "name": "a/web", "description": long, "star_count": 3, "is_automated": true },
                    { "name": "b/web", "description": "" },
                ]})
                .to_string(),
            ),
            "/v2/" => reply(200, "{}"),
            _ => reply(404, "no"),
        }
    });
    let host = server.address();
    fs::create_dir_all(barge.path("h/.config/containers")).unwrap();
    let text = format!("unqualified-search-registries = [\"{host}\"]\n");
    barge.file("h/.config/containers/registries.conf", text);
    let template = "{{.Index}} {{.Name}} {{.Stars}} {{.Official}} {{.Automated}} {{.Description}}";
    barge.run(["search", "--format", template, "web"]).ok().stdout(&format!(
        "{host} {host}/web 70 [OK]  first [2J line\n\
         {host} {host}/a/web 3  [OK] {}...\n\
         {host} {host}/b/web 0   \n",
        "x".repeat(44)
    ));
    barge.run(["search", "--no-trunc", "web"]).ok().stdout_has(&"x".repeat(60));
    let heading = barge.run(["search", "--compatible", "web"]).ok().lines().remove(0);
    let words: Vec<&str> = heading.split_whitespace().collect();
    assert_eq!(words, ["NAME", "DESCRIPTION", "STARS", "OFFICIAL", "AUTOMATED"]);
    for (filter, want) in [
        ("stars=3", &["web", "a/web"][..]),
        ("is-official", &["web"]),
        ("is-official=false", &["a/web", "b/web"]),
        ("is-automated=true", &["a/web"]),
        ("stars=1,is-automated=false", &["web"]),
    ] {
        let line = ["search", "--format", "{{.Name}}", "--filter", filter, "web"];
        let want: Vec<String> = want.iter().map(|name| format!("{host}/{name}")).collect();
        assert_eq!(barge.run(line).ok().lines(), want, "{filter}");
    }
    for (filter, error) in [
        ("bogus", "invalid filter type \"bogus\""),
        ("stars=x", "invalid value `x` of filter stars"),
        ("is-official=maybe", "invalid value `maybe` of filter is-official"),
    ] {
        barge.run(["search", "--filter", filter, "web"]).fails(125).error(error);
    }
    // One registry that cannot be asked does not hide what another has.
    let port = super::support::registry::free_port(barge.place());
    let text = format!("unqualified-search-registries = [\"127.0.0.1:{port}\", \"{host}\"]\n");
    barge.file("h/.config/containers/registries.conf", text);
    let output = barge.run(["search", "--format", "{{.Name}}", "--limit", "25", "web"]).exits(0);
    assert_eq!(output.lines().len(), 3);
    assert!(output.errors().contains("Warning: cannot search registry"), "{}", output.errors());
    drop(server);
    barge.run(["search", "web"]).fails(125).error_has("cannot search registry");
}
