//! Networks with real programs on them: nginx, redis, PostgreSQL, Python, curl and dig; and containers that
//! die in all ways.

use std::net::TcpListener;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::support::leaks::{entries, processes};
use super::support::place::Place;
use super::support::registry::{Registry, free_port};
use super::support::{Barge, Need, eventually, is_root, needs, tool, wait_until};

/// How many containers die.
const CONTAINERS: u32 = 24;

/// A service that counts its visitors in redis and has its text from a database.
const SERVICE: &str = "
import http.server, psycopg2, socket
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with psycopg2.connect(host='db', user='app', dbname='postgres') as db:
            at = db.cursor()
            at.execute(\"SELECT 'from ' || current_database()\")
            text = at.fetchone()[0]
        with socket.create_connection(('store', 6379)) as cache:
            cache.sendall(b'INCR visitors\\r\\n')
            count = cache.makefile().readline().strip(':\\r\\n')
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f'{text} to visitor {count}\\n'.encode())
http.server.HTTPServer(('', 8000), Page).serve_forever()
";

/// nginx before that.
const PROXY: &str = "echo 'server { listen 80; location / { proxy_pass http://service:8000; } }' \
                     > /etc/nginx/conf.d/page.conf; exec nginx -g 'daemon off;'";

/// A database that takes those on its network.
const DATABASE: &str = "bin=$(echo /usr/lib/postgresql/*/bin); \
                        [ -e $PGDATA ] || $bin/initdb --username=app --auth=trust --no-sync; \
                        echo 'host all all samenet trust' >> $PGDATA/pg_hba.conf; \
                        exec $bin/postgres -k /tmp -c listen_addresses='*'";

#[test]
fn real_programs_find_each_other_by_name() {
    if !needs(&[Need::Debian, Need::Tool("dig")]) {
        return;
    }
    let barge = Barge::new();
    let registry = Registry::with_web(barge.place());
    let image = registry.reference("web:1");
    barge.run(["pull", "-q", &image]).ok();
    for name in ["front", "back"] {
        barge.run(["network", "create", name]).ok();
    }
    let line = ["run", "-d", "--name", "web", "--network", "front", "--network", "back", &image];
    barge.run(line).exits(0);
    let redis = ["redis-server", "--save", "", "--bind", "0.0.0.0", "--protected-mode", "no"];
    let line = ["run", "-d", "--name", "cache", "--network", "back:alias=store", &image];
    barge.run([&line[..], &redis].concat()).exits(0);
    let ask = |network: &str, command: &[&str]| {
        // This machine's programs.
        let line = ["run", "--rm", "--network", network, "builtin/host"];
        barge.run([&line[..], command].concat())
    };
    let curl = ["curl", "-sS", "-m", "10", "http://web/"];
    wait_until("nginx serves", || ask("front", &curl).status == 0);
    ask("front", &curl).exits(0).stdout("<html><body>served from a container</body></html>\n");
    let ping = ["exec", "web", "redis-cli", "-h", "store", "PING"];
    wait_until("redis answers", || barge.run(ping).status == 0);
    barge.run(["exec", "web", "redis-cli", "-h", "cache", "SET", "k", "v"]).ok().stdout("OK\n");
    barge.run(["exec", "web", "redis-cli", "-h", "store", "GET", "k"]).ok().stdout("v\n");
    let address = barge.inspect("cache", "{{.NetworkSettings.Networks.back.IPAddress}}");
    for flags in [&["+short"][..], &["+short", "+tcp"]] {
        let short = |name: &str| {
            let line = [&["dig", "+time=5"], flags, &[name, "A"]].concat();
            ask("back", &line).exits(0).text()
        };
        assert_eq!(short("cache"), address);
        assert_eq!(short("store"), address);
    }
    let reverse = ask("back", &["dig", "+short", "-x", &address]).exits(0).text();
    assert!(reverse.lines().any(|line| line == "cache."), "{reverse}");
    // Who is on one network knows nothing of the other.
    let status = ask("front", &["dig", "+time=2", "+tries=1", "cache.dns.podman"]).text();
    assert!(status.contains("status: NXDOMAIN"), "{status}");
    assert_ne!(
        ask("front", &["curl", "-sS", "-m", "3", &format!("http://{address}:6379/")]).status,
        0
    );
    barge.run(["rm", "-f", "-t", "0", "-a"]).exits(0);
    barge.leaves_nothing();
}

#[test]
fn a_proxy_a_service_a_cache_and_a_database_find_each_other_by_name() {
    if !needs(&[Need::Debian]) {
        return;
    }
    let barge = Barge::new();
    let registries = [Registry::with_web(barge.place()), Registry::with_database(barge.place())];
    let [web, database] = [registries[0].reference("web:1"), registries[1].reference("database:1")];
    for image in [&web, &database] {
        barge.run(["pull", "-q", image]).ok();
    }
    barge.run(["network", "create", "n"]).ok();
    let run = |name: &str, flags: &[&str], image: &str, command: &[&str]| {
        let line = ["run", "-d", "--name", name, "--hostname", name, "--network"];
        barge.run([&line[..], flags, &[image], command].concat()).exits(0);
    };
    let redis = ["redis-server", "--save", "", "--bind", "0.0.0.0", "--protected-mode", "no"];
    run("cache", &["n:alias=store"], &web, &redis);
    run("db", &["n"], &database, &["sh", "-ec", DATABASE]);
    run("service", &["n"], &database, &["python3", "-c", SERVICE]);
    let port = free_port(barge.place());
    let publish = format!("{port}:80");
    run("proxy", &["n", "-p", &publish], &web, &["sh", "-ec", PROXY]);
    let url = format!("http://127.0.0.1:{port}/");
    let mut visitor = 0;
    let mut serves = |what: &str| {
        let line = ["-fsS", "-m", "10", &url];
        let ask = || barge.other_command("curl", line).limit(Duration::from_secs(30)).run();
        let mut page = String::new();
        wait_until(what, || {
            let output = ask();
            page = output.text();
            output.status == 0
        });
        visitor += 1;
        assert_eq!(page, format!("from postgres to visitor {visitor}"));
    };
    serves("all of them answer");
    let psql = "exec /usr/lib/postgresql/*/bin/psql -h db -U app -Atc 'SELECT 1' postgres";
    // Not from a container that ends at once: the kernel keeps the namespace of a server for a while that
    // says good-bye to somebody who is gone.
    barge.run(["exec", "service", "sh", "-c", psql]).exits(0).stdout("1\n");
    // Whoever has a new address is found there.
    let template = "{{.NetworkSettings.Networks.n.IPAddress}}";
    let before = barge.inspect("db", template);
    barge.run(["restart", "db"]).exits(0);
    assert_ne!(barge.inspect("db", template), before);
    serves("the database answers again");
    barge.run(["rm", "-f", "-t", "0", "-a"]).exits(0);
    barge.leaves_nothing();
    barge.run(["network", "rm", "n"]).ok();
}

/// Ways to die.
#[derive(Clone, Copy)]
enum End {
    KillMonitor,
    KillProcess,
    Remove,
    Stop,
    Restart,
    Itself,
}

#[test]
fn containers_that_die_in_any_way_leave_no_network_behind() {
    let barge = Barge::with_busybox();
    barge.kills();
    for (name, subnet) in [("a", "10.71.0.0/24"), ("b", "10.72.0.0/24")] {
        barge.run(["network", "create", "--subnet", subnet, name]).ok();
    }
    // A fixed sequence of numbers that looks like chance.
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) % below
    };
    let ends =
        [End::KillMonitor, End::KillProcess, End::Remove, End::Stop, End::Restart, End::Itself];
    let mut starting = Vec::new();
    for number in 0..CONTAINERS {
        let end = ends[next(ends.len() as u64) as usize];
        let name = format!("box{number}");
        let networks: &[&str] = match next(3) {
            0 => &["--network", "a"],
            1 => &["--network", "b"],
            _ => &["--network", "a", "--network", "b"],
        };
        let rest: &[&str] = match (end, next(2)) {
            (End::Itself, _) => &["busybox", "true"],
            (_, 0) => &["-p", "127.0.0.1::80", "busybox", "sleep", "1000"],
            _ => &["busybox", "sleep", "1000"],
        };
        let line = [&["run", "-d", "--name", &name], networks, rest].concat();
        starting.push((name.clone(), end, barge.command(line).spawn()));
        // Up to three come while others go, and some die on their way.
        if starting.len() > 3 {
            let (name, end, mut running) = starting.remove(0);
            let patience = Duration::from_millis(next(400));
            eventually(patience, || running.has_ended());
            die(&barge, &name, end);
            running.wait();
        }
    }
    for (name, end, running) in starting {
        running.wait();
        die(&barge, &name, end);
    }
    // Whoever comes next is not in the way of any of them.
    for network in ["a", "b"] {
        barge.run(["run", "--rm", "--network", network, "busybox", "true"]).exits(0);
    }
    barge.run(["rm", "-f", "-t", "0", "-a"]).exits(0);
    barge.leaves_nothing();
    let leases =
        |network: &str| entries(&barge.runroot().join("networks").join(network).join("leases"));
    assert_eq!((leases("a").len(), leases("b").len()), (0, 0));
    assert_eq!(entries(&barge.runroot().join("endpoints")).len(), 0);
    if is_root() {
        let links = barge.other_command("ip", ["-br", "link"]).run().ok().lines();
        assert_eq!(links.len(), 1, "{links:?}");
        barge.other_command("nft", ["list", "ruleset"]).run().ok().stdout("");
    }
    barge.run(["network", "rm", "a", "b"]).ok();
}

/// Ends a container, as far as it is there by now.
fn die(barge: &Barge, name: &str, end: End) {
    let pid_of = |template: &str| {
        let line = ["inspect", "-f", template, name];
        let pid = barge.run(line).text().parse().ok();
        pid.and_then(Pid::from_raw)
    };
    match end {
        End::KillMonitor => {
            let id = barge.run(["inspect", "-f", "{{.Id}}", name]).text();
            let is_its = |line: &str| {
                !id.is_empty() && line.contains("barge: monitor") && line.contains(&id[..12])
            };
            let monitor = processes().into_iter().find(|it| is_its(&it.command_line()));
            let monitor = monitor.and_then(|it| Pid::from_raw(i32::try_from(it.pid).unwrap()));
            // It may have ended, or be yet to come.
            let _gone = monitor.map(|monitor| kill_process(monitor, Signal::KILL));
        }
        End::KillProcess => {
            let _gone = pid_of("{{.State.Pid}}").map(|pid| kill_process(pid, Signal::KILL));
        }
        End::Remove => drop(barge.run(["rm", "-f", "-t", "0", name])),
        End::Stop => drop(barge.run(["stop", "-t", "0", name])),
        End::Restart => drop(barge.run(["restart", "-t", "0", name])),
        End::Itself => {}
    }
}

#[test]
fn a_connection_that_nobody_ends_keeps_no_interface() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let far = Place::network();
    barge.place().connect(&far, "10.99.0.1/24", "10.99.0.2/24");
    let listener = far.enter(|| TcpListener::bind("10.99.0.2:9999").unwrap());
    barge.run(["network", "create", "n"]).ok();
    let interfaces = || {
        let shown = barge.other_command("ip", ["-o", "link", "show", "type", "veth"]).run().ok();
        shown.text().matches(": veth").count()
    };
    // One network has names, the other one has not.
    for network in ["bridge", "n"] {
        let line = ["run", "-d", "--name", "box", "--network", network, "busybox", "sh", "-c"];
        let talk = "sleep 1000 | nc 10.99.0.2 9999";
        barge.run([&line[..], &[talk]].concat()).ok();
        let connected = listener.accept().unwrap();
        assert_eq!(interfaces(), 1);
        // The other side hears of nothing any more, and so says nothing.
        far.enter(|| tool("ip", ["link", "set", "far0", "down"]));
        barge.run(["rm", "-f", "-t", "0", "box"]).ok();
        assert_eq!(interfaces(), 0);
        far.enter(|| tool("ip", ["link", "set", "far0", "up"]));
        drop(connected);
    }
}
