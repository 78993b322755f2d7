//! Images by Docker's client, and by requests that it does not make.

use serde_json::json;

use crate::support::docker::DockerHost;
use crate::support::layout::digest;
use crate::support::registry::Registry;
use crate::support::{Barge, Need, needs};

#[test]
fn images_are_called_as_their_users_call_them() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    docker.docker(["tag", "busybox", "app:1"]).ok();
    docker.docker(["tag", "busybox", "user/app"]).ok();
    docker.docker(["tag", "busybox", "localhost:5000/a/b"]).ok();
    let format = "{{.Repository}}:{{.Tag}}";
    let mut names = docker.docker(["images", "--format", format]).ok().lines();
    names.sort();
    assert_eq!(names, ["app:1", "busybox:latest", "localhost:5000/a/b:latest", "user/app:latest"]);
    assert_eq!(
        docker.docker(["images", "-q", "-f", "reference=localhost:5000/a/*"]).ok().lines().len(),
        1
    );
    let inspected = docker.docker(["image", "inspect", "app:1"]).ok().json();
    let id = inspected[0]["Id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    assert!(inspected[0]["RepoTags"].as_array().unwrap().contains(&json!("busybox:latest")));
    // By its ID in any form, and by nothing else.
    for name in [&id, &id[7..], &id[7..19]] {
        let found = docker.docker(["image", "inspect", "-f", "{{.Id}}", name]).ok().text();
        assert_eq!(found, id, "{name}");
    }
    docker.docker(["image", "inspect", "nosuch"]).exits(1).stderr_has("No such image: nosuch");
    let rows = docker.get("/v1.45/images/json");
    let row = &rows[0];
    assert_eq!(row["Id"], json!(id));
    assert_eq!((&row["Containers"], &row["SharedSize"]), (&json!(-1), &json!(-1)));
    assert_eq!(row.get("VirtualSize"), None);
    assert_eq!(docker.get("/v1.41/images/json")[0]["VirtualSize"], row["Size"]);

    // Names go one by one, and with the last one the image.
    let line = docker.docker(["rmi", "app:1"]).ok().text();
    assert_eq!(line, "Untagged: app:1");
    docker.docker(["rmi", "user/app", "localhost:5000/a/b"]).ok();
    let gone = docker.docker(["rmi", "busybox"]).ok().lines();
    assert_eq!(gone[0], "Untagged: busybox:latest");
    assert!(gone.contains(&format!("Deleted: {id}")), "{gone:?}");
    docker.docker(["rmi", "busybox"]).exits(1).stderr_has("No such image: busybox");
    assert!(barge.layers().is_empty());
}

#[test]
fn an_image_in_use_stays() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    barge.run(["create", "--network=none", "--name=user", "busybox", "true"]).ok();
    docker.docker(["rmi", "busybox"]).exits(1);
    let answer = docker.ask("DELETE", "/images/busybox", "");
    assert_eq!(answer.status, 409, "{}", answer.message());
    // To Docker, force is no threat to containers.
    docker.docker(["rmi", "-f", "busybox"]).ok().stdout("Untagged: busybox:latest\n");
    assert_eq!(barge.status("user"), "created");
    barge.run(["start", "user"]).ok();
    let dangling = docker.docker(["images", "-q", "-f", "dangling=true"]).ok().lines();
    assert_eq!(dangling.len(), 1);
    docker.docker(["image", "prune", "-f"]).ok().stdout("Total reclaimed space: 0B\n");
    barge.run(["rm", "-f", "-t0", "user"]).ok();
    docker.docker(["image", "prune", "-f"]).ok().stdout_has("deleted: sha256:");
}

#[test]
fn docker_pulls_and_pushes() {
    let barge = Barge::new();
    let registry = Registry::start(barge.place());
    let target = Registry::empty(barge.place());
    let docker = DockerHost::start(&barge);
    let name = registry.reference("box:1");
    let pulled = docker.docker(["pull", &name]).exits(0).lines();
    let path =
        format!("1: Pulling from {}", name.split_once('/').unwrap().1.trim_end_matches(":1"));
    assert_eq!(pulled[0], path, "{pulled:?}");
    assert!(pulled.iter().any(|line| line.ends_with(": Pull complete")), "{pulled:?}");
    let end = [
        format!("Digest: {}", crate::support::fixture::box_digest()),
        format!("Status: Downloaded newer image for {name}"),
        name.clone(),
    ];
    assert_eq!(pulled[pulled.len() - 3..], end);
    docker
        .docker(["pull", &name])
        .exits(0)
        .stdout_has(&format!("Status: Image is up to date for {name}"));
    let missing = registry.reference("box:nosuch");
    docker.docker(["pull", &missing]).exits(1).stderr_has("manifest unknown");
    // What fails before anything was said is an answer with a status of its own.
    let query = missing.replace(":nosuch", "").replace('/', "%2F");
    let path = format!("/v1.41/images/create?fromImage={query}&tag=nosuch");
    assert_eq!(docker.ask("POST", &path, "").status, 404);

    let history = docker.docker(["history", "-q", "--no-trunc", &name]).ok().lines();
    assert!(history[0].starts_with("sha256:"), "{history:?}");
    assert!(history[1..].iter().all(|line| line == "<missing>"), "{history:?}");

    for tag in ["copy:1", "copy:2"] {
        docker.docker(["tag", &name, &target.reference(tag)]).ok();
    }
    let first = target.reference("copy:1");
    let pushed = docker.docker(["push", &first]).exits(0).text();
    assert!(pushed.starts_with("The push refers to repository ["), "{pushed}");
    assert!(pushed.contains(": Pushed") && pushed.contains("1: digest: sha256:"), "{pushed}");
    let again = docker.docker(["push", &first]).exits(0).text();
    assert!(again.contains(": Layer already exists"), "{again}");
    // All tags of a repository.
    let repository = first.trim_end_matches(":1").to_owned();
    docker.docker(["push", "-a", &repository]).exits(0).stdout_has("2: digest: sha256:");
    let raw = |name: &str| {
        let line = ["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")];
        barge.other_command("skopeo", line).run().ok().stdout.clone()
    };
    let (one, two) = (raw(&first), raw(&target.reference("copy:2")));
    assert_eq!(one, two);
    docker
        .docker(["push", &target.reference("copy:3")])
        .exits(1)
        .stderr_has("An image does not exist locally with the tag");

    // What a registry has, without a pull.
    let answer = docker.get(&format!("/v1.45/distribution/{}/json", target.reference("copy:2")));
    assert_eq!(answer["Descriptor"]["digest"], json!(digest(&two)));
    assert_eq!(answer["Descriptor"]["size"], json!(two.len()));
    assert_eq!(answer["Platforms"][0]["os"], json!("linux"));
    // All tags of a repository come as well.
    docker.docker(["rmi", &first, &target.reference("copy:2")]).exits(0);
    docker.docker(["pull", "-q", "-a", &repository]).exits(0);
    docker.docker(["image", "inspect", &target.reference("copy:2")]).exits(0);
}

#[test]
fn registries_are_found_and_trusted_as_the_machine_says() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::new();
    let given = barge.path("given");
    let registry = Registry::with_https(barge.place(), &given);
    let authority = given.join("ca.crt").display().to_string();
    let address = registry.reference("");
    let port = address.trim_end_matches('/').rsplit(':').next().unwrap();
    let hosts = barge.file("hosts", "127.0.0.1 registry.example\n");
    // Both are those of the service, not of the client.
    let pull = |script: &str| {
        let address = format!("unix://{}", barge.path_text("api.sock"));
        let place = [barge.program(), &barge.root(), &barge.runroot()];
        let [program, root, runroot] = place.map(|path| path.display().to_string());
        let words = ["-m", "sh", "-c", script, &program, "--root", &root, "--runroot", &runroot];
        let words = [&words[..], &["system", "service", "--time=0", &address]].concat();
        let command = barge.other_command("unshare", words);
        let command = command.env("SSL_CERT_FILE", &authority).env("HOSTS", &hosts);
        let docker = DockerHost::start_by(&barge, command);
        let path = format!("/images/create?fromImage=registry.example:{port}%2Fbox&tag=1");
        // user:secret
        let field = "X-Registry-Auth: eyJ1c2VybmFtZSI6InVzZXIiLCJwYXNzd29yZCI6InNlY3JldCJ9\r\n";
        let answer = docker.send("POST", &path, field, b"");
        String::from_utf8_lossy(&answer.body).into_owned()
    };
    let told = pull("exec \"$0\" \"$@\"");
    assert!(told.contains("registry.example") && !told.contains("Downloaded"), "{told}");
    let mounted = "mount --bind \"$HOSTS\" /etc/hosts &&";
    let told = pull(&format!("{mounted} unset SSL_CERT_FILE && exec \"$0\" \"$@\""));
    assert!(told.contains("certificate"), "{told}");
    let told = pull(&format!("{mounted} exec \"$0\" \"$@\""));
    assert!(told.contains("Downloaded newer image"), "{told}");
}

#[test]
fn docker_logs_in_with_its_own_credentials() {
    let barge = Barge::new();
    let registry = Registry::with_password(barge.place());
    let docker = DockerHost::start(&barge);
    let name = registry.reference("box:1");
    let host = name.split('/').next().unwrap().to_owned();
    docker.docker(["pull", "-q", &name]).exits(1);
    let login = |password: &str| {
        let line = ["login", "-u", "user", "--password-stdin", &host];
        docker.docker_command(line).input(password).run()
    };
    login("wrong").exits(1);
    docker.docker(["pull", "-q", &name]).exits(1);
    login("secret").exits(0).stdout_has("Login Succeeded");
    docker.docker(["pull", "-q", &name]).exits(0);
    // They are the client's, and stay with it.
    barge.run(["pull", "-q", &name]).exits(125);
    let file = std::fs::read_to_string(barge.path("docker/config.json")).unwrap();
    assert!(file.contains("auths"), "{file}");
    let answer = docker.send(
        "POST",
        &format!("/images/create?fromImage={name}"),
        "X-Registry-Auth: %%%\r\n",
        b"",
    );
    assert_eq!(answer.status, 400);
    // A build uses them, too.
    std::fs::create_dir(barge.path("b")).unwrap();
    barge.run(["rmi", &name]).exits(0);
    barge.file("b/Dockerfile", format!("FROM {name}\nLABEL a=b\n"));
    docker.docker(["build", "-q", &barge.path_text("b")]).exits(0);
}

#[test]
fn archives_come_and_go() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    docker.docker(["tag", "busybox", "app:2"]).ok();
    let file = barge.path_text("saved.tar");
    docker.docker(["save", "-o", &file, "busybox", "app:2"]).ok();
    let id = docker.docker(["images", "-q", "--no-trunc", "app:2"]).ok().text();
    docker.docker(["rmi", "busybox", "app:2"]).exits(0);
    let loaded = docker.docker(["load", "-i", &file]).exits(0).text();
    assert!(loaded.contains("Loaded image: app:2"), "{loaded}");
    assert!(loaded.contains("Loaded image: busybox:latest"), "{loaded}");
    assert_eq!(docker.docker(["images", "-q", "--no-trunc", "app:2"]).ok().text(), id);
    docker.docker(["save", "nosuch"]).exits(1).stderr_has("No such image: nosuch");
    docker.docker_command(["load"]).input("no archive").run().exits(1);

    // By its ID it has no name.
    docker.docker(["save", "-o", &file, &id]).ok();
    docker.docker(["rmi", "busybox", "app:2"]).exits(0);
    docker.docker(["load", "-q", "-i", &file]).exits(0).stdout_has("Loaded image ID: sha256:");

    let tar = crate::support::fixture::busybox_tar();
    let line = ["import", "-c", "CMD [\"true\"]", "-m", "a note", "-", "made:1"];
    let made = docker.docker_command(line).input(tar).run().ok().text();
    assert!(made.starts_with("sha256:"), "{made}");
    let inspected = docker.docker(["inspect", "made:1"]).ok().json();
    assert_eq!(inspected[0]["Id"], json!(made));
    assert_eq!(inspected[0]["Config"]["Cmd"], json!(["true"]));
    assert_eq!(inspected[0]["Comment"], json!("a note"));
}

#[test]
fn a_container_becomes_an_image() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    barge.start(["--name=box", "busybox", "sh", "-c", "echo new > /file; sleep 1000"]);
    barge.run(["exec", "box", "sh", "-c", "until [ -s /file ]; do :; done"]).ok();
    let line = [
        "commit",
        "-m",
        "note",
        "-a",
        "me",
        "-c",
        "ENV A=1",
        "-c",
        "CMD [\"cat\",\"/file\"]",
        "box",
        "made",
    ];
    let id = docker.docker(line).ok().text();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    let inspected = docker.docker(["inspect", "made"]).ok().json();
    assert_eq!((&inspected[0]["Author"], &inspected[0]["Comment"]), (&json!("me"), &json!("note")));
    assert!(inspected[0]["Config"]["Env"].as_array().unwrap().contains(&json!("A=1")));
    barge.run(["run", "--rm", "--network=none", "docker.io/library/made"]).ok().stdout("new\n");
    // A configuration in the body says what changes.
    let body = r#"{"Cmd":["echo","body"],"Hostname":"x","Labels":null}"#;
    let answer = docker.ask("POST", "/v1.41/commit?container=box&repo=other&tag=1", body);
    assert_eq!(answer.status, 201);
    barge.run(["run", "--rm", "--network=none", "docker.io/library/other:1"]).ok().stdout("body\n");
    assert_eq!(docker.ask("POST", "/commit?container=nosuch", "").status, 404);
    assert_eq!(docker.ask("POST", "/commit", "").status, 400);
}

#[test]
fn space_is_counted_and_pruned() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    barge.run(["create", "--network=none", "-v", "data:/d", "--name=user", "busybox", "true"]).ok();
    barge.run(["volume", "create", "other"]).ok();
    let lines = docker.docker(["system", "df"]).ok().lines();
    let row = |kind: &str| {
        let line = lines.iter().find(|line| line.starts_with(kind)).unwrap();
        line[kind.len()..].split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("Images"), ["1", "1"]);
    assert_eq!(row("Containers"), ["1", "0"]);
    assert_eq!(row("Local Volumes"), ["2", "1"]);
    docker.docker(["system", "df", "-v"]).ok().stdout_has("busybox");
    let old = docker.get("/v1.45/system/df");
    assert_eq!(old["Volumes"].as_array().unwrap().len(), 2);
    assert_eq!(old["Images"][0]["Containers"], json!(1));
    assert_eq!(docker.get("/v1.45/system/df?type=volume")["Images"], json!(null));
    let new = docker.get("/v1.52/system/df?verbose=1");
    assert_eq!(new["VolumeUsage"]["TotalCount"], json!(2));
    assert_eq!(new["ImageUsage"]["Items"][0]["RepoTags"], json!(["busybox:latest"]));
    assert_eq!(docker.get("/v1.52/system/df")["ImageUsage"].get("Items"), None);
    docker.docker(["system", "prune", "-af", "--volumes"]).exits(0);
    assert!(docker.docker(["images", "-q"]).ok().text().is_empty());
    // A client this old cannot tell volumes with names from others.
    assert!(docker.docker(["volume", "ls", "-q"]).ok().text().is_empty());
}
