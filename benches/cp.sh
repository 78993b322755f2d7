#!/bin/bash
# Measures `barge cp` beside `cp -a`, as ratios within one run.
#
#   benches/cp.sh [ROUNDS]           5 rounds by default
#
# A file of 500 MB and a tree of 20,000 files go into a volume of a container that runs, and back.
# `cp -a` copies the same from and to the same file system. The executable is built for release, unless
# BARGE names another one. Needs busybox-static.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}
export LC_ALL=C

work=$(mktemp -d /tmp/barge-bench.XXXXXX)
finish() {
    "${barge[@]}" rm -f -t 0 c >/dev/null 2>&1 || true
    "${barge[@]}" volume rm -f data >/dev/null 2>&1 || true
    rm -rf "$work"
}
. benches/executable.sh
cp "$BARGE" "$work/barge"
barge=("$work/barge" --root "$work/s" --runroot "$work/r")
trap finish EXIT

mkdir -p "$work/image/bin" "$work/tree"
cp /bin/busybox "$work/image/bin/"
tar -C "$work/image" -c . | "${barge[@]}" import - busybox >/dev/null 2>&1
"${barge[@]}" run -d --name c --network none -v data:/data busybox /bin/busybox sleep 100000 >/dev/null
head -c 500000000 /dev/urandom >"$work/file"
for directory in $(seq 200); do
    mkdir "$work/tree/$directory"
    for file in $(seq 100); do echo "$directory $file" >"$work/tree/$directory/$file"; done
done

# Prints the shortest time of some rounds, in milliseconds; `$1` undoes what the rest does.
shortest() {
    local undo=$1 best=
    shift
    for _ in $(seq "$rounds"); do
        eval "$undo"
        sync -f "$work"
        local begin end
        begin=$(date +%s%N)
        "$@"
        end=$(date +%s%N)
        local took=$(((end - begin) / 1000000))
        if [ -z "$best" ] || [ $took -lt "$best" ]; then best=$took; fi
    done
    echo "$best"
}

data=$work/s/volumes/data/_data
for what in file tree; do
    floor=$(shortest 'rm -rf "$work/floor"' cp -a "$work/$what" "$work/floor")
    into=$(shortest 'rm -rf "$data/$what"' "${barge[@]}" cp "$work/$what" "c:/data/$what")
    back=$(shortest 'rm -rf "$work/back"' "${barge[@]}" cp "c:/data/$what" "$work/back")
    awk -v what=$what -v floor="$floor" -v into="$into" -v back="$back" 'BEGIN {
        printf "%-5s cp -a %d ms, into %.2f x, back %.2f x\n", what, floor, into / floor, back / floor
    }'
done
