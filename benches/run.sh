#!/bin/bash
# Measures barge against the least that the kernel allows, as ratios within one run.
#
#   benches/run.sh [ROUNDS]            100 rounds by default
#
# Rounds go through all candidates in turn, so that a busy machine hurts all of them alike.
# Wall times are medians. CPU is all that an operation cost anywhere: the control group of this
# script and the containers' own are added up. Root measures, also as the user `barge-test`, whom
# `tests/run` makes. Needs gcc, busybox-static, curl, docker-registry, skopeo.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-100}
export LC_ALL=C

if [ "$(id -u)" -ne 0 ]; then
    echo "this needs root" >&2
    exit 1
fi

work=$(mktemp -d /tmp/barge-bench.XXXXXX)
chmod 755 "$work"
registry=
finish() {
    [ -z "$registry" ] || kill "$registry" 2>/dev/null || true
    "$work/barge" --root "$work/s" --runroot "$work/r" rm -f -t 0 -a >/dev/null 2>&1 || true
    [ ! -d "$work/group" ] || leave_group
    rm -rf "$work"
}
trap finish EXIT

echo "building" >&2
cargo build --release --locked --quiet
cp "$(find target -path '*/release/barge' -type f -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)" "$work/barge"
gcc -O2 -static -o "$work/floor" benches/floor.c
barge=("$work/barge" --root "$work/s" --runroot "$work/r")

# A control group whose processor time is this script's and that of all it starts.
group=
for candidate in /sys/fs/cgroup/cpuacct /sys/fs/cgroup/cpu,cpuacct /sys/fs/cgroup /sys/fs/cgroup/unified; do
    if [ -e "$candidate/cgroup.procs" ] && mkdir "$candidate/barge-bench-$$" 2>/dev/null; then
        group=$candidate
        break
    fi
done
mkdir "$work/group"
before_group=$(cat /proc/self/cgroup)
echo $$ >"$group/barge-bench-$$/cgroup.procs"
leave_group() {
    local name=${group##*/} path=/
    path=$(awk -F: -v n="$name" '$2 == n || (n == "unified" && $1 == 0) { print $3 }' <<<"$before_group")
    echo $$ >"$group${path:-/}/cgroup.procs" 2>/dev/null || echo $$ >"$group/cgroup.procs"
    rmdir "$group/barge-bench-$$" 2>/dev/null || true
    rmdir "$work/group"
}

# cpu: prints the microseconds of processor time spent so far.
cpu() {
    local place sum=0 value
    for place in "$group/barge-bench-$$" "$group/barge"; do
        if [ -e "$place/cpuacct.usage" ]; then
            read -r value <"$place/cpuacct.usage"
            sum=$((sum + value / 1000))
        elif [ -e "$place/cpu.stat" ]; then
            read -r _ value <"$place/cpu.stat"
            sum=$((sum + value))
        fi
    done
    echo $sum
}

now() { local t=$EPOCHREALTIME; echo $((${t%.*} * 1000000 + 10#${t#*.})); }

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# interleave NAME=FUNCTION...: runs the functions in turn and prints a table; the first is the base.
interleave() {
    local entry name round t0 c0 base_wall= base_cpu= wall spent
    for entry in "$@"; do
        "${entry#*=}" >/dev/null 2>&1
    done
    for ((round = 0; round < rounds; round++)); do
        for entry in "$@"; do
            name=${entry%%=*}
            c0=$(cpu) t0=$(now)
            "${entry#*=}" >/dev/null
            echo $(($(now) - t0)) >>"$work/wall.$name"
            echo $(($(cpu) - c0)) >>"$work/cpu.$name"
        done
    done
    printf '%-34s %10s %10s %8s %8s\n' "" "wall ms" "cpu ms" "x wall" "x cpu"
    for entry in "$@"; do
        name=${entry%%=*}
        wall=$(median "$work/wall.$name") spent=$(median "$work/cpu.$name")
        base_wall=${base_wall:-$wall} base_cpu=${base_cpu:-$spent}
        awk -v n="$name" -v w="$wall" -v c="$spent" -v bw="$base_wall" -v bc="$base_cpu" \
            'BEGIN { printf "%-34s %10.2f %10.2f %8.2f %8.2f\n", n, w / 1000, c / 1000, w / bw, (bc ? c / bc : 0) }'
        rm -f "$work/wall.$name" "$work/cpu.$name"
    done
}

title() { printf '\n## %s\n' "$*"; }

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
    install -d -o barge-test -m 700 "$work/u" "$work/u/x" "$work/u/scratch"
    as_user=(setpriv --reuid=barge-test --regid=barge-test --init-groups
        env HOME="$work/u" XDG_RUNTIME_DIR="$work/u/x")
    user_barge=("${as_user[@]}" "$work/barge" --root "$work/u/s" --runroot "$work/u/r")
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

# --- pull: eight layers of this machine's own files, about 500 MB
title "pull of eight gzip layers from a registry on loopback"
mkdir -p "$work/oci/blobs/sha256" "$work/storage"
find /usr -xdev -type f -size -4M -printf '%s %p\n' 2>/dev/null | sort -k2 |
    awk -v d="$work" '{ total += $1; if (total < 500e6) print substr($0, index($0, " ") + 1) > (d "/list." (NR % 8)) }'
printf '{"imageLayoutVersion":"1.0.0"}' >"$work/oci/oci-layout"
blob() { # blob FILE: moves it into the layout, prints digest and size
    local hash size
    hash=$(sha256sum "$1" | cut -d' ' -f1) size=$(stat -c %s "$1")
    mv "$1" "$work/oci/blobs/sha256/$hash"
    echo "$hash $size"
}
layers= diffs= urls=()
for list in "$work"/list.*; do
    tar --no-recursion --numeric-owner -cf "$work/layer.tar" -T "$list" 2>/dev/null
    diffs+="${diffs:+,}\"sha256:$(sha256sum "$work/layer.tar" | cut -d' ' -f1)\""
    gzip -6 -n "$work/layer.tar"
    read -r hash size < <(blob "$work/layer.tar.gz")
    layers+="${layers:+,}{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:$hash\",\"size\":$size}"
    urls+=("blobs/sha256:$hash")
done
printf '{"architecture":"%s","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
    "$(dpkg --print-architecture)" "$diffs" >"$work/config"
read -r hash size < <(blob "$work/config")
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[%s]}' \
    "$hash" "$size" "$layers" >"$work/manifest"
read -r hash size < <(blob "$work/manifest")
printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"annotations":{"org.opencontainers.image.ref.name":"1"}}]}' \
    "$hash" "$size" >"$work/oci/index.json"
port=$((20000 + $$ % 20000))
printf 'version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s/storage}}\nhttp: {addr: "127.0.0.1:%s"}\n' \
    "$work" "$port" >"$work/registry.yml"
docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
registry=$!
until curl -sf "http://127.0.0.1:$port/v2/" >/dev/null; do
    kill -0 "$registry"
done
skopeo --insecure-policy copy -q --dest-tls-verify=false "oci:$work/oci:1" "docker://127.0.0.1:$port/big:1"
rm -rf "$work/oci"

plain() {
    local url jobs=()
    mkdir -p "$work/plain"
    for url in "${urls[@]}"; do
        mkdir "$work/plain/${#jobs[@]}"
        { curl -sf "http://127.0.0.1:$port/v2/big/$url" | gunzip | tar -C "$work/plain/${#jobs[@]}" -x; } &
        jobs+=($!)
    done
    wait "${jobs[@]}"
}
pull() { "$work/barge" --root "$work/ps" --runroot "$work/pr" pull -q "127.0.0.1:$port/big:1"; }
printf '%-34s %10s %10s %8s\n' "" "wall s" "cpu s" "x wall"
for round in 1 2 3; do
    for what in plain pull; do
        sync
        c0=$(cpu) t0=$(now)
        $what >/dev/null
        echo $(($(now) - t0)) >>"$work/wall.$what"
        echo $(($(cpu) - c0)) >>"$work/cpu.$what"
        rm -rf "$work/plain" "$work/ps" "$work/pr"
    done
done
base=$(median "$work/wall.plain")
for what in plain pull; do
    awk -v n="$what" -v w="$(median "$work/wall.$what")" -v c="$(median "$work/cpu.$what")" -v b="$base" \
        'BEGIN { printf "%-34s %10.2f %10.2f %8.2f\n", n == "plain" ? "curl | gunzip | tar, in parallel" : n, w / 1e6, c / 1e6, w / b }'
done
