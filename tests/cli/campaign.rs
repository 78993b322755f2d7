//! A campaign of faults: commands of all kinds are killed at random moments, or their monitors, or all of
//! them at once, and the store must be whole after each.
//!
//! `BARGE_TEST_ROUNDS=1000` makes it long, `BARGE_TEST_SEED` has it go another way.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::crash::after;
use super::support::registry::Registry;
use super::support::{Barge, Output, Running};

/// Rounds of a usual test run.
const ROUNDS: u64 = 60;

/// Commands that run at once.
const AT_ONCE: usize = 200;

/// What there is before a command, what it is, and what it is called.
struct Deed {
    before: &'static [&'static str],
    line: &'static str,
}

const fn deed(before: &'static [&'static str], line: &'static str) -> Deed {
    Deed { before, line }
}

const UP: &str = "run -d --name box -v vol:/v busybox sleep 1000";

/// In words that are divided by spaces; `IMAGE`, `DIR` and `REGISTRY` are what the test has made.
const DEEDS: [Deed; 28] = [
    deed(&[], "pull -q REGISTRY"),
    deed(&[], "load -q -i IMAGE"),
    deed(&[], "import -q IMAGE other"),
    deed(&[], "build -q --no-cache -t built DIR"),
    deed(&["load -q -i IMAGE"], "rmi -f copy"),
    deed(&[], "save -q -o DIR.tar busybox"),
    deed(&[], UP),
    deed(&[], "run --rm -v /anonymous busybox true"),
    deed(&[], "create --name box busybox true"),
    deed(&["create --name box busybox sleep 1000"], "start box"),
    deed(&[UP], "stop -t 0 box"),
    deed(&[UP], "restart -t 0 box"),
    deed(&[UP], "kill box"),
    deed(&[UP], "rm -f -t 0 -v box"),
    deed(&[UP], "exec box true"),
    deed(&[UP], "commit -q box committed"),
    deed(&[UP], "cp DIR box:/tmp"),
    deed(&[UP], "cp box:/bin DIR.copy"),
    deed(&[UP], "rename box other"),
    deed(&[UP], "update --restart always box"),
    deed(&[UP], "export -o DIR.tar box"),
    deed(&["create --name box busybox true"], "container clone box twin"),
    deed(&[], "volume create made"),
    deed(&["volume create made"], "volume rm made"),
    deed(&[], "network create made"),
    deed(&["network create made"], "network rm made"),
    deed(
        &["network create made", "run -d --name box --network other busybox sleep 1000"],
        "network connect made box",
    ),
    deed(&["create busybox true", "volume create made"], "system prune -a -f --volumes"),
];

/// Numbers that look random, and are the same again with the same seed.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

pub(super) fn number(variable: &str, usual: u64) -> u64 {
    env::var(variable).ok().map_or(usual, |text| text.parse().expect("it is a number"))
}

/// What the deeds are done with.
pub(super) struct Field {
    pub(super) barge: Barge,
    registry: Registry,
    /// How long each takes that nobody disturbs.
    durations: BTreeMap<usize, Duration>,
}

impl Field {
    pub(super) fn new() -> Self {
        let barge = Barge::with_busybox();
        barge.kills();
        let registry = Registry::start(barge.place());
        let image = barge.path_text("image.tar");
        barge.run(["network", "create", "other"]).ok();
        barge.run(["tag", "busybox", "copy"]).ok();
        barge.run(["save", "-q", "-o", &image, "copy"]).exits(0);
        barge.run(["rmi", "-f", "copy", "busybox"]).ok();
        let dir = barge.path("dir");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("Dockerfile"), "FROM busybox\nCOPY f /f\nRUN echo new > /g\n").unwrap();
        fs::write(dir.join("f"), vec![b'x'; 1 << 20]).unwrap();
        let field = Self { barge, registry, durations: BTreeMap::new() };
        field.have_image();
        field
    }

    /// Gets the image that containers are made of, if it was removed.
    fn have_image(&self) {
        if self.run("image exists localhost/busybox:latest").status != 0 {
            self.run("load -q -i IMAGE").exits(0);
            self.run("tag copy busybox").ok();
            self.run("rmi copy").ok();
        }
    }

    pub(super) fn words(&self, line: &str) -> Vec<String> {
        let (image, dir) = (self.barge.path_text("image.tar"), self.barge.path_text("dir"));
        let word = |word: &str| match word {
            "REGISTRY" => self.registry.reference("box:many"),
            _ => word.replace("IMAGE", &image).replace("DIR", &dir),
        };
        line.split(' ').map(word).collect()
    }

    pub(super) fn run(&self, line: &str) -> Output {
        self.barge.run(self.words(line))
    }

    fn spawn(&self, line: &str) -> Running {
        self.barge.command(self.words(line)).spawn()
    }

    /// Removes all but the image that the containers are made of.
    pub(super) fn clear(&self) {
        self.run("rm -f -t 0 -v -a").ok();
        self.have_image();
        // No name is taken, and what a removal leaves that was cut off, the next one finishes.
        for name in ["box", "other", "twin", "works"] {
            self.run(&format!("create --name {name} busybox true")).ok();
        }
        self.run("rm -a").ok();
        self.barge.await_silence();
        // And what was downloaded in part.
        self.run("system prune -f").ok();
        self.run("network create --ignore other").ok();
        self.run("volume prune -a -f").ok();
        self.run("builder prune -a -f").ok();
        let images = self.run("images -a --format {{.Repository}}:{{.Tag}}").ok().lines();
        for image in images.iter().filter(|image| !image.ends_with("localhost/busybox:latest")) {
            let id = self.run("images -q --filter dangling=true").ok().lines();
            match image.contains("<none>") {
                true => id.iter().for_each(|id| drop(self.run(&format!("rmi -f {id}")))),
                false => drop(self.run(&format!("rmi -f {image}")).ok()),
            }
        }
        self.have_image();
    }

    /// Checks that commands of all kinds can be used.
    pub(super) fn check(&self) {
        self.have_image();
        for line in ["ps -a --size", "images -a", "volume ls", "network ls", "system df -v"] {
            let output = self.run(line).exits(0);
            assert!(!output.errors().contains("damaged"), "{}", output.story());
        }
        self.run("run --rm --name works busybox echo works").exits(0).stdout("works\n");
        for id in self.run("ps -aq").ok().lines() {
            self.run(&format!("inspect {id}")).ok();
            self.run(&format!("start {id}")).exits(0);
        }
    }

    /// Has a command killed, or others of this store while it goes on. Returns what was done.
    fn round(&mut self, random: &mut Random) -> String {
        let index = usize::try_from(random.below(DEEDS.len() as u64)).unwrap();
        let Deed { before, line } = &DEEDS[index];
        before.iter().for_each(|line| drop(self.run(line).exits(0)));
        let Some(whole) = self.durations.get(&index).copied() else {
            let begun = Instant::now();
            self.run(line).exits(0);
            self.durations.insert(index, begun.elapsed());
            return format!("`{line}`, as it is");
        };
        let mut running = self.spawn(line);
        let own = running.pid();
        let part = random.below(1200);
        after(whole * u32::try_from(part).unwrap() / 1000, || running.has_ended());
        let victims = random.below(3);
        if victims != 1 {
            running.signal(Signal::KILL);
        }
        if victims != 0 {
            for pid in self.barge.processes() {
                let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("it is positive");
                if pid != own {
                    // It may have ended meanwhile.
                    let _ended = kill_process(pid, Signal::KILL);
                }
            }
        }
        let output = running.wait();
        assert!(!output.errors().contains("panicked"), "{}", output.story());
        let who = ["the command", "all others", "all"][usize::try_from(victims).unwrap()];
        format!("`{line}`, {who} killed after {part} thousandths")
    }
}

#[test]
fn whoever_is_killed_the_store_is_whole() {
    let mut field = Field::new();
    field.clear();
    field.check();
    let before = field.barge.files();
    let (rounds, seed) = (number("BARGE_TEST_ROUNDS", ROUNDS), number("BARGE_TEST_SEED", 1));
    let mut random = Random::new(seed);
    for round in 0..rounds {
        let done = field.round(&mut random);
        let told = format!("round {round} of seed {seed}: {done}");
        // What fails says what was done; there is no better place for it.
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            field.check();
            field.clear();
            // What was cut off is cleared away by the next that makes something.
            field.run("import -q IMAGE next").exits(0);
            field.run("rmi next").ok();
            field.barge.has_files(&before, "all that was made is gone again");
        }));
        assert!(checked.is_ok(), "{told}");
    }
    field.barge.leaves_nothing();
}

#[test]
fn two_hundred_commands_at_once_leave_a_whole_store() {
    let field = Field::new();
    field.clear();
    field.check();
    let before = field.barge.files();
    field.run("network create made").ok();
    let mut running = Vec::new();
    for index in 0..AT_ONCE {
        let line = DEEDS[index * 5 % DEEDS.len()].line;
        // Others have their names.
        let line = line.replace("box", &format!("box{}", index % 7));
        running.push(field.spawn(&line.replace("DIR.", &format!("DIR.{index}."))));
    }
    for one in running {
        let output = one.wait();
        for wrong in ["panicked", "damaged", "monitor ended"] {
            assert!(!output.errors().contains(wrong), "{}", output.story());
        }
    }
    field.clear();
    field.check();
    field.clear();
    field.run("import -q IMAGE next").exits(0);
    field.run("rmi next").ok();
    field.barge.has_files(&before, "all that was made is gone again");
    field.barge.leaves_nothing();
}
