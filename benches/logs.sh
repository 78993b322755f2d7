#!/bin/bash
# Measures how fast output is logged and read back, and the memory of a monitor, as ratios within one
# run.
#
#   benches/logs.sh [ROUNDS]           5 rounds by default
#
# A million lines of 100 bytes go from `cat` of busybox into the log, beside the same bytes through a
# pipe into a file. Reading back goes to /dev/null. Everything is written to the same file system.
# Root measures. Needs busybox-static. `BARGE=FILE` measures that executable.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}
export LC_ALL=C

if [ "$(id -u)" -ne 0 ]; then
    echo "this needs root" >&2
    exit 1
fi

work=$(mktemp -d /tmp/barge-bench.XXXXXX)
finish() {
    "$work/barge" --root "$work/s" --runroot "$work/r" rm -f -t 0 -a >/dev/null 2>&1 || true
    [ ! -d "$work/group" ] || leave_group
    rm -rf "$work"
}
trap finish EXIT

. benches/executable.sh
cp "$BARGE" "$work/barge"
barge=("$work/barge" --root "$work/s" --runroot "$work/r")

. benches/measure.sh

# --- the image: busybox and a million lines
mkdir -p "$work/bb/bin" "$work/bb/etc" "$work/bb/proc" "$work/bb/sys" "$work/bb/dev" "$work/bb/tmp"
cp /bin/busybox "$work/bb/bin/"
for name in sh cat sleep true; do ln -s busybox "$work/bb/bin/$name"; done
line=$(printf '%099d' 0 | tr 0 x)
yes "$line" 2>/dev/null | head -n 1000000 >"$work/bb/lines" || true
tar -C "$work/bb" -cf "$work/bb.tar" .
"${barge[@]}" import "$work/bb.tar" bb >/dev/null 2>&1
lines="$work/bb/lines"

# The containers are there already: what is measured is from start to end.
for driver in k8s-file json-file none; do
    "${barge[@]}" create --name "$driver" --network none --log-driver "$driver" bb cat /lines >/dev/null
done
"${barge[@]}" create --name silent --network none bb true >/dev/null
# A monitor that has told of the end may still wait for the disk: the next run is not to wait for it.
before_each() {
    local mark
    rm -f "$work/piped" "$work"/s/containers/*/log
    for mark in "$work"/r/containers/*/monitor; do
        [ ! -e "$mark" ] || flock --shared "$mark" true
    done
    sync -f "$work"
}

piped() { busybox cat "$lines" | cat >"$work/piped"; }
written() {
    "${barge[@]}" start "$1" >/dev/null
    "${barge[@]}" wait "$1" >/dev/null
}
k8s() { written k8s-file; }
json() { written json-file; }
unlogged() { written none; }
silent() { written silent; }
title "a million lines of 100 bytes into the log, start and end of the container included"
interleave pipe=piped k8s-file=k8s json-file=json none=unlogged "start and end alone"=silent

before_each() { :; }
k8s && json
plain() { cat "$lines"; }
read_k8s() { "${barge[@]}" logs k8s-file; }
read_json() { "${barge[@]}" logs json-file; }
title "the same, read back (100 MB)"
interleave cat=plain k8s-file=read_k8s json-file=read_json
for ((round = 0; round < rounds; round++)); do
    t0=$(now)
    read_k8s >/dev/null
    echo $(($(now) - t0)) >>"$work/read"
done
printf 'logs of k8s-file: %d MB/s\n' $((100000000 / $(median "$work/read")))

title "memory of a monitor (kB)"
"${barge[@]}" run -d --name still --network none bb sleep 1000 >/dev/null
"${barge[@]}" exec still true
monitor=$("${barge[@]}" inspect --format '{{.State.ConmonPid}}' still)
# It gives memory back once it has settled.
sleep 3
awk '/^(Rss|Pss|Private_Dirty|Anonymous):/ { printf "%s %s\n", $1, $2 }' "/proc/$monitor/smaps_rollup"
