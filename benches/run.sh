#!/bin/bash
# Measures barge against the least that the kernel allows, as ratios within one run.
#
#   benches/run.sh [ROUNDS]            100 rounds by default; images are measured by images.sh
#
# Rounds go through all candidates in turn, so that a busy machine hurts all of them alike.
# Wall times are medians. CPU is all that an operation cost anywhere: the control group of this
# script and the containers' own are added up. Root measures, also as the user `barge-test`, whom
# `tests/run` makes. Needs gcc, e2fsprogs and busybox-static. `BARGE=FILE` measures that executable.
#
# All is on a new ext4 with a journal, on a loop device, and run directories are in memory, as /run is:
# without a journal, ext4 goes by every file that was removed in the last minute to make another,
# and what is measured is how many the rounds before have removed.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-100}
export LC_ALL=C

if [ "$(id -u)" -ne 0 ]; then
    echo "this needs root" >&2
    exit 1
fi

if [ -z "${BENCH_MOUNTS:-}" ]; then
    BENCH_MOUNTS=own exec unshare --mount "$0" "$@"
fi

disk=$(mktemp /tmp/barge-bench.XXXXXX.disk)
work=${disk%.disk}
finish() {
    "$work/bin/barge" --root "$work/s" --runroot "$work/r" rm -f -t 0 -a >/dev/null 2>&1 || true
    [ ! -d "$work/group" ] || leave_group
    umount "$work/r" "$work/u/r" 2>/dev/null || true
    umount --lazy "$work" || true
    rm -rf "$work" "$disk"
}
trap finish EXIT
mkdir -m 755 "$work"
truncate -s 4G "$disk"
mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$disk"
mount -o loop "$disk" "$work"
mkdir "$work/r"
mount -t tmpfs none "$work/r"

. benches/executable.sh
mkdir "$work/bin"
# Where nothing is mounted below, as nothing is below /usr/bin: barge protects it by an overlay of that.
cp "$BARGE" "$work/bin/barge"
gcc -O2 -static -o "$work/floor" benches/floor.c
barge=("$work/bin/barge" --root "$work/s" --runroot "$work/r")

. benches/measure.sh

# --- the image: busybox alone
mkdir -p "$work/bb/bin" "$work/bb/etc" "$work/bb/proc" "$work/bb/sys" "$work/bb/dev" "$work/bb/tmp" "$work/scratch"
cp /bin/busybox "$work/bb/bin/"
for name in sh true sleep cat; do ln -s busybox "$work/bb/bin/$name"; done
tar -C "$work/bb" -cf "$work/bb.tar" .
"${barge[@]}" import "$work/bb.tar" bb >/dev/null 2>&1

nothing() { /bin/true; }
floor() { "$work/floor" "$work/bb" "$work/scratch" /bin/true; }
run_none() { "${barge[@]}" run --rm --network none bb true; }
title "run --rm bb true, root (fork and exec of a process alone: \`nothing\`)"
interleave floor=floor run-network-none=run_none nothing=nothing

# --- without root
if id barge-test >/dev/null 2>&1; then
    install -d -o barge-test -m 700 "$work/u" "$work/u/x" "$work/u/r" "$work/u/scratch"
    mount -t tmpfs -o uid=barge-test,mode=700 none "$work/u/r"
    as_user=(setpriv --reuid=barge-test --regid=barge-test --init-groups
        env HOME="$work/u" XDG_RUNTIME_DIR="$work/u/x")
    user_barge=("${as_user[@]}" "$work/bin/barge" --root "$work/u/s" --runroot "$work/u/r")
    "${user_barge[@]}" import "$work/bb.tar" bb >/dev/null 2>&1
    user_floor() { "${as_user[@]}" "$work/floor" -u "$work/bb" "$work/u/scratch" /bin/true; }
    user_run() { "${user_barge[@]}" run --rm --network none bb true; }
    user_nothing() { "${as_user[@]}" /bin/true; }
    title "run --rm --network none bb true, without root (all through setpriv and env)"
    interleave floor=user_floor run-network-none=user_run nothing=user_nothing
fi

# --- small commands
"${barge[@]}" run -d --network none --name box bb sleep 100000 >/dev/null
pid=$("${barge[@]}" inspect --format '{{.State.Pid}}' box)
enter() { nsenter -t "$pid" -m -u -i -n -p -C -r -w /bin/true; }
execute() { "${barge[@]}" exec box true; }
version() { "${barge[@]}" version; }
list() { "${barge[@]}" ps; }
inspect() { "${barge[@]}" inspect box; }
title "exec true in a running container"
interleave nsenter=enter exec=execute
title "small commands, one container running"
interleave nothing=nothing version=version ps=list inspect=inspect

# --- the monitor
title "memory of a monitor, KiB"
monitor=$(for file in /proc/[0-9]*/cmdline; do
    line=$(tr '\0' ' ' 2>/dev/null <"$file") || continue
    case $line in "barge: monitor "*" $work/s "*) process=${file#/proc/} && echo "${process%/cmdline}" ;; esac
done | head -n 1)
awk '/^(Rss|Pss|Private_Dirty):/ { printf "%-34s %10d\n", $1, $2 }' "/proc/$monitor/smaps_rollup"
"${barge[@]}" rm -f -t 0 box >/dev/null
