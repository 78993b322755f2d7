#!/bin/bash
# Measures what commands cost with one container and with many: they must not notice the others.
#
#   benches/scale.sh [COUNT] [ROUNDS]     1,000 stopped containers and 20 rounds by default
#
# CPU is all that an operation cost anywhere, in milliseconds, the median of the rounds. The last column
# is the ratio of many to one, taken in turn within one run. Needs root and busybox-static.
set -euo pipefail
cd "$(dirname "$0")/.."
count=${1:-1000}
rounds=${2:-20}
export LC_ALL=C

if [ "$(id -u)" -ne 0 ]; then
    echo "this needs root" >&2
    exit 1
fi

work=$(mktemp -d /tmp/barge-bench.XXXXXX)
finish() {
    for store in one many; do
        "$work/barge" --root "$work/$store" --runroot "$work/r-$store" rm -f -t 0 -a >/dev/null 2>&1 || true
    done
    [ ! -d "$work/group" ] || leave_group
    rm -rf "$work"
}
trap finish EXIT

. benches/executable.sh
cp "$BARGE" "$work/barge"
. benches/measure.sh

in_store() { "$work/barge" --root "$work/$1" --runroot "$work/r-$1" "${@:2}"; }

mkdir -p "$work/rootfs/bin"
cp "$(command -v busybox)" "$work/rootfs/bin/busybox"
ln -s busybox "$work/rootfs/bin/true"
for store in one many; do
    tar -C "$work/rootfs" -c . | in_store $store import - busybox >/dev/null 2>&1
    in_store $store create --network none --name first busybox true >/dev/null
done
echo "making $count containers" >&2
for ((i = 1; i < count; i++)); do
    in_store many create --network none --name "box-$i" busybox true >/dev/null
done

# measure NAME STORE COMMAND...: notes what the command costs.
measure() {
    local name=$1 store=$2 begin
    begin=$(cpu)
    in_store "$store" "${@:3}" >/dev/null
    echo $(($(cpu) - begin)) >>"$work/$name.$store"
}

for ((round = 0; round < rounds; round++)); do
    for store in one many; do
        measure ps $store ps
        measure "ps-a" $store ps -a
        measure create $store create --network none --name extra busybox true
        measure inspect $store inspect extra
        measure rename $store rename extra other
        measure rm $store rm other
        measure run $store run --rm --network none busybox true
    done
done

printf '%-10s %10s %10s %8s\n' "CPU ms" one "$count" ratio
for name in ps ps-a create inspect rename rm run; do
    one=$(median "$work/$name.one") many=$(median "$work/$name.many")
    awk -v n=$name -v a="$one" -v b="$many" \
        'BEGIN { printf "%-10s %10.1f %10.1f %8.2f\n", n, a / 1000, b / 1000, b / a }'
done
