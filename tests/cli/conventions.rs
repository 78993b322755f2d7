//! What scripts know of each command: the status, and the words that they look for.

use super::support::{Barge, is_root};

/// What is written to a stream.
#[derive(Clone, Copy)]
enum Written {
    Nothing,
    Is(&'static str),
    Has(&'static str),
    Anything,
}

use Written::{Anything, Has, Is, Nothing};

type Case = (&'static str, i32, Written, Written);

/// Runs each line, split at its spaces, and tells of all that differ.
#[track_caller]
fn check(barge: &Barge, cases: &[Case]) {
    let mut wrong = Vec::new();
    for (line, status, stdout, stderr) in cases {
        let output = barge.run(line.split_whitespace());
        let is = |written: &Written, bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            match written {
                Nothing => text.is_empty(),
                Is(want) => text == *want,
                Has(part) => text.contains(part),
                Anything => true,
            }
        };
        if output.status != *status || !is(stdout, &output.stdout) || !is(stderr, &output.stderr) {
            wrong.push(output.story());
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

const NO_SUCH: Written =
    Is("Error: no container with name or ID \"nosuch\" found: no such container\n");

#[test]
fn words_that_are_wrong_are_told_in_known_words() {
    let barge = Barge::new();
    check(
        &barge,
        &[
            (
                "run --nosuch",
                125,
                Nothing,
                Is("Error: unknown flag: --nosuch\nSee 'barge run --help'\n"),
            ),
            (
                "ps -Z",
                125,
                Nothing,
                Is("Error: unknown shorthand flag: 'Z' in -Z\nSee 'barge ps --help'\n"),
            ),
            (
                "run -h",
                125,
                Nothing,
                Is("Error: flag needs an argument: 'h' in -h\nSee 'barge run --help'\n"),
            ),
            (
                "run --name",
                125,
                Nothing,
                Is("Error: flag needs an argument: --name\nSee 'barge run --help'\n"),
            ),
            (
                "nosuch",
                125,
                Nothing,
                Is(
                    "Error: unrecognized command `barge nosuch`\nTry 'barge --help' for more information\n",
                ),
            ),
            (
                "container nosuch",
                125,
                Nothing,
                Has("Error: unrecognized command `barge container nosuch`\n"),
            ),
            ("cp", 125, Nothing, Is("Error: accepts 2 arg(s), received 0\n")),
            ("tag", 125, Nothing, Is("Error: requires at least 2 arg(s), only received 0\n")),
            ("run", 125, Nothing, Is("Error: requires at least 1 arg(s), only received 0\n")),
            (
                "container",
                125,
                Has("Usage:\n  barge container [command]\n"),
                Is("Error: missing command 'barge container COMMAND'\n"),
            ),
            ("--help", 0, Has("Available Commands:\n"), Nothing),
            ("run --help", 0, Has("Usage:\n  barge run [options] IMAGE"), Nothing),
            ("help run", 0, Has("Usage:\n  barge run [options] IMAGE"), Nothing),
            ("--log-level bogus ps", 1, Nothing, Has("Log Level \"bogus\" is not supported")),
            ("--log-level WARN ps -q", 0, Nothing, Nothing),
            ("-l info ps -q", 0, Nothing, Nothing),
            ("-D --syslog ps -q", 0, Nothing, Nothing),
            (
                "--debug --log-level info ps",
                1,
                Nothing,
                Has("Setting --log-level and --debug is not allowed"),
            ),
            ("--noout images", 0, Nothing, Nothing),
            (
                "--tmpdir /tmp --cgroup-manager cgroupfs --events-backend file ps -q",
                0,
                Nothing,
                Nothing,
            ),
            ("--runtime /usr/bin/barge --runtime-flag debug ps -q", 0, Nothing, Nothing),
            (
                "--runtime crun ps",
                125,
                Nothing,
                Has("Error: cannot run containers by `crun`: barge runs them itself\n"),
            ),
            (
                "--conmon /x ps",
                125,
                Nothing,
                Has("See 'barge --help'\nHint: barge itself watches over each container\n"),
            ),
            ("start --checkpoint x y", 125, Nothing, Has("Hint: `barge container restore`")),
            (
                "create --init-ctr once x",
                125,
                Nothing,
                Has("of pods, of which there are none yet\n"),
            ),
            ("container clone --pod x y", 125, Nothing, Has("Hint: there are no pods yet\n")),
        ],
    );
}

#[test]
fn what_is_not_there_is_told_in_known_words() {
    let barge = Barge::new();
    check(
        &barge,
        &[
            ("start nosuch", 125, Nothing, NO_SUCH),
            ("stop nosuch", 125, Nothing, NO_SUCH),
            ("restart nosuch", 125, Nothing, NO_SUCH),
            ("kill nosuch", 125, Nothing, NO_SUCH),
            ("pause nosuch", 125, Nothing, NO_SUCH),
            ("unpause nosuch", 125, Nothing, NO_SUCH),
            ("wait nosuch", 125, Nothing, NO_SUCH),
            ("logs nosuch", 125, Nothing, NO_SUCH),
            ("top nosuch", 125, Nothing, NO_SUCH),
            ("port nosuch", 125, Nothing, NO_SUCH),
            ("attach nosuch", 125, Nothing, NO_SUCH),
            ("export nosuch", 125, Nothing, NO_SUCH),
            ("commit nosuch", 125, Nothing, NO_SUCH),
            ("init nosuch", 125, Nothing, NO_SUCH),
            ("update nosuch", 125, Nothing, NO_SUCH),
            ("stats --no-stream nosuch", 125, Nothing, NO_SUCH),
            ("exec nosuch true", 125, Nothing, NO_SUCH),
            ("rename nosuch x", 125, Nothing, NO_SUCH),
            ("healthcheck run nosuch", 125, Nothing, NO_SUCH),
            (
                "rm nosuch",
                1,
                Nothing,
                Is("Error: no container with ID or name \"nosuch\" found: no such container\n"),
            ),
            ("rm -f nosuch", 0, Nothing, Nothing),
            ("rm --ignore nosuch", 0, Nothing, Nothing),
            ("stop --ignore nosuch", 0, Nothing, Nothing),
            ("wait --ignore nosuch", 0, Is("-1\n"), Nothing),
            ("inspect nosuch", 125, Is("[]\n"), Is("Error: no such object: \"nosuch\"\n")),
            ("container inspect nosuch", 125, Is("[]\n"), Has("no such container \"nosuch\"")),
            ("image inspect nosuch", 125, Is("[]\n"), Has("nosuch: image not known")),
            ("volume inspect nosuch", 125, Is("[]\n"), Has("no such volume nosuch")),
            (
                "network inspect nosuch",
                125,
                Is("[]\n"),
                Has(
                    "network nosuch: unable to find network with name or ID nosuch: network not found",
                ),
            ),
            ("container exists nosuch", 1, Nothing, Nothing),
            ("container exists --external nosuch", 1, Nothing, Nothing),
            ("image exists nosuch", 1, Nothing, Nothing),
            ("volume exists nosuch", 1, Nothing, Nothing),
            ("network exists nosuch", 1, Nothing, Nothing),
            ("secret exists nosuch", 1, Nothing, Nothing),
            ("run --pull never nosuch true", 125, Nothing, Has("Error: nosuch: image not known\n")),
        ],
    );
}

#[test]
fn what_a_container_cannot_be_is_told_in_known_words() {
    let barge = Barge::with_busybox();
    barge.run(["create", "--network=none", "--name", "box", "busybox", "true"]).ok();
    check(
        &barge,
        &[
            ("create --name -bad busybox true", 125, Nothing, Has("Error: ")),
            (
                "create --name box busybox true",
                125,
                Nothing,
                Has(
                    "You have to remove that container to be able to reuse that name: that name is already in use\n",
                ),
            ),
            (
                "create --rmi --rm=false busybox true",
                125,
                Nothing,
                Has("the --rmi option does not work without --rm"),
            ),
            ("create --pull bogus busybox true", 125, Nothing, Has("bogus")),
            ("create --umask 99 busybox true", 125, Nothing, Has("invalid umask")),
            (
                "create --group-add keep-groups --group-add 5 busybox true",
                125,
                Nothing,
                Has("keep-groups"),
            ),
            (
                "create --ulimit core=-1:1000 busybox true",
                125,
                Nothing,
                Is(
                    "Error: ulimit option \"core=-1:1000\" requires name=SOFT:HARD, failed to be parsed: ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 1000\n",
                ),
            ),
            (
                "create --mount type=bind,src=/tmp busybox true",
                125,
                Nothing,
                Has("must set volume destination"),
            ),
            (
                "create -v a:/m -v b:/m busybox true",
                125,
                Nothing,
                Has("Error: /m: duplicate mount destination"),
            ),
            (
                "create --restart bogus busybox true",
                125,
                Nothing,
                Has("\"bogus\" is not a valid restart policy"),
            ),
            (
                "create --log-driver bogus busybox true",
                125,
                Nothing,
                Has("running container create option: invalid log driver: invalid argument"),
            ),
            (
                "create --stop-signal 99 busybox true",
                125,
                Nothing,
                Has("valid signals are 1 through 64"),
            ),
            ("create --stop-signal bogus busybox true", 125, Nothing, Has("invalid signal: bogus")),
            (
                "create --sdnotify bogus busybox true",
                125,
                Nothing,
                Has("invalid sdnotify value \"bogus\""),
            ),
            (
                "create --network bogus busybox true",
                125,
                Nothing,
                Has("unable to find network with name or ID bogus: network not found"),
            ),
            (
                "create --memory-swappiness 200 busybox true",
                125,
                Nothing,
                Has("invalid value: 200, valid memory swappiness range is 0-100"),
            ),
            (
                "start --all box",
                125,
                Nothing,
                Has("either start all containers or the container(s) provided in the arguments"),
            ),
            ("top box", 125, Nothing, Has("top can only be used on running containers")),
            (
                "exec box true",
                125,
                Nothing,
                Has("can only create exec sessions on running containers"),
            ),
            (
                "exec box",
                125,
                Nothing,
                Has("must provide a non-empty command to start an exec session"),
            ),
            ("pause box", 125, Nothing, Has("container state improper")),
            ("attach box", 125, Nothing, Has("you can only attach to running containers")),
            ("wait --condition bogus box", 125, Nothing, Has("bogus")),
            (
                "logs --tail x box",
                125,
                Nothing,
                Has("Error: invalid argument \"x\" for \"--tail\" flag: it is not a number\n"),
            ),
            ("logs --since bogus box", 125, Nothing, Has("bogus")),
            ("ps --filter bogus=1", 125, Nothing, Has("Error: bogus is an invalid filter\n")),
            (
                "ps --sort bogus",
                125,
                Nothing,
                Has("invalid argument \"bogus\" for \"--sort\" flag"),
            ),
            ("ps -q --size", 125, Nothing, Has("cannot be set together")),
            ("ps -a --format {{.Nosuch}}", 125, Anything, Has("Nosuch")),
            ("ps -a --format {{.ID}} --format {{.Names}}", 0, Is("box\n"), Nothing),
            (
                "ps -a --format {{.AutoRemove}},{{.IsInfra}},{{.ExitCode}},{{.PIDNS}}",
                0,
                Is("false,false,0,\n"),
                Nothing,
            ),
            ("inspect --format {{.State.Status}} /box", 0, Is("created\n"), Nothing),
            (
                "cp /nosuch/f box:/",
                125,
                Nothing,
                Has("Error: \"/nosuch/f\" could not be found on the host"),
            ),
            ("rm box", 0, Is("box\n"), Nothing),
            ("create --stop-timeout -1 --name endless busybox true", 0, Anything, Nothing),
            (
                "create --cpus 0.001 busybox true",
                125,
                Nothing,
                Is("Error: the least number of CPUs is 0.01\n"),
            ),
            (
                "create --cpu-period 5 busybox true",
                125,
                Nothing,
                Has("CPU cfs period cannot be less than 1ms (i.e. 1000) or larger than 1s"),
            ),
            (
                "create --cpu-quota 5 busybox true",
                125,
                Nothing,
                Has("CPU cfs quota cannot be less than 1ms (i.e. 1000)"),
            ),
            (
                "create --cpuset-cpus 0,8000 busybox true",
                125,
                Nothing,
                Has("requested CPUs are not available - requested 0,8000, available: 0"),
            ),
            (
                "update --cpuset-cpus 8000 endless",
                125,
                Nothing,
                Has("requested CPUs are not available"),
            ),
            (
                "create --cpuset-mems x busybox true",
                125,
                Nothing,
                Has("invalid set of memory nodes: `x` is no list of numbers"),
            ),
            (
                "create -m 10m --memory-reservation 20m busybox true",
                125,
                Nothing,
                Has("minimum memory limit can not be less than memory reservation limit"),
            ),
            // More processors than there are, are no limit.
            ("run --rm --network none --cpus 4000 busybox true", 0, Nothing, Anything),
        ],
    );
    if is_root() {
        check(
            &barge,
            &[
                (
                    "create --device-cgroup-rule bogus busybox true",
                    125,
                    Nothing,
                    Has(
                        "invalid device cgroup rule requires type, major:Minor, and access rules: \"bogus\"",
                    ),
                ),
                (
                    "create --userns nomap busybox true",
                    125,
                    Nothing,
                    Has("nomap is only supported in rootless mode"),
                ),
            ],
        );
    }
}
