#!/bin/bash
# Measures the REST service beside the command line, as ratios within one run.
#
#   benches/service.sh [ROUNDS]        20 rounds by default
#
# What is measured: a list of 100 containers, pings on one connection and the processor time that they take,
# the life of a container by the API and by the command line, and the memory of a service at rest.
# The executable is built for release, unless BARGE names another one. Needs busybox-static and python3.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-20}
export LC_ALL=C

work=$(mktemp -d /tmp/barge-bench.XXXXXX)
service=
finish() {
    [ -z "$service" ] || kill "$service" 2>/dev/null || true
    "${barge[@]}" rm -f -t 0 -a >/dev/null 2>&1 || true
    rm -rf "$work"
}
. benches/executable.sh
cp "$BARGE" "$work/barge"
barge=("$work/barge" --root "$work/s" --runroot "$work/r")
trap finish EXIT

mkdir -p "$work/image/bin"
cp /bin/busybox "$work/image/bin/"
tar -C "$work/image" -c . | "${barge[@]}" import - busybox >/dev/null 2>&1
for number in $(seq 100); do
    "${barge[@]}" create --name "c$number" --network none busybox /bin/busybox true >/dev/null
done
"${barge[@]}" system service --time 0 "unix://$work/sock" 2>/dev/null &
service=$!
while [ ! -S "$work/sock" ]; do read -rt 0.01 <> <(:) || true; done

cat >"$work/measure.py" <<'P'
import http.client, json, os, socket, statistics, subprocess, sys, time

path, pid, rounds, barge = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]


class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)


def memory():
    lines = open(f"/proc/{pid}/smaps_rollup").read().splitlines()
    sizes = {line.split(":")[0]: line.split()[1] for line in lines[1:]}
    return int(sizes["Rss"]), int(sizes["Pss"])


def ticks():
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


connection = Connection("d")


def ask(method, path, body=None):
    headers = {"Content-Type": "application/json"} if body else {}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    response = connection.getresponse()
    text = response.read()
    assert response.status < 300, (path, response.status, text)
    return json.loads(text) if text.strip() and text[:1] in b"{[" else text


def timed(act):
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        act()
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


print("at rest: RSS %d KiB, PSS %d KiB" % memory())
ask("GET", "/_ping")
print("list of 100 containers: %.2f ms" % timed(lambda: ask("GET", "/containers/json?all=1")))
begin, used = time.perf_counter(), ticks()
for _ in range(5000):
    ask("GET", "/_ping")
took, used = time.perf_counter() - begin, ticks() - used
print("pings: %.0f/s on one connection; 1,000/s would take %.1f %% of a processor"
      % (5000 / took, used / 5 * 100))


def by_api():
    made = ask("POST", "/containers/create", {
        "Image": "busybox", "Cmd": ["/bin/busybox", "true"], "HostConfig": {"NetworkMode": "none"}})
    ask("POST", f"/containers/{made['Id']}/start")
    ask("POST", f"/containers/{made['Id']}/wait")
    ask("DELETE", f"/containers/{made['Id']}")


def by_command_line():
    run = lambda *words: subprocess.run([*barge, *words], check=True, capture_output=True, text=True).stdout.strip()
    made = run("create", "--network", "none", "busybox", "/bin/busybox", "true")
    run("start", made)
    run("wait", made)
    run("rm", made)


by_api(), by_command_line()
api, line = [], []
for _ in range(rounds):
    for act, times in ((by_api, api), (by_command_line, line)):
        begin = time.perf_counter()
        act()
        times.append((time.perf_counter() - begin) * 1000)
api, line = statistics.median(api), statistics.median(line)
print("create, start, wait, remove: %.1f ms by the API, %.1f ms by the command line, ratio %.2f"
      % (api, line, api / line))
print("afterwards: RSS %d KiB, PSS %d KiB" % memory())
P
python3 "$work/measure.py" "$work/sock" "$service" "$rounds" "${barge[@]}"
