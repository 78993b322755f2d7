//! Debian's docker-compose on projects like those that people have.

use std::fs;

use crate::support::docker::DockerHost;
use crate::support::output::Output;
use crate::support::registry::{Registry, free_port};
use crate::support::{Barge, Need, needs, wait_until};

/// A client that knows of more than files.
const LATER: &str = "/var/cache/barge-tests/sid/docker-compose";

/// A project of docker-compose.
struct Project<'a> {
    docker: &'a DockerHost<'a>,
    directory: String,
}

impl<'a> Project<'a> {
    fn new(barge: &Barge, docker: &'a DockerHost<'a>, file: &str) -> Self {
        fs::create_dir_all(barge.path("project")).unwrap();
        barge.file("project/docker-compose.yml", file);
        Self { docker, directory: barge.path_text("project") }
    }

    fn compose(&self, words: &[&str]) -> Output {
        let file = format!("{}/docker-compose.yml", self.directory);
        let line = ["--no-ansi", "--project-directory", &self.directory, "-f", &file];
        let line = [&line, words].concat();
        self.docker.client("docker-compose", line).run()
    }

    /// Takes everything away, and sees that nothing is left.
    fn down(&self, flags: &[&str]) {
        self.compose(&[&["down", "-t", "1"], flags].concat()).exits(0);
        let left = self.docker.docker(["ps", "-aq"]).ok().text();
        assert!(left.is_empty(), "{left}");
        let networks = self.docker.docker(["network", "ls", "-q", "-f", "type=custom"]).ok().text();
        assert!(networks.is_empty(), "{networks}");
    }
}

fn ready() -> bool {
    needs(&[Need::Root, Need::Tool("docker-compose")])
}

#[test]
fn web_database_and_cache() {
    if !ready() || !needs(&[Need::Debian]) {
        return;
    }
    let barge = Barge::new();
    let (web, database) =
        (Registry::with_web(barge.place()), Registry::with_database(barge.place()));
    let port = free_port(barge.place());
    let docker = DockerHost::start(&barge);
    let project = Project::new(
        &barge,
        &docker,
        &format!(
            r#"
version: "3.8"
services:
  web:
    image: {web}
    ports: ["{port}:80"]
    depends_on: [db, cache]
    networks: [front, back]
  cache:
    image: {web}
    command: ["redis-server", "--protected-mode", "no"]
    networks: [back]
  db:
    image: {database}
    volumes: ["data:/srv/data"]
    networks:
      back:
        aliases: [database]
networks:
  front: {{}}
  back: {{internal: true}}
volumes:
  data: {{}}
"#,
            web = web.reference("web:1"),
            database = database.reference("database:1"),
        ),
    );
    project.compose(&["up", "-d"]).exits(0);
    let url = format!("http://127.0.0.1:{port}/");
    let curl = || barge.other_command("curl", ["-sS", "-m", "10", &url]).run();
    wait_until("nginx serves", || curl().status == 0);
    curl().ok().stdout("<html><body>served from a container</body></html>\n");
    let ping = ["exec", "-T", "web", "redis-cli", "-h", "cache", "PING"];
    wait_until("the cache answers", || project.compose(&ping).text() == "PONG");
    let psql = "exec /usr/lib/postgresql/*/bin/psql -h /tmp -U app -Atc 'SELECT 1' postgres";
    let ask = ["exec", "-T", "db", "sh", "-c", psql];
    wait_until("the database answers", || project.compose(&ask).text() == "1");
    project.compose(&["exec", "-T", "web", "getent", "hosts", "database"]).exits(0);
    let shown = project.compose(&["ps"]).exits(0).text();
    for name in ["project_web_1", "project_db_1", "project_cache_1"] {
        assert!(shown.contains(name), "{shown}");
    }
    assert!(shown.contains(&format!("0.0.0.0:{port}->80/tcp")), "{shown}");
    project.compose(&["port", "web", "80"]).exits(0).stdout(&format!("0.0.0.0:{port}\n"));
    project.compose(&["logs", "db"]).exits(0).stdout_has("ready to accept connections");
    project.compose(&["stop", "-t", "5"]).exits(0);
    project.compose(&["start"]).exits(0);
    wait_until("nginx serves again", || curl().status == 0);
    // What is there and unchanged stays.
    let before = docker.docker(["ps", "-q", "--no-trunc"]).ok().lines();
    project.compose(&["up", "-d"]).exits(0);
    assert_eq!(docker.docker(["ps", "-q", "--no-trunc"]).ok().lines(), before);
    docker.docker(["volume", "inspect", "project_data"]).ok();
    project.down(&["-v"]);
    docker.docker(["volume", "inspect", "project_data"]).exits(1);
}

#[test]
fn builds_what_it_runs() {
    if !ready() {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    fs::create_dir_all(barge.path("project/app")).unwrap();
    barge.file(
        "project/app/Dockerfile",
        "FROM busybox\nARG WORD\nRUN echo built $WORD > /word\nCOPY file /file\nCMD [\"sh\", \"-c\", \"cat /word /file; echo $MODE\"]\n",
    );
    barge.file("project/app/file", "copied\n");
    barge.file("project/app.env", "MODE=tests\n");
    let project = Project::new(
        &barge,
        &docker,
        r#"
version: "3.8"
services:
  app:
    build:
      context: ./app
      args: {WORD: one}
    env_file: app.env
  named:
    build: ./app
    image: named:1
    entrypoint: ["echo", "entry"]
    command: ["point"]
"#,
    );
    project.compose(&["build"]).exits(0);
    let output = project.compose(&["up", "--no-color"]).exits(0).text();
    for line in ["built one", "copied", "tests", "entry point"] {
        assert!(output.contains(line), "{line}: {output}");
    }
    // It may leave before it has shown how they ended: when it heard of the end of the last, and then
    // nothing more for a tenth of a second.
    let ended = ["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}"];
    let both = ["project_app_1", "project_named_1"];
    docker.docker([&ended[..], &both].concat()).exits(0).stdout("exited 0\nexited 0\n");
    docker.docker(["image", "inspect", "project_app", "named:1"]).exits(0);
    project.compose(&["run", "--rm", "app", "echo", "once"]).exits(0).stdout_has("once");
    project.compose(&["run", "--rm", "app", "sh", "-c", "exit 7"]).exits(7);
    project.down(&["--rmi", "all"]);
    docker.docker(["image", "inspect", "named:1"]).exits(1);
}

#[test]
fn waits_for_health_and_knows_profiles() {
    if !ready() {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let project = Project::new(
        &barge,
        &docker,
        r#"
services:
  slow:
    image: busybox
    command: ["sh", "-c", "touch /started; sleep 1000"]
    healthcheck:
      test: ["CMD", "test", "-e", "/started"]
      interval: 500ms
      timeout: 5s
      retries: 20
  user:
    image: busybox
    command: ["sh", "-c", "echo slow is healthy; sleep 1000"]
    depends_on:
      slow: {condition: service_healthy}
  tool:
    image: busybox
    profiles: [debug]
    command: ["sleep", "1000"]
"#,
    );
    project.compose(&["up", "-d"]).exits(0);
    let health = docker.docker(["inspect", "-f", "{{.State.Health.Status}}", "project_slow_1"]);
    health.ok().stdout("healthy\n");
    wait_until("the user has started", || {
        project.compose(&["logs", "user"]).text().contains("slow is healthy")
    });
    let shown = project.compose(&["ps"]).exits(0).text();
    assert!(shown.contains("Up (healthy)"), "{shown}");
    assert!(!shown.contains("tool"), "{shown}");
    project.compose(&["--profile", "debug", "up", "-d"]).exits(0);
    assert!(project.compose(&["ps"]).exits(0).text().contains("project_tool_1"));
    project.compose(&["--profile", "debug", "down", "-t", "1"]).exits(0);
    project.down(&[]);
}

#[test]
fn scales_and_finds_ports() {
    if !ready() {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let project = Project::new(
        &barge,
        &docker,
        r#"
version: "3.8"
services:
  worker:
    image: busybox
    command: ["sh", "-c", "mkdir /w; hostname > /w/index.html; exec httpd -f -p 8080 -h /w"]
    expose: ["8080"]
    ports: ["8080"]
    stop_grace_period: 1s
  client:
    image: busybox
    command: ["sleep", "1000"]
    stop_grace_period: 1s
"#,
    );
    project.compose(&["up", "-d", "--scale", "worker=3"]).exits(0);
    let workers = || {
        let line = ["ps", "-q", "-f", "label=com.docker.compose.service=worker"];
        docker.docker(line).ok().lines().len()
    };
    assert_eq!(workers(), 3);
    let mut ports = Vec::new();
    for index in ["1", "2", "3"] {
        let port = project.compose(&["port", "--index", index, "worker", "8080"]).exits(0).text();
        let url = format!("http://127.0.0.1:{}/", port.rsplit(':').next().unwrap());
        let curl = || barge.other_command("curl", ["-sS", "-m", "10", &url]).run();
        wait_until("the worker serves", || curl().status == 0);
        ports.push(port);
    }
    ports.dedup();
    assert_eq!(ports.len(), 3);
    // By the name of the service, and by that of the container.
    for name in ["worker", "project_worker_2"] {
        let url = format!("http://{name}:8080/");
        project.compose(&["exec", "-T", "client", "wget", "-qO-", &url]).exits(0);
    }
    project.compose(&["up", "-d", "--scale", "worker=1"]).exits(0);
    assert_eq!(workers(), 1);
    project.compose(&["kill", "-s", "KILL", "worker"]).exits(0);
    wait_until("the worker is dead", || workers() == 0);
    project.compose(&["restart", "-t", "1", "client"]).exits(0);
    project.compose(&["top", "client"]).exits(0).stdout_has("sleep 1000");
    project.compose(&["pause", "client"]).exits(0);
    assert!(project.compose(&["ps"]).exits(0).text().contains("Paused"));
    project.compose(&["unpause", "client"]).exits(0);
    project.down(&[]);
}

#[test]
fn secrets_hosts_and_restarts() {
    if !ready() {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    barge.file("word", "quiet\n");
    fs::create_dir_all(barge.path("project")).unwrap();
    barge.file("project/setting", "configured\n");
    let project = Project::new(
        &barge,
        &docker,
        &r#"
version: "3.8"
services:
  app:
    image: busybox
    command:
      - sh
      - -c
      - "cat /run/secrets/word /setting; grep -c 10.1.2.3 /etc/hosts; hostname; ulimit -n; cat /proc/sys/net/core/somaxconn; sleep 1000"
    hostname: named
    extra_hosts: ["elsewhere:10.1.2.3"]
    secrets: [word]
    sysctls: {net.core.somaxconn: 321}
    ulimits: {nofile: {soft: 123, hard: 456}}
    volumes: ["./setting:/setting:ro"]
    tmpfs: [/scratch]
    labels: {tier: app}
    cap_drop: [NET_RAW]
    read_only: true
    init: true
    logging: {driver: json-file, options: {max-size: "1m"}}
    stop_grace_period: 1s
  again:
    image: busybox
    command: ["sh", "-c", "echo once more; exit 3"]
    restart: on-failure
secrets:
  word: {file: WORD}
"#
        .replace("WORD}", &format!("{}}}", barge.path_text("word"))),
    );
    project.compose(&["up", "-d"]).exits(0);
    wait_until("the app has said all", || {
        project.compose(&["logs", "--no-color", "app"]).text().contains("321")
    });
    let output = project.compose(&["logs", "--no-color", "app"]).exits(0).text();
    let said = |text: &str| output.lines().any(|line| line.ends_with(&format!("| {text}")));
    for text in ["quiet", "configured", "1", "named", "123", "321"] {
        assert!(said(text), "{text}: {output}");
    }
    project.compose(&["exec", "-T", "app", "touch", "/file"]).exits(1);
    project.compose(&["exec", "-T", "app", "touch", "/scratch/file"]).exits(0);
    let restarts =
        || docker.docker(["inspect", "-f", "{{.RestartCount}}", "project_again_1"]).text();
    wait_until("it is started again", || restarts().parse::<u32>().is_ok_and(|count| count > 1));
    let network = docker.docker(["network", "inspect", "project_default"]).ok().json();
    let names: Vec<_> = network[0]["Containers"]
        .as_object()
        .unwrap()
        .values()
        .map(|place| place["Name"].as_str().unwrap().to_owned())
        .collect();
    assert!(names.contains(&"project_app_1".to_owned()), "{names:?}");
    project.down(&[]);
}

#[test]
fn configs_are_files_whatever_they_are_made_of() {
    if !needs(&[Need::Tool(LATER)]) {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    barge.file("file.conf", "of a file\n");
    let file = barge.file(
        "compose.yaml",
        r#"
services:
  app:
    image: busybox
    user: "1000"
    network_mode: none
    command: ["sh", "-c", "cat /filed /inline /etc/varied; stat -c ' %a %u' /inline; cat /run/secrets/word; echo; sleep 1000"]
    configs:
      - filed
      - {source: inline, target: /inline, mode: 0440, uid: "1000"}
      - {source: varied, target: /etc/varied}
    secrets: [word]
configs:
  filed: {file: ./file.conf}
  inline: {content: "for ${WHO}\n"}
  varied: {environment: WHO}
secrets:
  word: {environment: WORD}
"#,
    );
    let compose = |words: &[&str]| {
        let line = [&["-p", "p", "-f", &file], words].concat();
        docker.client(LATER, line).env("WHO", "you").env("WORD", "quiet").run().exits(0)
    };
    compose(&["up", "-d"]);
    let said = || compose(&["logs", "--no-color", "--no-log-prefix", "app"]).text();
    wait_until("the app has said all", || said().contains("quiet"));
    assert_eq!(said(), "of a file\nfor you\nyou 440 1000\nquiet");
    compose(&["down", "-t", "0"]);
    assert!(docker.docker(["ps", "-aq"]).ok().text().is_empty());
}
