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
