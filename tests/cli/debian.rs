//! Real root file systems and real applications: Debian, nginx, redis, Python, PostgreSQL.

use std::time::Duration;

use super::support::registry::{Registry, free_port};
use super::support::{Barge, Need, fixture, needs, wait_until};

#[test]
fn debian_runs_its_programs() {
    if !needs(&[Need::Debian]) {
        return;
    }
    let barge = Barge::new();
    let tar = fixture::debian();
    barge.run(["import", "-c", "CMD [\"bash\"]", &tar.to_string_lossy(), "debian"]).ok();
    let run = |line: &[&str]| {
        barge.run([&["run", "--rm", "--network=none", "debian"], line].concat()).ok().text()
    };
    assert!(run(&["apt-get", "--version"]).starts_with("apt "));
    assert_eq!(run(&["perl", "-e", "print join(',', map { $_ * $_ } 1..5)"]), "1,4,9,16,25");
    assert_eq!(run(&["bash", "-c", "echo ${BASH_VERSION%%.*}; id -un"]), "5\nroot");
    assert!(run(&["sh", "-c", "dpkg -l | grep -c '^ii'"]).parse::<u32>().unwrap() > 50);
    // A system's files have many owners and modes.
    assert_eq!(
        run(&["stat", "-c", "%U:%G %a", "/etc/shadow", "/usr/bin/passwd", "/tmp", "/var/mail"]),
        "root:shadow 640\nroot:root 4755\nroot:root 1777\nroot:mail 2775"
    );
    assert_eq!(run(&["su", "-s", "/bin/sh", "www-data", "-c", "id -un"]), "www-data");
    let mut terminal = barge
        .command(["run", "--rm", "-it", "--network=none", "--hostname", "deb", "debian"])
        .terminal();
    terminal.expect("root@deb:/# ");
    terminal.send("echo $((40+2)) > /file; cat /file\r");
    terminal.expect("42\r\n");
    terminal.send("tput cols; exit 9\r");
    terminal.expect("80\r\n");
    terminal.exits(9);
}

#[test]
fn debian_keeps_what_was_installed() {
    if !needs(&[Need::Debian]) {
        return;
    }
    let barge = Barge::new();
    let tar = fixture::debian();
    barge.run(["import", &tar.to_string_lossy(), "debian"]).ok();
    // Removing a directory of the image and making it anew is what package managers do.
    let script = "rm -rf /usr/share/doc && mkdir /usr/share/doc && echo new > /usr/share/doc/f && \
                  mv /etc/apt /etc/apt.old && ls /etc/apt.old | wc -l && chown -R www-data /var/lib/dpkg && \
                  stat -c %U /var/lib/dpkg/status";
    let line = ["run", "--network=none", "--name", "box", "debian", "sh", "-c", script];
    let lines = barge.run(line).ok().lines();
    assert_eq!(lines[1], "www-data");
    let id = barge.inspect("box", "{{.Id}}");
    barge.run(["start", "-a", &id]).exits(1);
    barge.run(["rm", "box"]).ok();
    barge
        .run([
            "run",
            "--rm",
            "--network=none",
            "debian",
            "stat",
            "-c",
            "%U",
            "/var/lib/dpkg/status",
        ])
        .ok()
        .stdout("root\n");
}

#[test]
fn nginx_and_redis_serve_from_a_pulled_image() {
    if !needs(&[Need::Debian]) {
        return;
    }
    let barge = Barge::new();
    let registry = Registry::with_web(barge.place());
    let image = registry.reference("web:1");
    let port = free_port(barge.place());
    let publish = format!("{port}:80");
    barge.run(["pull", "-q", &image]).ok();
    assert_eq!(barge.layers().len(), 5);
    let line = ["run", "-d", "--name", "web", "-p", &publish, &image];
    barge.run(line).ok();
    let url = format!("http://127.0.0.1:{port}/");
    let curl = || {
        let line = ["-sS", "-m", "10", &url];
        barge.other_command("curl", line).limit(Duration::from_secs(30)).run()
    };
    wait_until("nginx serves", || curl().status == 0);
    curl().ok().stdout("<html><body>served from a container</body></html>\n");
    wait_until("redis answers", || barge.run(["exec", "web", "redis-cli", "PING"]).status == 0);
    barge.run(["exec", "web", "redis-cli", "PING"]).ok().stdout("PONG\n");
    barge.run(["exec", "web", "redis-cli", "SET", "k", "v"]).ok().stdout("OK\n");
    barge.run(["exec", "web", "redis-cli", "GET", "k"]).ok().stdout("v\n");
    // The topmost layer removed a directory of the lowest.
    barge.run(["exec", "web", "ls", "/usr/share/doc"]).exits(2);
    // nginx's workers are another user; nginx stops on the signal that the image names.
    let users =
        "for p in /proc/[0-9]*; do grep -q nginx $p/comm && stat -c %U $p; done | sort -u | xargs";
    barge.run(["exec", "web", "sh", "-c", users]).ok().stdout("root www-data\n");
    barge.run(["stop", "web"]).ok();
    assert_eq!(barge.inspect("web", "{{.State.ExitCode}}"), "0");
    barge.run(["rm", "web"]).ok();
    barge.leaves_nothing();
    barge.run(["rmi", &image]).ok();
    assert!(barge.layers().is_empty());
}

#[test]
fn python_asks_a_database_of_a_pulled_image() {
    if !needs(&[Need::Debian]) {
        return;
    }
    let barge = Barge::new();
    let registry = Registry::with_database(barge.place());
    let image = registry.reference("database:1");
    barge.run(["pull", "-q", &image]).ok();
    assert_eq!(barge.layers().len(), 5);
    let python = ["run", "--rm", "--network=none", &image, "python3", "-c"];
    let script = "import json, sqlite3, ssl, sys, zlib; \
                  db = sqlite3.connect(':memory:'); \
                  print(json.dumps([sys.version_info[0], db.execute('SELECT 6 * 7').fetchone()[0]]))";
    barge.run([&python[..], &[script]].concat()).ok().stdout("[3, 42]\n");
    barge.run([&python[..], &["raise SystemExit(7)"]].concat()).exits(7);

    barge.run(["run", "-d", "--name", "db", "--network=none", &image]).ok();
    let psql = "exec /usr/lib/postgresql/*/bin/psql -h /tmp -U app -Atc 'SELECT 1' postgres";
    let answers = || barge.run(["exec", "db", "sh", "-c", psql]);
    wait_until("the database answers", || answers().status == 0);
    answers().ok().stdout("1\n");
    let ask = |word: &str| barge.run(["exec", "db", "python3", "/srv/ask.py", word]).ok().lines();
    assert_eq!(ask("first"), ["1 first a7937b64"]);
    // The database ends by itself on the signal that the image names, and finds all when it is back.
    barge.run(["stop", "db"]).ok();
    assert_eq!(barge.inspect("db", "{{.State.ExitCode}}"), "0");
    barge.run(["logs", "db"]).ok().stderr_has("database system is shut down");
    barge.run(["start", "db"]).ok();
    wait_until("the database answers", || answers().status == 0);
    let lines = ask("second");
    assert_eq!(lines[0], "1 first a7937b64");
    assert!(lines[1].ends_with("second 16367aac"), "{lines:?}");
    barge.run(["rm", "-f", "db"]).ok();
    barge.leaves_nothing();
}

#[test]
fn a_database_outlives_containers_and_stores() {
    if !needs(&[Need::Debian]) {
        return;
    }
    let barge = Barge::new();
    let registry = Registry::with_database(barge.place());
    let image = registry.reference("database:1");
    let run = |barge: &Barge, volume: &str| {
        barge.run(["run", "-d", "--name=db", "--network=none", "-v", volume, &image]).ok();
        let psql = "exec /usr/lib/postgresql/*/bin/psql -h /tmp -U app -Atc 'SELECT 1' postgres";
        let answers = || barge.run(["exec", "db", "sh", "-c", psql]).status == 0;
        wait_until("the database answers", answers);
    };
    let ask = |barge: &Barge, word: &str| -> Vec<String> {
        let lines = barge.run(["exec", "db", "python3", "/srv/ask.py", word]).ok().lines();
        lines.iter().filter_map(|line| line.split(' ').nth(1)).map(str::to_owned).collect()
    };
    barge.run(["pull", "-q", &image]).ok();
    run(&barge, "data:/tmp/data:U");
    assert_eq!(ask(&barge, "first"), ["first"]);
    barge.run(["stop", "db"]).ok();
    barge.run(["rm", "db"]).ok();
    run(&barge, "data:/tmp/data");
    assert_eq!(ask(&barge, "second"), ["first", "second"]);
    barge.run(["stop", "db"]).ok();
    let archive = barge.path_text("data.tar");
    barge.run(["volume", "export", "-o", &archive, "data"]).ok();
    let other = Barge::new();
    let saved = barge.path_text("image.tar");
    barge.run(["save", "-q", "-o", &saved, &image]).ok();
    other.run(["load", "-q", "-i", &saved]).ok();
    other.run(["volume", "create", "data"]).ok();
    other.run(["volume", "import", "data", &archive]).ok();
    run(&other, "data:/tmp/data");
    assert_eq!(ask(&other, "third"), ["first", "second", "third"]);
    other.run(["stop", "db"]).ok();
}
