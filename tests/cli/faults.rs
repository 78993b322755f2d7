//! System calls that fail: each command says what it could not do, and the store is whole after it.
//!
//! strace makes the calls fail, in the command and in all that it starts. By default one call of each kind in
//! each command, at a place that looks random; with `BARGE_TEST_ROUNDS=N`, the first N of each.

use std::fs;
use std::time::Duration;

use super::campaign::{Field, Random, number};
use super::support::{Need, needs};

/// What there is before a command, and the command.
const DEEDS: [(&[&str], &str); 14] = [
    (&[], "create --name box -v /anonymous busybox true"),
    (&[], "run --rm --network none busybox true"),
    (&["create --name box busybox true"], "rm box"),
    (&["create --name box busybox true"], "rename box other"),
    (&["create --name box busybox true"], "update --restart always box"),
    (&["create --name box busybox true"], "commit -q box committed"),
    (&["create --name box busybox true"], "cp DIR box:/tmp"),
    (&[], "load -q -i IMAGE"),
    (&[], "import -q IMAGE other"),
    (&["load -q -i IMAGE"], "rmi copy"),
    (&[], "build -q --no-cache -t built DIR"),
    (&[], "volume create made"),
    (&["volume create made"], "volume rm made"),
    (&[], "network create made"),
];

/// System calls that change the store, and how they fail. rmdir(2) is not among them: it removes control
/// groups, which nobody can do later once their container is gone.
const CALLS: [(&str, &str); 9] = [
    ("mkdir,mkdirat", "ENOSPC"),
    ("rename,renameat,renameat2", "EIO"),
    ("fsync,fdatasync", "EIO"),
    ("symlink,symlinkat", "ENOSPC"),
    ("link,linkat", "ENOSPC"),
    ("unlink,unlinkat", "EIO"),
    ("ftruncate", "ENOSPC"),
    ("fchown,fchownat,chown", "EIO"),
    ("write,pwrite64,copy_file_range", "ENOSPC"),
];

/// Runs a command of which the call of this number fails in each process. Tells whether one did.
fn run_with_fault(field: &Field, line: &str, calls: &str, error: &str, number: u64) -> bool {
    let log = field.barge.path_text("strace.log");
    let (trace, inject) =
        (format!("trace={calls}"), format!("inject={calls}:error={error}:when={number}"));
    let program = field.barge.program().display().to_string();
    let mut words =
        ["-f", "-qq", "-o", &log, "-e", &trace, "-e", &inject].map(str::to_owned).to_vec();
    let (root, runroot) = (field.barge.root(), field.barge.runroot());
    words.extend([program, "--root".to_owned(), root.display().to_string()]);
    words.extend(["--runroot".to_owned(), runroot.display().to_string()]);
    words.extend(field.words(line));
    let output = field.barge.other_command("strace", words).limit(Duration::from_secs(120)).run();
    let story = format!("call {number} of {calls} fails with {error}: {}", output.story());
    assert!(!output.errors().contains("panicked"), "{story}");
    // Whoever cannot write says nothing, but by the status.
    let is_told = output.errors().contains("Error: ") || calls.starts_with("write");
    assert!(output.status == 0 || is_told, "{story}");
    let text = fs::read(&log).unwrap_or_default();
    String::from_utf8_lossy(&text).contains("(INJECTED)")
}

#[test]
fn whatever_fails_is_told_and_the_store_is_whole() {
    if !needs(&[Need::Root, Need::Tool("strace")]) {
        return;
    }
    let field = Field::new();
    field.clear();
    field.check();
    let before = field.barge.files();
    let rounds = number("BARGE_TEST_ROUNDS", 0);
    let mut random = Random::new(number("BARGE_TEST_SEED", 1));
    let mut failed = 0;
    for (prepare, line) in DEEDS {
        for (calls, error) in CALLS {
            let all = if rounds == 0 { 1..=1 } else { 1..=rounds };
            for number in all {
                let number = if rounds == 0 { 1 + random.below(4) } else { number };
                prepare.iter().for_each(|line| drop(field.run(line)));
                let has_failed = run_with_fault(&field, line, calls, error, number);
                let told = format!("`{line}`, of which call {number} of {calls} failed");
                let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    field.check();
                    field.clear();
                }));
                assert!(checked.is_ok(), "{told}");
                failed += u32::from(has_failed);
                if !has_failed {
                    break;
                }
            }
        }
        field.run("import -q IMAGE next").exits(0);
        field.run("rmi next").ok();
        field.barge.has_files(&before, &format!("`{line}` has left nothing"));
    }
    assert!(failed > 20, "only {failed} calls have failed");
    field.barge.leaves_nothing();
}
