//! Many commands on one container at once: some fail, none hangs, and the store is whole afterwards.

use rustix::process::{Signal, kill_process};

use super::support::{Barge, Output, Running};

/// How often each test lets them loose.
const ROUNDS: usize = 6;

/// What is done to a container, all at once.
const VERBS: [&[&str]; 15] = [
    &["start", "ID"],
    &["stop", "-t", "0", "ID"],
    &["exec", "ID", "true"],
    &["restart", "-t", "0", "ID"],
    &["kill", "ID"],
    &["init", "ID"],
    &["pause", "ID"],
    &["rename", "ID", "other"],
    &["unpause", "ID"],
    &["start", "ID"],
    &["update", "--restart", "on-failure:2", "ID"],
    &["kill", "-s", "URG", "ID"],
    &["rename", "ID", "box"],
    &["inspect", "ID"],
    &["ps", "-a"],
];

fn let_loose(barge: &Barge, id: &str, verbs: &[&[&str]]) -> Vec<Running> {
    let command = |verb: &&[&str]| {
        let words = verb.iter().map(|word| if *word == "ID" { id } else { word });
        barge.command(words).spawn()
    };
    verbs.iter().map(command).collect()
}

/// Checks that a command that failed did so for what others did, not for what it found.
fn check(output: &Output) {
    for wrong in ["panicked", "damaged", "monitor ended", "cannot reach"] {
        assert!(!output.errors().contains(wrong), "{}", output.story());
    }
}

#[test]
fn any_command_may_run_beside_any_other() {
    let barge = Barge::with_busybox();
    for round in 0..ROUNDS {
        let line = ["--name", "box", "busybox", "sh", "-c", "while :; do sleep 0.1; done"];
        let id = barge.start(line);
        let mut verbs = VERBS.to_vec();
        verbs.rotate_left(round * 5 % VERBS.len());
        for running in let_loose(&barge, &id, &verbs) {
            check(&running.wait());
        }
        // Whatever came last, it is one container that can be used.
        barge.run(["unpause", &id]);
        barge.run(["start", &id]).ok();
        barge.run(["exec", &id, "echo", "works"]).ok().stdout("works\n");
        let name = barge.inspect(&id, "{{.Name}}");
        assert!(["box", "other"].contains(&&*name), "{name}");
        assert_eq!(barge.containers(), std::slice::from_ref(&id));
        barge.run(["rm", "-f", "-t", "0", &name]).ok();
    }
    barge.leaves_nothing();
}

#[test]
fn a_removal_beside_all_the_others_leaves_nothing() {
    let barge = Barge::with_busybox();
    for round in 0..ROUNDS {
        let line = ["--name", "box", "--restart", "always", "busybox", "sleep", "1000"];
        let id = barge.start(line);
        let mut verbs = VERBS.to_vec();
        verbs.insert(round * 2, &["rm", "-f", "-t", "0", "ID"]);
        verbs.push(&["rm", "-f", "-t", "0", "ID"]);
        for running in let_loose(&barge, &id, &verbs) {
            check(&running.wait());
        }
        assert!(barge.containers().is_empty(), "round {round}");
        assert!(barge.run(["ps", "-a", "-q"]).ok().lines().is_empty());
    }
    barge.await_silence();
    barge.leaves_nothing();
}

#[test]
fn whoever_is_killed_among_them_the_store_is_whole() {
    let barge = Barge::with_busybox();
    barge.kills();
    for round in 0..ROUNDS {
        let line = ["--name", "box", "busybox", "sh", "-c", "while :; do sleep 0.1; done"];
        let id = barge.start(line);
        let mut running = let_loose(&barge, &id, &VERBS);
        for victim in running.iter_mut().skip(round % 2).step_by(2) {
            victim.signal(Signal::KILL);
        }
        if round % 3 == 0
            && let Some(monitor) = super::crash::monitor(&id)
        {
            // It may have ended meanwhile.
            let _ended = kill_process(monitor, Signal::KILL);
        }
        for running in running {
            drop(running.wait());
        }
        assert_eq!(barge.containers(), std::slice::from_ref(&id), "round {round}");
        barge.run(["unpause", &id]);
        barge.run(["stop", "-t", "0", &id]).exits(0);
        barge.run(["start", &id]).ok();
        barge.run(["exec", &id, "echo", "works"]).ok().stdout("works\n");
        barge.run(["rm", "-f", "-t", "0", &id]).ok();
        // Both names are free again.
        for name in ["box", "other"] {
            barge.run(["create", "--name", name, "busybox", "true"]).ok();
            barge.run(["rm", name]).ok();
        }
    }
    barge.leaves_nothing();
}
