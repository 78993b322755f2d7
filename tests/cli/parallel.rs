//! Several barges at once on the same store.

use super::support::Barge;

#[test]
fn twenty_runs_at_once() {
    let barge = Barge::with_busybox();
    let running: Vec<_> = (0..20)
        .map(|n: u32| {
            let word = n.to_string();
            barge.command(["run", "--rm", "--network=none", "busybox", "echo", &word]).spawn()
        })
        .collect();
    for (n, one) in running.into_iter().enumerate() {
        one.wait().ok().stdout(&format!("{n}\n"));
    }
    assert!(barge.containers().is_empty());
    barge.leaves_nothing();
}

#[test]
fn twenty_runs_at_once_on_the_default_network() {
    let barge = Barge::with_busybox();
    let running: Vec<_> =
        (0..20).map(|_| barge.command(["run", "-d", "busybox", "sleep", "1000"]).spawn()).collect();
    let ids: Vec<String> = running.into_iter().map(|one| one.wait().ok().text()).collect();
    let mut addresses: Vec<String> = ids
        .iter()
        .map(|id| {
            let script = "ip -4 -o addr show | awk '!/127.0.0.1/ {print $4}'";
            barge.run(["exec", id, "sh", "-c", script]).ok().text()
        })
        .collect();
    assert!(addresses.iter().all(|address| !address.is_empty()), "{addresses:?}");
    if super::support::is_root() {
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 20, "{addresses:?}");
    }
    barge.run(["rm", "-f", "-t", "0", "-a"]).ok();
    barge.leaves_nothing();
}

#[test]
fn one_name_goes_to_one_container() {
    let barge = Barge::with_busybox();
    for _ in 0..10 {
        let running: Vec<_> = (0..4)
            .map(|_| barge.command(["create", "--name", "box", "busybox", "true"]).spawn())
            .collect();
        let mut made = 0;
        for one in running {
            let output = one.wait();
            if output.status == 0 {
                made += 1;
            } else {
                output.fails(125).error_has("already in use");
            }
        }
        assert_eq!(made, 1);
        assert_eq!(barge.containers().len(), 1);
        barge.run(["rm", "box"]).ok();
    }
}

#[test]
fn start_stop_and_rm_of_one_container_at_once() {
    let barge = Barge::with_busybox();
    for _ in 0..10 {
        barge.run(["create", "--network=none", "--name", "box", "busybox", "sleep", "1000"]).ok();
        let lines: [&[&str]; 5] = [
            &["start", "box"],
            &["stop", "-t", "0", "box"],
            &["start", "box"],
            &["rm", "-f", "-t", "0", "box"],
            &["ps", "-a"],
        ];
        let running: Vec<_> = lines.iter().map(|line| barge.command(*line).spawn()).collect();
        for (one, line) in running.into_iter().zip(lines) {
            let output = one.wait();
            if line[0] == "rm" {
                // By force: whatever the others do at the time.
                output.exits(0);
            } else if output.status != 0 {
                output.one_error();
            }
        }
        barge.await_silence();
        barge.run(["rm", "-f", "-t", "0", "box"]).ok();
        assert!(barge.containers().is_empty());
    }
    barge.leaves_nothing();
}

#[test]
fn many_starts_of_one_container_start_it_once() {
    let barge = Barge::with_busybox();
    let line = [
        "create",
        "--network=none",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "echo up; exec sleep 1000",
    ];
    barge.run(line).ok();
    let running: Vec<_> = (0..8).map(|_| barge.command(["start", "box"]).spawn()).collect();
    for one in running {
        one.wait().ok().stdout("box\n");
    }
    barge.await_log("box", "up");
    barge.run(["logs", "box"]).ok().stdout("up\n");
}

#[test]
fn listing_goes_on_while_containers_come_and_go() {
    let barge = Barge::with_busybox();
    let mut coming: Vec<_> = (0..12)
        .map(|_| barge.command(["run", "--rm", "--network=none", "busybox", "true"]).spawn())
        .collect();
    while !coming.iter_mut().all(super::support::Running::has_ended) {
        barge.run(["ps", "-a"]).ok();
        barge.run(["images"]).ok();
    }
    for one in coming {
        one.wait().ok();
    }
}

#[test]
fn rmi_and_run_of_one_image_at_once() {
    let barge = Barge::with_busybox();
    for _ in 0..10 {
        let run = barge
            .command(["run", "--rm", "--network=none", "--pull", "never", "busybox", "echo", "ran"])
            .spawn();
        let remove = barge.command(["rmi", "busybox"]).spawn();
        let (ran, removed) = (run.wait(), remove.wait());
        // Either may win; nobody may get half of an image.
        if ran.status == 0 {
            ran.ok().stdout("ran\n");
        } else {
            ran.fails(125).error_has("busybox");
        }
        if removed.status != 0 {
            removed.fails(2).error_has("in use");
        }
        if barge.run(["image", "exists", "busybox"]).status != 0 {
            assert!(barge.layers().is_empty());
            barge.import_busybox();
        }
    }
}
