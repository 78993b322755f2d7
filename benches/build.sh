#!/bin/bash
# Measures builds of Dockerfiles beside buildah.
#
#   benches/build.sh [ROUNDS]          3 rounds by default
#
# Rows: 15 small steps, the same again, a late change, a copy of 20,000 files, the same again beside
# `cp -a`, and two stages that do not need each other. Wall times are medians in milliseconds; the
# last column is the largest memory of any process in MiB. Nothing needs a network.
# buildah runs commands in a chroot only, which is less than what barge does. Root measures. Needs busybox-static and time; buildah if it is there.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3}
export LC_ALL=C

if [ "$(id -u)" -ne 0 ]; then
    echo "this needs root" >&2
    exit 1
fi
work=$(mktemp -d /tmp/barge-bench.XXXXXX)
finish() {
    # What buildah has mounted, if it was ended.
    awk -v work="$work/" 'index($2, work) == 1 { print $2 }' /proc/self/mounts | sort -r |
        while read -r mount; do umount "$mount"; done
    rm -rf "$work"
}
trap finish EXIT

barge=${BARGE:-}
if [ -z "$barge" ]; then
    echo "building" >&2
    cargo build --release --locked --quiet
    barge=$(find target -path '*/release/barge' -type f -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
fi
cp "$barge" "$work/barge"

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
now() { local t=$EPOCHREALTIME; echo $((${t%.*} * 1000000 + 10#${t#*.})); }

# --- base image, contexts and Dockerfiles
mkdir -p "$work/base/bin" "$work/base/tmp" "$work/small" "$work/many/tree" "$work/stages"
cp /bin/busybox "$work/base/bin/"
for applet in sh sleep cat echo true; do ln -s busybox "$work/base/bin/$applet"; done
tar -C "$work/base" -cf "$work/base.tar" .
steps() { # steps LAST: 15 steps of which the last one is given
    echo "FROM localhost/base"
    for number in 1 2 3 4 5 6 7; do
        echo "RUN echo $number >/r$number"
        echo "COPY f /c$number"
    done
    echo "$1"
}
echo content >"$work/small/f"
for number in $(seq 20000); do
    directory=$work/many/tree/d$((number / 200))
    [ -d "$directory" ] || mkdir "$directory"
    head -c $((number % 4096)) /dev/zero >"$directory/f$number"
done
printf 'FROM localhost/base\nCOPY tree /tree\n' >"$work/many/Dockerfile"
printf 'FROM localhost/base AS a\nRUN sleep 1; echo a >/a\nFROM localhost/base AS b\nRUN sleep 1; echo b >/b\nFROM localhost/base\nCOPY --from=a /a /\nCOPY --from=b /b /\n' >"$work/stages/Dockerfile"

barge() { "$work/barge" --root "$work/root" --runroot "$work/run" "$@"; }
buildah() { command buildah --root "$work/b" --runroot "$work/br" --storage-driver overlay "$@"; }
tool_build() { # tool_build TOOL CONTEXT: builds once, prints nothing
    case $1 in
        barge) /usr/bin/time -a -o "$work/memory" -f %M "$work/barge" --root "$work/root" --runroot "$work/run" \
            build -q --network=none -t bench "$2" ;;
        buildah) command buildah --root "$work/b" --runroot "$work/br" --storage-driver overlay \
            bud -q --layers --isolation chroot -t bench "$2" ;;
    esac >/dev/null 2>>"$work/errors" || { tail -n 3 "$work/errors" >&2; exit 1; }
}
forget() { # forget TOOL: no build finds what another has made
    case $1 in
        barge) barge rmi -f bench >/dev/null 2>&1 || true; barge builder prune -af >/dev/null ;;
        buildah) buildah rmi -f bench >/dev/null 2>&1 || true; buildah rmi -f --prune >/dev/null 2>&1 || true ;;
    esac
}

barge import -q "$work/base.tar" base >/dev/null
tools=(barge)
if command -v buildah >/dev/null; then
    tools+=(buildah)
    printf 'FROM scratch\nADD base.tar /\n' >"$work/Dockerfile.base"
    buildah bud -q -f "$work/Dockerfile.base" -t localhost/base "$work" >/dev/null
fi

measure() { # measure TOOL ROW CONTEXT
    local start
    start=$(now)
    tool_build "$1" "$3"
    echo $((($(now) - start) / 1000)) >>"$work/$1.$2"
}
for ((round = 0; round < rounds; round++)); do
    for tool in "${tools[@]}"; do
        forget "$tool"
        steps "RUN echo $round >/last" >"$work/small/Dockerfile"
        measure "$tool" cold "$work/small"
        measure "$tool" cached "$work/small"
        steps "RUN echo late$round >/last" >"$work/small/Dockerfile"
        measure "$tool" late "$work/small"
        measure "$tool" copy "$work/many"
        measure "$tool" again "$work/many"
        measure "$tool" stages "$work/stages"
    done
    rm -rf "$work/copied"
    sync
    start=$(now)
    cp -a "$work/many/tree" "$work/copied"
    echo $((($(now) - start) / 1000)) >>"$work/cp.copy"
done

printf '%-34s %10s %10s %10s\n' "" barge buildah "cp -a"
row() { # row NAME FILE
    local name=$1 file=$2 candidate shown=()
    for candidate in barge buildah cp; do
        if [ -e "$work/$candidate.$file" ]; then shown+=("$(median "$work/$candidate.$file")"); else shown+=(-); fi
    done
    printf '%-34s %10s %10s %10s\n' "$name" "${shown[@]}"
}
row "15 small steps, ms" cold
row "the same, all cached" cached
row "a change of the last one" late
row "COPY of 20,000 files" copy
cp "$work/cp.copy" "$work/cp.again"
row "the same, cached" again
row "two stages of a second each" stages
printf 'largest memory of barge: %s MiB\n' "$(sort -n "$work/memory" | tail -n 1 | awk '{ print int($1 / 1024) }')"
