//! Volume plugins by Docker's protocol, with one of the tests' own, written in Python.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::support::docker::DockerHost;
use super::support::{Barge, Running, wait_until};

/// A plugin whose volumes are directories. It writes down what it is asked.
const PLUGIN: &str = r#"
import json, os, socketserver, sys, time
from http.server import BaseHTTPRequestHandler
place, log = sys.argv[2], open(sys.argv[3], "a", buffering=1)
class Handler(BaseHTTPRequestHandler):
    def address_string(self): return "x"
    def log_message(self, *_): pass
    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        asked = json.loads(self.rfile.read(length) or b"{}")
        verb, name = self.path.split(".")[-1], asked.get("Name", "")
        path = os.path.join(place, name)
        log.write(" ".join(filter(None, [verb, name, json.dumps(asked.get("Opts") or {}) if verb == "Create" else ""])) + "\n")
        answer = {"Err": ""}
        if verb == "Activate": answer = {"Implements": ["VolumeDriver"]}
        elif verb == "Create":
            if "bad" in (asked.get("Opts") or {}): answer = {"Err": "no such option: bad"}
            else: os.makedirs(path, exist_ok=True)
        elif verb == "List": answer["Volumes"] = [{"Name": it, "Mountpoint": os.path.join(place, it)} for it in sorted(os.listdir(place))]
        elif not os.path.isdir(path): answer = {"Err": "unknown volume " + name}
        elif verb == "Mount":
            answer["Mountpoint"] = path
            if name == "broken": answer = {"Err": "the disk is on fire"}
        elif verb == "Get": answer["Volume"] = {"Name": name, "Mountpoint": path, "Status": {"shelf": "top"}}
        elif verb == "Remove":
            while name == "slow" and not os.path.exists(os.path.join(place, "..", "done")): time.sleep(0.01)
            __import__("shutil").rmtree(path)
        body = json.dumps(answer).encode()
        self.send_response(500 if answer.get("Err") else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    def get_request(self):
        request, _ = super().get_request()
        return request, ("x", 0)
Server(sys.argv[1], Handler).serve_forever()
"#;

struct Plugin {
    process: Running,
    place: PathBuf,
    log: PathBuf,
}

impl Plugin {
    /// Starts a plugin where the user's own are looked for.
    fn start(barge: &Barge) -> Self {
        let dir = barge.path("x/docker/plugins");
        fs::create_dir_all(&dir).unwrap();
        let (place, log) = (barge.path("of-plugin"), barge.path("asked"));
        fs::create_dir(&place).unwrap();
        fs::write(&log, "").unwrap();
        let script = barge.file("plugin.py", PLUGIN);
        let socket = dir.join("shelf.sock");
        let line = [script.as_ref(), socket.as_os_str(), place.as_os_str(), log.as_os_str()];
        let process = barge.other_command("/usr/bin/python3", line).spawn();
        wait_until("the plugin listens", || UnixStream::connect(&socket).is_ok());
        Self { process, place, log }
    }

    /// Returns what it was asked since the last time.
    fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap();
        fs::write(&self.log, "").unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn end(&mut self) {
        self.process.signal(rustix::process::Signal::KILL);
        wait_until("the plugin has ended", || self.process.has_ended());
    }
}

#[test]
fn a_plugin_makes_mounts_and_removes_volumes() {
    let barge = Barge::with_busybox();
    let mut plugin = Plugin::start(&barge);
    barge.run(["volume", "create", "-d", "shelf", "-o", "colour=red", "one"]).ok().stdout("one\n");
    assert_eq!(plugin.asked(), [r#"Create one {"colour": "red"}"#]);
    assert!(plugin.place.join("one").is_dir());
    let format = "{{.Name}} {{.Driver}} {{.Mountpoint}} {{.Options.colour}}";
    let want = format!("one shelf {} red\n", plugin.place.join("one").display());
    barge.run(["volume", "inspect", "--format", format, "one"]).ok().stdout(&want);
    barge.run(["volume", "ls", "-q", "--filter", "driver=shelf"]).ok().stdout("one\n");
    plugin.asked();
    barge.shell(&["-v", "one:/d"], "echo kept > /d/file").ok();
    wait_until("it was told of the end", || {
        fs::read_to_string(&plugin.log).unwrap().contains("Unmount one")
    });
    assert_eq!(plugin.asked(), ["Mount one", "Unmount one"]);
    assert_eq!(fs::read_to_string(plugin.place.join("one/file")).unwrap(), "kept\n");
    // One that is made on the way, and one that is not.
    barge.shell(&["--volume-driver=shelf", "-v", "two:/d"], "ls /d").ok().stdout("");
    assert_eq!(plugin.asked()[..2], ["Create two {}", "Mount two"]);
    let mount = "src=three,dst=/d,volume-driver=shelf,volume-opt=bad=1";
    barge.shell(&["--mount", mount], "true").fails(125).error_has("no such option: bad");
    barge.run(["volume", "exists", "three"]).exits(1);
    barge.run(["volume", "create", "-d", "shelf", "broken"]).ok();
    barge.shell(&["-v", "broken:/d"], "true").fails(125).error_has("the disk is on fire");
    barge
        .run(["volume", "create", "-d", "nosuch", "x"])
        .fails(125)
        .error("error looking up volume plugin nosuch: plugin \"nosuch\" not found");
    // A container that does not run is told of, too, as long as one copies from it.
    barge.run(["create", "--name=c", "--network=none", "-v", "one:/d", "busybox", "true"]).ok();
    plugin.asked();
    barge.run(["cp", "c:/d/file", "-"]).ok().stdout_has("kept");
    assert_eq!(plugin.asked(), ["Mount one", "Unmount one"]);
    barge.run(["volume", "rm", "one"]).exits(2);
    barge.run(["rm", "c"]).ok();
    barge.run(["volume", "rm", "one", "two", "broken"]).ok();
    assert_eq!(fs::read_dir(&plugin.place).unwrap().count(), 0);
    // What it has without us.
    fs::create_dir(plugin.place.join("own")).unwrap();
    barge.run(["volume", "reload"]).ok().stdout("Added:\nown\n");
    barge.run(["volume", "reload"]).ok().stdout("");
    barge.shell(&["-v", "own:/d"], "touch /d/x").ok();
    assert!(plugin.place.join("own/x").exists());
    fs::remove_dir_all(plugin.place.join("own")).unwrap();
    barge.run(["volume", "reload"]).ok().stdout("Removed:\nown\n");
    plugin.end();
    barge.leaves_nothing();
}

#[test]
fn nobody_waits_for_a_plugin_that_removes() {
    let barge = Barge::with_busybox();
    let mut plugin = Plugin::start(&barge);
    barge.run(["volume", "create", "--driver=shelf", "slow"]).ok();
    let format = "{{.Driver}} {{.Status.shelf}}";
    barge.run(["volume", "inspect", "--format", format, "slow"]).ok().stdout("shelf top\n");
    let id = barge.start(["-v", "slow:/d", "busybox", "sleep", "1000"]);
    let format = "{{range .Mounts}}{{.Driver}} {{.Source}}{{end}}";
    let want = format!("shelf {}", plugin.place.join("slow").display());
    assert_eq!(barge.inspect(&id, format), want);
    barge.run(["rm", "-f", "-t", "0", &id]).ok();
    plugin.asked();
    let removal = barge.command(["volume", "rm", "slow"]).spawn();
    wait_until("the plugin was asked", || {
        fs::read_to_string(&plugin.log).unwrap().contains("Remove slow")
    });
    // It is there until the plugin is done, and nobody gets it any more.
    barge.run(["volume", "exists", "slow"]).exits(0);
    barge.shell(&["-v", "slow:/d"], "true").fails(125).error_has("is being removed");
    barge.run(["volume", "rm", "slow"]).exits(2).error_has("is being removed");
    barge.file("done", "");
    removal.wait().ok().stdout("slow\n");
    barge.run(["volume", "exists", "slow"]).exits(1);
    plugin.end();
    barge.leaves_nothing();
}

#[test]
fn a_plugin_is_told_of_the_end_whoever_is_killed() {
    let barge = Barge::with_busybox();
    let mut plugin = Plugin::start(&barge);
    barge.run(["volume", "create", "--driver=shelf", "one"]).ok();
    let id = barge.start(["-v", "one:/d", "busybox", "sleep", "1000"]);
    plugin.asked();
    barge.kills();
    let monitor = barge.inspect(&id, "{{.State.ConmonPid}}").parse().unwrap();
    let monitor = rustix::process::Pid::from_raw(monitor).unwrap();
    rustix::process::kill_process(monitor, rustix::process::Signal::KILL).unwrap();
    barge.await_status(&id, "exited");
    assert_eq!(plugin.asked(), ["Unmount one"]);
    // A plugin that is gone is an error that says so, and keeps nobody from ending.
    barge.run(["start", &id]).ok();
    plugin.end();
    barge.run(["rm", "-f", "-t", "0", &id]).ok();
    barge.run(["volume", "rm", "one"]).fails(125).error_has("cannot reach");
    barge.shell(&["-v", "one:/d"], "true").fails(125).error_has("cannot reach");
    fs::remove_file(barge.path("x/docker/plugins/shelf.sock")).unwrap();
    let spec = barge.path("x/docker/plugins/shelf.spec");
    fs::write(spec, "unix:///nowhere/shelf.sock\n").unwrap();
    barge.run(["volume", "rm", "one"]).fails(125).error_has("/nowhere/shelf.sock");
}

#[test]
fn the_service_lists_plugins_and_leaves_them_alone() {
    let barge = Barge::new();
    let plugin = Plugin::start(&barge);
    // Nobody is behind this one.
    fs::write(barge.path("x/docker/plugins/gone.spec"), "unix:///nosuch/gone.sock").unwrap();
    let docker = DockerHost::start(&barge);
    let line = ["plugin", "ls", "--format", "{{.Name}} {{.Enabled}}"];
    let listed = docker.docker(line).ok().text();
    assert!(listed.lines().any(|line| line == "shelf true"), "{listed}");
    assert!(listed.lines().any(|line| line == "gone false"), "{listed}");
    let line =
        ["plugin", "ls", "-q", "--filter", "capability=volumedriver", "--filter=enabled=true"];
    assert_eq!(docker.docker(line).ok().text().lines().count(), 1);
    let found = docker.get("/plugins/shelf/json");
    assert_eq!(found["Config"]["Interface"]["Types"][0], "docker.volumedriver/1.0");
    assert_eq!(docker.ask("GET", "/plugins/nosuch/json", "").status, 404);
    for line in [&["disable", "shelf"][..], &["rm", "shelf"]] {
        let line = [&["plugin"][..], line].concat();
        docker.docker(line).exits(1).stderr_has("neither installed nor changed");
    }
    drop(plugin.process);
}
