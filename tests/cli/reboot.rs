//! After a reboot: nothing runs, nothing is lost, and what should run is brought up by one command.

use std::fs::{self, File};
use std::path::PathBuf;

use rustix::process::{Signal, kill_process};

use super::support::leaks::entries;
use super::support::{Barge, wait_until};

const OTHER_BOOT: &str = "00000000-0000-0000-0000-000000000000";

/// Ends all that runs at once and lets the store look as after a reboot: another boot, and a directory
/// for the running that is gone.
fn reboot(barge: &Barge, ids: &[String]) {
    barge.kills();
    for id in ids {
        if let Some(monitor) = super::crash::monitor(id) {
            kill_process(monitor, Signal::KILL).unwrap();
        }
    }
    barge.await_silence();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    for id in ids {
        let path = barge.root().join("containers").join(id).join("state.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replace(boot.trim(), OTHER_BOOT)).unwrap();
    }
    fs::remove_dir_all(barge.runroot()).unwrap();
}

fn start(barge: &Barge, name: &str, policy: &str, command: &[&str]) -> String {
    let line = ["--name", name, "--restart", policy, "busybox"];
    barge.start(line.iter().chain(command))
}

#[test]
fn what_should_run_is_brought_up_by_one_command() {
    let barge = Barge::with_busybox();
    let sleep = ["sleep", "1000"];
    let always = start(&barge, "always", "always", &sleep);
    let unless = start(&barge, "unless", "unless-stopped", &sleep);
    let stopped = start(&barge, "stopped", "unless-stopped", &sleep);
    barge.run(["stop", "-t", "0", "stopped"]).exits(0);
    let failed = start(&barge, "failed", "no", &["sh", "-c", "exit 7"]);
    barge.await_status("failed", "exited");
    let plain = start(&barge, "plain", "no", &sleep);
    let removed = barge.start(["--name", "removed", "--rm", "busybox", "sleep", "1000"]);
    let ids = [&always, &unless, &stopped, &failed, &plain, &removed].map(String::clone);
    let finished = barge.inspect("failed", "{{.State.FinishedAt}}");
    reboot(&barge, &ids);

    let state = "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}} {{.State.Error}}";
    let lost = "exited 137 0 the machine was restarted while the container ran";
    assert_eq!(barge.inspect("plain", state), lost);
    assert_eq!(barge.inspect("always", state), lost);
    assert_eq!(barge.inspect("failed", state).trim(), "exited 7 0");
    assert_eq!(barge.inspect("failed", "{{.State.FinishedAt}}"), finished);
    assert_eq!(barge.status("removed"), "");
    barge.run(["ps", "-q"]).ok().stdout("");
    let died = ["events", "--stream=false", "--filter", "container=plain", "--filter"];
    let died = barge.run(died.into_iter().chain(["event=died", "--format", "{{.ID}}"])).ok();
    died.stdout(&format!("{plain}\n"));

    let policy = ["start", "--all", "--filter", "restart-policy=always"];
    barge.run(policy).ok().stdout(&format!("{always}\n"));
    assert_eq!(barge.status("always"), "running");
    let names = |value: &str| {
        let filter = format!("should-start-on-boot={value}");
        let line = ["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"];
        let mut names = barge.run(line).ok().lines();
        names.sort();
        names
    };
    assert_eq!(names("true"), ["always", "unless"]);
    assert_eq!(names("false"), ["failed", "plain", "stopped"]);
    barge.run(["start", "--all", "--filter", "should-start-on-boot=true"]).ok();
    for (name, status) in [("unless", "running"), ("stopped", "exited"), ("plain", "exited")] {
        assert_eq!(barge.status(name), status, "{name}");
    }
    assert_eq!(barge.run(["exec", "unless", "echo", "works"]).ok().text(), "works");
    barge.run(["rm", "-f", "-t", "0", "-a"]).ok();
    barge.leaves_nothing();
}

#[test]
fn containers_that_waited_to_restart_are_ended_as_well() {
    let barge = Barge::with_busybox();
    let id = start(&barge, "box", "always", &["false"]);
    wait_until("it was restarted", || {
        barge.inspect("box", "{{.RestartCount}}").parse::<u32>().unwrap() > 3
    });
    reboot(&barge, &[id]);
    assert_eq!(barge.status("box"), "exited");
    assert_ne!(barge.inspect("box", "{{.RestartCount}}"), "0");
    barge.run(["rm", "box"]).ok();
    barge.leaves_nothing();
}

/// Lets all parts of all images look as if the machine had been stopped before the disk had them.
fn doubt(barge: &Barge) {
    let marks = barge.root().join("unflushed");
    wait_until("all is on the disk", || !marks.exists());
    fs::create_dir(&marks).unwrap();
    for kind in ["blobs/sha256", "layers", "images"] {
        for path in entries(&barge.root().join(kind)) {
            let name = path.file_name().unwrap().to_string_lossy();
            let place = format!("{kind}/{name}").replace('/', "%");
            File::create_new(marks.join(format!("{OTHER_BOOT}.0123.{place}"))).unwrap();
        }
    }
}

/// Returns the file of a layer that has this path in it, as the disk may have it.
fn cut_off(barge: &Barge, path: &str) -> PathBuf {
    let layers = entries(&barge.root().join("layers"));
    let files = layers.iter().map(|layer| layer.join("diff").join(path));
    let file = files.into_iter().find(|file| file.exists()).expect("a layer has it");
    File::options().write(true).open(&file).unwrap().set_len(0).unwrap();
    file
}

#[test]
fn what_the_disk_did_not_get_of_images_is_mended_or_gone() {
    let barge = Barge::with_busybox();
    // One layer comes as a blob, the other is made here.
    let archive = barge.path("archive.tar");
    let archive = archive.to_str().unwrap();
    barge.run(["save", "-q", "--format=oci-archive", "-o", archive, "busybox"]).ok();
    barge.run(["rmi", "busybox"]).exits(0);
    barge.run(["load", "-q", "-i", archive]).exits(0);
    let make = || {
        let line = ["run", "--network=none", "--name=box", "busybox", "sh", "-c"];
        barge.run(line.into_iter().chain(["echo precious >/precious"])).ok();
        barge.run(["commit", "-q", "box", "made"]).exits(0);
        barge.run(["rm", "box"]).exits(0);
    };
    make();
    let read = ["run", "--rm", "--network=none", "made", "cat", "/precious"];
    let marks = barge.root().join("unflushed");

    // All is whole.
    doubt(&barge);
    barge.run(read).ok().stdout("precious\n").stderr("");
    assert!(!marks.exists());
    barge.run(["images", "-q"]).ok();

    // What came as a blob is unpacked again.
    doubt(&barge);
    let program = cut_off(&barge, "bin/busybox");
    barge.run(read).ok().stdout("precious\n").stderr("");
    assert!(fs::metadata(program).unwrap().len() > 0 && !marks.exists());

    // What was made here is gone, and the image with it; the rest stays.
    doubt(&barge);
    cut_off(&barge, "precious");
    let hello = ["run", "--rm", "--network=none", "busybox", "echo", "hello"];
    let text = "image localhost/made:latest was being written when the machine was stopped";
    barge.run(hello).exits(0).stdout("hello\n").stderr_has(text);
    assert!(!marks.exists());
    barge.run(["image", "exists", "made"]).exits(1);
    barge.run(hello).ok().stdout("hello\n").stderr("");

    // So it is with an image whose record was on the disk before.
    make();
    doubt(&barge);
    let id = barge.run(["images", "-q", "--no-trunc", "made"]).ok().lines().remove(0);
    let id = id.replace("sha256:", "");
    fs::remove_file(marks.join(format!("{OTHER_BOOT}.0123.images%{id}.json"))).unwrap();
    cut_off(&barge, "precious");
    barge.run(hello).exits(0).stdout("hello\n").stderr_has(text);
    barge.run(["image", "exists", "made"]).exits(1);

    // So it is with a record, with a blob without which nothing can be unpacked, and with what is named by
    // a mark and is not there.
    make();
    doubt(&barge);
    let id = barge.run(["images", "-q", "--no-trunc", "made"]).ok().lines().remove(0);
    let record = id.replace("sha256:", "") + ".json";
    File::create(barge.root().join("images").join(record)).unwrap();
    File::create(marks.join(format!("{OTHER_BOOT}.0123.layers%{}", "ab".repeat(32)))).unwrap();
    barge.run(hello).exits(0).stdout("hello\n").stderr_has("was being written");
    barge.run(["image", "exists", "made"]).exits(1);
    doubt(&barge);
    cut_off(&barge, "bin/busybox");
    for blob in entries(&barge.root().join("blobs/sha256")) {
        let length = fs::metadata(&blob).unwrap().len();
        File::options().write(true).open(&blob).unwrap().set_len(length / 2).unwrap();
    }
    let nothing = ["run", "--rm", "--network=none", "--pull=never", "busybox", "true"];
    barge.run(nothing).exits(125).stderr_has("busybox:latest was being written");
    barge.run(["images", "-q"]).ok().stdout("");
    // And all can be had again.
    barge.run(["load", "-q", "-i", archive]).exits(0);
    barge.run(hello).ok().stdout("hello\n").stderr("");
    barge.leaves_nothing();
}

#[test]
fn what_is_marked_in_this_boot_is_left_to_who_flushes_it() {
    let barge = Barge::with_busybox();
    let marks = barge.root().join("unflushed");
    wait_until("all is on the disk", || !marks.exists());
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let mark = marks.join(format!("{}.0123.layers%{}", boot.trim(), "ab".repeat(32)));
    fs::create_dir(&marks).unwrap();
    File::create_new(&mark).unwrap();
    barge.run(["run", "--rm", "--network=none", "busybox", "true"]).ok();
    assert!(mark.exists());
    // The next one that is made takes it along.
    barge.import_busybox();
    wait_until("all is on the disk", || !marks.exists());
}
