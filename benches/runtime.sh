#!/bin/bash
# Measures `barge runtime run` of a bundle against crun and runc, as ratios within one run.
#
#   benches/runtime.sh [ROUNDS]        50 rounds by default
#
# All see control groups of version 2 alone, in mounts of their own: crun refuses any other machine.
# Wall times are medians; CPU is all that an operation cost anywhere. The last table has the memory
# that setting a container up takes beyond the executable's pages. Needs root, busybox-static, python3,
# crun and runc. `BARGE=FILE` measures that executable.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-50}
export LC_ALL=C

if [ "$(id -u)" -ne 0 ]; then
    echo "this needs root" >&2
    exit 1
fi
if [ -z "${BENCH_MOUNTS:-}" ]; then
    BENCH_MOUNTS=own exec unshare --mount "$0" "$@"
fi

work=$(mktemp -d /tmp/barge-bench.XXXXXX)
finish() {
    [ ! -d "$work/group" ] || leave_group
    umount --lazy "$work/run" "$work/cgroup" 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap finish EXIT
mkdir "$work/run" "$work/bin"
mount -t tmpfs none "$work/run"

. benches/executable.sh
cp "$BARGE" "$work/bin/barge"

. benches/measure.sh
if [ "$(stat -fc %T /sys/fs/cgroup)" != cgroup2fs ]; then
    # What counts the processor time stays in sight.
    mkdir "$work/cgroup"
    mount --bind "$group" "$work/cgroup"
    group=$work/cgroup
    mount -t cgroup2 none /sys/fs/cgroup
fi

bundle=$work/bundle
mkdir -p "$bundle/rootfs/bin" "$bundle/rootfs/proc" "$bundle/rootfs/dev" "$bundle/rootfs/sys"
cp /bin/busybox "$bundle/rootfs/bin/"
ln -s busybox "$bundle/rootfs/bin/true"
"$work/bin/barge" runtime spec --bundle "$bundle"
# crun of Debian 12 knows no later version, and loads no program for devices unless it may lock memory.
python3 - "$bundle/config.json" <<'PYTHON'
import json, sys
with open(sys.argv[1]) as file:
    config = json.load(file)
config["ociVersion"] = "1.0.2"
config["process"].update(terminal=False, args=["true"])
config["linux"].pop("resources", None)
with open(sys.argv[1], "w") as file:
    json.dump(config, file)
PYTHON

own() { "$work/bin/barge" runtime --root "$work/run/barge" run --bundle "$bundle" bench-barge; }
peer_crun() { crun --root "$work/run/crun" run --bundle "$bundle" bench-crun; }
peer_runc() { runc --root "$work/run/runc" run --bundle "$bundle" bench-runc; }
title "run of a bundle of busybox: true"
interleave crun=peer_crun barge=own runc=peer_runc

title "most memory of one process, KiB: pages of its own, and those of files that it has mapped"
for name in crun barge runc; do
    case $name in
        barge) line=("$work/bin/barge" runtime --root "$work/run/barge" run --bundle "$bundle" bench-barge) ;;
        *) line=("$name" --root "$work/run/$name" run --bundle "$bundle" "bench-$name") ;;
    esac
    python3 - "${line[@]}" <<'PYTHON'
import os, resource, sys
pid = os.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
_, status, used = os.wait4(pid, 0)
print("%-34s %10d" % (os.path.basename(sys.argv[1]), used.ru_maxrss))
PYTHON
done
