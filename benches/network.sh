#!/bin/bash
# Measures networks, as root: what a container pays for one, and what it gets.
#
#   benches/network.sh [ROUNDS]      20 rounds by default
#
# Everything is in a network namespace of its own. The executable is built for release, unless BARGE
# names another one. Needs busybox-static, iproute2, iperf3, passt and python3, and for pasta a user
# with subordinate IDs: BENCH_USER, or barge-test. Podman with runc and Docker are measured beside it
# where they are there.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${BARGE_BENCH_INSIDE:-}" != 1 ]; then
    exec env BARGE_BENCH_INSIDE=1 unshare --net "$0" "$@"
fi
rounds=${1:-20}
transfers=9
export LC_ALL=C
ip link set lo up

work=$(mktemp -d /tmp/barge-bench.XXXXXX)
dockerd=
finish() {
    if [ -n "$dockerd" ]; then
        docker rm -f here >/dev/null 2>&1 || true
        kill "$dockerd" 2>/dev/null || true
        wait "$dockerd" 2>/dev/null || true
    fi
    [ ${#podman[@]} -eq 0 ] || "${podman[@]}" rm -f -t 0 -a >/dev/null 2>&1 || true
    ! mountpoint -q "$work/podman/overlay" || umount "$work/podman/overlay"
    "${barge[@]}" rm -f -t 0 -a >/dev/null 2>&1 || true
    "${barge[@]}" network rm n >/dev/null 2>&1 || true
    for namespace in one two; do ip netns del "barge-bench-$namespace" 2>/dev/null || true; done
    leave_group
    rm -rf "$work"
}
. benches/executable.sh
cp "$BARGE" "$work/barge"
barge=("$work/barge" --root "$work/s" --runroot "$work/r")
podman=()
docker() { /usr/bin/docker -H "unix://$work/docker.sock" "$@"; }
. benches/measure.sh
trap finish EXIT

mkdir -p "$work/image/bin"
cp /bin/busybox "$work/image/bin/"
tar -C "$work/image" -c . | "${barge[@]}" import - busybox >/dev/null 2>&1
"${barge[@]}" network create n >/dev/null
# Somebody is there already: the network is not made for each.
"${barge[@]}" run -d --name here busybox /bin/busybox sleep 100000 >/dev/null
"${barge[@]}" run -d --name there --network n busybox /bin/busybox sleep 100000 >/dev/null

title "a start"
none() { "${barge[@]}" run --rm --network none busybox /bin/busybox true; }
bridge() { "${barge[@]}" run --rm busybox /bin/busybox true; }
named() { "${barge[@]}" run --rm --network n busybox /bin/busybox true; }
published() { "${barge[@]}" run --rm -p 20000-20999:20000-20999 busybox /bin/busybox true; }
interleave none=none "default bridge=bridge" "network with names=named" "1000 ports=published"

title "a start on the default bridge, beside others"
# They all have somebody there already, too.
beside=(barge=bridge)
if command -v podman >/dev/null && command -v runc >/dev/null; then
    podman=(podman --runtime runc --cgroup-manager cgroupfs --root "$work/podman" --runroot "$work/podman.run")
    tar -C "$work/image" -c . | "${podman[@]}" import - busybox >/dev/null 2>&1
    # Its own are more than root may give everywhere.
    limits=(--ulimit nofile=1024:1024 --ulimit nproc=1024:1024)
    "${podman[@]}" run -d "${limits[@]}" --name here busybox /bin/busybox sleep 100000 >/dev/null
    podman_bridge() { "${podman[@]}" run --rm "${limits[@]}" busybox /bin/busybox true; }
    beside+=(podman=podman_bridge)
fi
if command -v dockerd >/dev/null; then
    dockerd --data-root "$work/docker" --exec-root "$work/docker-exec" --pidfile "$work/docker.pid" \
        --host "unix://$work/docker.sock" >"$work/dockerd.log" 2>&1 &
    dockerd=$!
    until docker version >/dev/null 2>&1; do
        kill -0 "$dockerd" 2>/dev/null || { tail -n 3 "$work/dockerd.log" >&2; exit 1; }
    done
    tar -C "$work/image" -c . | docker import - busybox >/dev/null
    docker run -d --name here busybox /bin/busybox sleep 100000 >/dev/null
    docker_bridge() { docker run --rm busybox /bin/busybox true; }
    beside+=(docker=docker_bridge)
fi
interleave "${beside[@]}"

title "names"
pid=$("${barge[@]}" inspect there --format '{{.State.Pid}}')
# As many questions as are answered in three seconds, eight at a time.
nsenter --net="/proc/$pid/ns/net" python3 - <<'PYTHON'
import socket, statistics, struct, time
name = b"".join(bytes([len(part)]) + part for part in b"there".split(b".")) + b"\0"
question = lambda number: struct.pack(">HHHHHH", number, 0x100, 1, 0, 0, 0) + name + struct.pack(">HH", 1, 1)
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(5)
client.connect(("127.0.0.11", 53))
times = []
for number in range(2000):
    begin = time.perf_counter()
    client.send(question(number))
    client.recv(512)
    times.append(time.perf_counter() - begin)
print(f"one after the other: median {statistics.median(times) * 1000:.3f} ms")
end, count = time.perf_counter() + 3, 0
for number in range(8):
    client.send(question(number))
while time.perf_counter() < end:
    client.recv(512)
    count += 1
    client.send(question(count & 0xffff))
print(f"eight at once: {count / 3:.0f} answers a second")
PYTHON

title "throughput, in Gbit/s, medians of $transfers"
# The same path without barge: two namespaces on a bridge.
ip link add bench0 type bridge
ip link set bench0 up
for number in 1 2; do
    namespace=barge-bench-$([ $number = 1 ] && echo one || echo two)
    ip netns add "$namespace"
    ip link add "bench$number" mtu 1500 type veth peer name eth0 mtu 1500 netns "$namespace"
    ip link set "bench$number" master bench0 up
    ip -n "$namespace" address add "10.254.0.$number/24" dev eth0
    ip -n "$namespace" link set eth0 up
    ip -n "$namespace" link set lo up
done
gbits() { python3 -c 'import json,sys; print("%.2f" % (json.load(sys.stdin)["end"]["sum_received"]["bits_per_second"] / 1e9))'; }
# transfer SERVER CLIENT ADDRESS: between two namespaces, which are given by their files.
transfer() {
    nsenter --net="$1" iperf3 -s -1 -D -I "$work/iperf3.pid"
    until nsenter --net="$1" ss -ltn | grep -q ':5201 '; do :; done
    nsenter --net="$2" iperf3 -c "$3" -t 2 -J | gbits
}
"${barge[@]}" run -d --name far --network n busybox /bin/busybox sleep 100000 >/dev/null
far=$("${barge[@]}" inspect far --format '{{.State.Pid}}')
address=$("${barge[@]}" inspect far --format '{{(index .NetworkSettings.Networks "n").IPAddress}}')
# beside NAME FLOOR OURS: what two functions print, several times in turn; medians and their ratio.
beside() {
    local floor ours
    for ((round = 0; round < transfers; round++)); do
        "$2" >>"$work/floor.$1"
        "$3" >>"$work/ours.$1"
    done
    floor=$(median "$work/floor.$1") ours=$(median "$work/ours.$1")
    awk -v n="$1" -v a="$ours" -v b="$floor" \
        'BEGIN { printf "%s %s, without barge %s: ratio %.2f\n", n, a, b, a / b }'
}
bridge_alone() { transfer /run/netns/barge-bench-one /run/netns/barge-bench-two 10.254.0.1; }
bridge_ours() { transfer "/proc/$far/ns/net" "/proc/$pid/ns/net" "$address"; }
beside bridge bridge_alone bridge_ours

# The same pasta on the same way without barge: from loopback here to the container.
user=${BENCH_USER:-barge-test}
ip link add pasta0 mtu 65520 type dummy 2>/dev/null || ip link add pasta0 mtu 65520 type veth peer name pasta1
ip link set pasta0 up
! ip link show pasta1 >/dev/null 2>&1 || ip link set pasta1 up
ip address add 10.253.0.2/24 dev pasta0
ip route add default via 10.253.0.1
install -d -o "$user" -m 700 "$work/home" "$work/run"
chmod 711 "$work"
as_user() {
    setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups env HOME="$work/home" \
        XDG_RUNTIME_DIR="$work/run" "$@"
}
tar -C "$work/image" -c . | as_user "$work/barge" import - busybox >/dev/null 2>&1
# received SERVER...: what goes in two seconds to a server that takes all, at port 5201.
received() {
    # Its output is not for the log.
    "$@" /bin/busybox sh -c '/bin/busybox nc -l -p 5201 >/dev/null' >/dev/null 2>&1 </dev/null &
    python3 - <<'PYTHON'
import socket, time
data, end = bytes(1 << 18), time.monotonic() + 60
while time.monotonic() < end:
    # pasta takes a connection before the server is there, and ends it then.
    try:
        with socket.create_connection(("127.0.0.1", 5201)) as there:
            begin, sent = time.monotonic(), 0
            while time.monotonic() < begin + 2:
                there.sendall(data)
                sent += len(data)
            print("%.2f" % (sent * 8 / 1e9 / (time.monotonic() - begin)))
            break
    except OSError:
        time.sleep(0.1)
PYTHON
    wait $!
}
pasta_alone() { received as_user pasta --config-net -q -t 5201 -u none -T none -U none --; }
pasta_ours() { received as_user "$work/barge" run --rm -p 5201:5201 busybox; }
beside pasta pasta_alone pasta_ours
