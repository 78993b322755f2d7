#!/bin/bash
# Measures builds of Dockerfiles beside Docker's two builders and buildah.
#
#   benches/build.sh [ROUNDS]          3 rounds by default
#
# Rows: 15 small steps, the same again, a late change, a copy of 20,000 files, the same again beside
# `cp -a`, and two stages that do not need each other. Wall times are medians in milliseconds, and
# ratios to the others in the same run; the last lines are the largest memory of any process of barge
# in MiB, with these contexts and with one of a file of a gibibyte. Nothing needs a network.
# Docker's daemon is started for the time being, with directories of its own. `buildkit` is the builder in
# it, asked by a newer buildx if tests/run has got one, else by Docker's own client; `classic` is the other.
# buildah runs commands in a chroot only, which is less than what barge does. Root measures. Needs
# busybox-static and time; docker.io and buildah if they are there. BARGE=FILE measures that program.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3}
export LC_ALL=C

if [ "$(id -u)" -ne 0 ]; then
    echo "this needs root" >&2
    exit 1
fi
work=$(mktemp -d /tmp/barge-bench.XXXXXX)
dockerd=
finish() {
    if [ -n "$dockerd" ]; then
        kill "$dockerd" 2>/dev/null || true
        wait "$dockerd" 2>/dev/null || true
    fi
    # What others have mounted, if they were ended.
    awk -v work="$work/" 'index($2, work) == 1 { print $2 }' /proc/self/mounts | sort -r |
        while read -r mount; do umount "$mount"; done
    rm -rf "$work"
}
trap finish EXIT

. benches/executable.sh
cp "$BARGE" "$work/barge"

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
now() { local t=$EPOCHREALTIME; echo $((${t%.*} * 1000000 + 10#${t#*.})); }

# --- base image, contexts and Dockerfiles
mkdir -p "$work/base/bin" "$work/base/tmp" "$work/small" "$work/many/tree" "$work/stages" "$work/large"
cp /bin/busybox "$work/base/bin/"
for applet in sh sleep cat echo true; do ln -s busybox "$work/base/bin/$applet"; done
tar -C "$work/base" -cf "$work/base.tar" .
steps() { # steps LAST: 15 steps of which the last one is given
    echo "FROM bench-base"
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
printf 'FROM bench-base\nCOPY tree /tree\n' >"$work/many/Dockerfile"
printf 'FROM bench-base AS a\nRUN sleep 1; echo a >/a\nFROM bench-base AS b\nRUN sleep 1; echo b >/b\nFROM bench-base\nCOPY --from=a /a /\nCOPY --from=b /b /\n' >"$work/stages/Dockerfile"
head -c 1073741824 /dev/zero >"$work/large/file"
printf 'FROM bench-base\nCOPY . /large\n' >"$work/large/Dockerfile"

barge() { "$work/barge" --root "$work/root" --runroot "$work/run" "$@"; }
buildah() { command buildah --root "$work/b" --runroot "$work/br" --storage-driver overlay "$@"; }
docker() { /usr/bin/docker -H "unix://$work/docker.sock" "$@"; }
buildx=
for suite in sid trixie; do
    file=/var/cache/barge-tests/$suite/docker-buildx
    if [ -z "$buildx" ] && [ -x "$file" ]; then buildx=$file; fi
done
tool_build() { # tool_build TOOL CONTEXT: builds once, prints nothing
    case $1 in
        barge) /usr/bin/time -a -o "$work/memory" -f %M "$work/barge" --root "$work/root" --runroot "$work/run" \
            build -q --network=none -t bench "$2" ;;
        classic) DOCKER_BUILDKIT=0 docker build -q --network=none -t bench "$2" ;;
        buildkit)
            if [ -n "$buildx" ]; then
                DOCKER_HOST=unix://$work/docker.sock "$buildx" build -q --network=none --provenance=false -t bench "$2"
            else
                DOCKER_BUILDKIT=1 docker build -q --network=none -t bench "$2"
            fi ;;
        buildah) command buildah --root "$work/b" --runroot "$work/br" --storage-driver overlay \
            bud -q --layers --isolation chroot -t bench "$2" ;;
    esac >/dev/null 2>>"$work/errors" || { tail -n 3 "$work/errors" >&2; exit 1; }
}
forget() { # forget TOOL: no build finds what another has made
    case $1 in
        barge) barge rmi -f bench >/dev/null 2>&1 || true; barge builder prune -af >/dev/null ;;
        classic | buildkit)
            docker rmi -f bench >/dev/null 2>&1 || true
            docker image prune -f >/dev/null
            docker builder prune -af >/dev/null ;;
        buildah) buildah rmi -f bench >/dev/null 2>&1 || true; buildah rmi -f --prune >/dev/null 2>&1 || true ;;
    esac
}

barge import -q "$work/base.tar" bench-base >/dev/null
tools=(barge)
if command -v dockerd >/dev/null; then
    dockerd --data-root "$work/docker" --exec-root "$work/docker-exec" --pidfile "$work/docker.pid" \
        --host "unix://$work/docker.sock" --bridge none --iptables=false --ip6tables=false \
        --ip-forward=false --storage-driver overlay2 >"$work/dockerd.log" 2>&1 &
    dockerd=$!
    for ((attempt = 0; attempt < 300; attempt++)); do
        docker version >/dev/null 2>&1 && break
        kill -0 "$dockerd" 2>/dev/null || { tail -n 3 "$work/dockerd.log" >&2; exit 1; }
        sleep 0.1
    done
    docker import "$work/base.tar" bench-base >/dev/null
    tools+=(classic buildkit)
fi
if command -v buildah >/dev/null; then
    tools+=(buildah)
    printf 'FROM scratch\nADD base.tar /\n' >"$work/Dockerfile.base"
    buildah bud -q -f "$work/Dockerfile.base" -t localhost/bench-base "$work" >/dev/null
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
        forget "$tool"
    done
    rm -rf "$work/copied"
    sync
    start=$(now)
    cp -a "$work/many/tree" "$work/copied"
    echo $((($(now) - start) / 1000)) >>"$work/cp.copy"
done
cp "$work/cp.copy" "$work/cp.again"
largest() { sort -n "$work/memory" | tail -n 1 | awk '{ print int($1 / 1024) }'; }
usual=$(largest)
rm "$work/memory"
tool_build barge "$work/large"

columns=(barge classic buildkit buildah cp)
printf '%-32s' ""
printf ' %9s' barge classic buildkit buildah 'cp -a'
printf '   barge / each\n'
row() { # row NAME FILE
    local name=$1 file=$2 column own ratios=
    printf '%-32s' "$name"
    own=$(median "$work/barge.$file")
    for column in "${columns[@]}"; do
        if [ -e "$work/$column.$file" ]; then
            printf ' %9s' "$(median "$work/$column.$file")"
            [ "$column" = barge ] ||
                ratios+=" $(awk -v a="$own" -v b="$(median "$work/$column.$file")" 'BEGIN { printf "%.2f", a / (b ? b : 1) }')"
        else
            printf ' %9s' -
            [ "$column" = barge ] || ratios+=" -"
        fi
    done
    printf '  %s\n' "$ratios"
}
row "15 small steps, ms" cold
row "the same, all cached" cached
row "a change of the last one" late
row "COPY of 20,000 files" copy
row "the same, cached" again
row "two stages of a second each" stages
printf 'largest memory of barge: %s MiB, %s MiB with a file of 1 GiB\n' "$usual" "$(largest)"
