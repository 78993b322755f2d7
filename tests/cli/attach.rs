//! `barge attach`: several clients, the end of input, signals and keys.

use rustix::process::Signal;

use super::support::{Barge, wait_until};

/// Writes something again and again: who sees it is connected.
const TICKING: &str = "trap 'echo caught; exit 9' TERM; while :; do echo tick; sleep 0.1; done";

#[test]
fn attach_shares_input_and_output_among_clients() {
    let barge = Barge::with_busybox();
    let id = barge.start(["-i", "busybox", "cat"]);
    let mut clients: Vec<_> =
        (0..3).map(|_| barge.command(["attach", &id]).open_input().spawn()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        // Its own word tells that it is heard, and hears.
        client.send(format!("client {number}\n"));
        client.expect(&format!("client {number}\n"));
    }
    clients[1].send("for all\n");
    clients.iter_mut().for_each(|client| client.expect("for all\n"));
    // One that is killed is no loss to the others.
    clients[0].signal(Signal::KILL);
    assert_eq!(clients.remove(0).wait().killed, Some(Signal::KILL.as_raw()));
    clients[1].send("still here\n");
    clients.iter_mut().for_each(|client| client.expect("still here\n"));
    // The end of one input is the end of the container's.
    clients[0].close_input();
    for client in clients {
        client.wait().ok();
    }
    assert_eq!(barge.status(&id), "exited");
}

#[test]
fn attach_passes_any_bytes_on_and_their_end() {
    let barge = Barge::with_busybox();
    let bytes: Vec<u8> =
        (0..1_500_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let id = barge.start(["-i", "--log-driver", "none", "busybox", "cat"]);
    let output = barge.command(["attach", &id]).input(bytes.clone()).run().ok();
    assert!(output.stdout == bytes, "{} of {} bytes", output.stdout.len(), bytes.len());
}

#[test]
fn attach_without_input_leaves_it_open() {
    let barge = Barge::with_busybox();
    let id = barge.start(["-i", "busybox", "cat"]);
    // Its standard input is at its end from the beginning.
    let mut watching = barge.command(["attach", "--no-stdin", "--latest"]).spawn();
    let mut client = barge.command(["attach", &id]).open_input().spawn();
    let mut lines = 0;
    wait_until("both are attached", || {
        lines += 1;
        client.send(format!("line {lines}\n"));
        client.expect(&format!("line {lines}\n"));
        watching.has_shown("line ")
    });
    client.close_input();
    client.wait().ok();
    watching.wait().ok();
}

#[test]
fn attach_passes_signals_on_unless_told_not_to() {
    let barge = Barge::with_busybox();
    let id = barge.start(["busybox", "sh", "-c", TICKING]);
    let mut alone = barge.command(["attach", "--sig-proxy=false", &id]).spawn();
    let mut client = barge.command(["attach", &id]).spawn();
    for running in [&mut alone, &mut client] {
        running.expect("tick\n");
    }
    alone.signal(Signal::TERM);
    assert_eq!(alone.wait().killed, Some(Signal::TERM.as_raw()));
    assert_eq!(barge.status(&id), "running");
    client.signal(Signal::TERM);
    client.wait().exits(9).stdout_has("caught");
}

#[test]
fn attach_has_keys_of_its_own() {
    let barge = Barge::with_busybox();
    let id = barge.start(["-it", "busybox", "sh", "-c", "stty raw -echo; echo up; cat"]);
    wait_until("its terminal is raw", || barge.run(["logs", &id]).ok().text().contains("up"));
    let mut terminal = barge.command(["attach", "--detach-keys", "ctrl-x,x", &id]).terminal();
    let before = format!("{:?}", terminal.settings_before());
    // Until it is connected, the terminal itself takes some of these.
    wait_until("it is connected", || format!("{:?}", terminal.settings()) != before);
    // The usual keys are the container's now, and so is the first of these alone.
    terminal.send("\u{10}\u{11}\u{18}y");
    terminal.expect("\u{10}\u{11}\u{18}y");
    terminal.send("\u{18}x");
    terminal.exits(0);
    assert_eq!(barge.status(&id), "running");
    let mut again = barge.command(["attach", "--detach-keys", "q", &id]).terminal();
    again.send("back");
    again.expect("back");
    again.send("q");
    again.exits(0);
    assert_eq!(barge.status(&id), "running");
}

/// Numbers on lines, 27 MB of them.
const MUCH: [&str; 2] = ["seq", "3500000"];

fn much() -> String {
    (1..=3_500_000).map(|number| format!("{number}\n")).collect()
}

#[test]
fn a_client_that_is_slow_keeps_nobody_from_writing_and_loses_nothing() {
    let barge = Barge::with_busybox();
    let line = ["run", "--name", "box", "--network", "none", "busybox"];
    // It reads nothing until the container has ended.
    let running = barge.command(line.iter().chain(&MUCH)).spawn();
    wait_until("it is there", || !barge.run(["ps", "-aq"]).text().is_empty());
    barge.await_status("box", "exited");
    let want = much();
    let output = running.wait().ok();
    assert!(output.stdout == want.as_bytes(), "{} bytes", output.stdout.len());
    let logged = barge.run(["logs", "box"]).ok();
    assert!(logged.stdout == want.as_bytes(), "{} bytes in the log", logged.stdout.len());
}

#[test]
fn a_client_that_stands_still_keeps_nobody_from_writing() {
    let barge = Barge::with_busybox();
    let script = "while [ ! -e /go ]; do sleep 0.05; done; seq 3500000";
    barge.start(["--name", "box", "busybox", "sh", "-c", script]);
    let mut attached = barge.command(["attach", "box"]).spawn();
    let events = || barge.run(["events", "--stream=false", "--filter", "event=attach"]).ok().text();
    wait_until("it is attached", || !events().is_empty());
    attached.signal(Signal::STOP);
    barge.touch("box", "/go");
    barge.run(["wait", "box"]).ok();
    let want = much();
    let logged = barge.run(["logs", "box"]).ok();
    assert!(logged.stdout == want.as_bytes(), "{} bytes in the log", logged.stdout.len());
    attached.signal(Signal::CONT);
    let output = attached.wait().ok();
    assert!(output.stdout == want.as_bytes(), "{} bytes", output.stdout.len());
}

#[test]
fn a_client_is_waited_for_where_there_is_no_log() {
    let barge = Barge::with_busybox();
    let line = ["run", "--name", "box", "--network", "none", "--log-driver=none", "busybox"];
    let running = barge.command(line.iter().chain(&MUCH)).spawn();
    wait_until("it is there", || !barge.run(["ps", "-q"]).text().is_empty());
    // What does not fit into pipes and buffers waits in the container.
    barge.run(["exec", "box", "true"]).ok();
    assert_eq!(barge.status("box"), "running");
    let want = much();
    let output = running.wait().ok();
    assert!(output.stdout == want.as_bytes(), "{} bytes", output.stdout.len());
}
