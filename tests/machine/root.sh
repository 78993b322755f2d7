# Runs as root in a machine with systemd and control groups of version 2 alone. Each line that is
# written is NAME=WHAT IS SEEN.
PATH=/t:/usr/sbin:/usr/bin:/sbin:/bin
say() { name=$1; shift; echo "$name=$*"; }
runtime() { barge runtime "$@"; }
files() { for file in memory.max memory.low memory.high pids.max cpu.max cpu.weight io.max; do
    say "$1 $file" $(cat "$2/$file"); done; }
top=/sys/fs/cgroup
chmod -R a+rX /t

# A scope of systemd's.
scope=$top/system.slice/barge-one.scope
runtime --systemd-cgroup run -b /t/c-systemd -d one </dev/null >/dev/null
say scope starts $?
files scope $scope
say scope properties $(systemctl show barge-one.scope --value -p Slice -p Delegate -p MemoryMax -p MemoryLow \
    -p MemoryHigh -p TasksMax -p CPUWeight -p CPUQuotaPerSecUSec)
systemctl daemon-reload
files reloaded $scope
say path $(runtime --systemd-cgroup run -b /t/c-plain three 2>&1 </dev/null | head -n 1)
runtime update --memory 128m --pids-limit 50 one
say updated $? $(cat $scope/memory.max $scope/pids.max) $(systemctl show barge-one.scope --value -p MemoryMax -p TasksMax)
runtime pause one
say paused $(runtime state one | grep status) $(grep frozen $scope/cgroup.events)
runtime resume one
say exec $(runtime exec one cat /proc/self/cgroup) $(wc -l < $scope/cgroup.procs)
# The name is taken by a scope that runs.
say taken $(runtime --root /run/other --systemd-cgroup run -b /t/c-systemd -d one 2>&1 </dev/null | head -n 1)
say survives $(runtime state one | grep status)
runtime kill one KILL
runtime delete --force one
say deleted $? $(ls -d $scope 2>/dev/null) $(systemctl list-units --all --no-legend 'barge-*.scope')

# A group of our own.
group=$top/barge/two
runtime run -b /t/c-plain -d two </dev/null >/dev/null
say group starts $?
files group $group
runtime pause two
say frozen $(grep frozen $group/cgroup.events)
runtime delete --force two
say removed $(ls -d $group 2>/dev/null)

# Out of memory.
runtime run -b /t/c-oom -d oom </dev/null >/dev/null 2>&1
: > /run/events
runtime events --interval 1h oom >> /run/events &
until grep -q '"stats"' /run/events; do sleep 0.1; done
touch /t/rootfs/tmp/now
for i in $(seq 100); do grep -q '"type":"oom"' /run/events && break; sleep 0.1; done
say oom $(grep -o '"type":"oom"' /run/events | head -n 1) $(grep -w oom_kill $top/barge/oom/memory.events)
runtime delete --force oom
wait
say left $(ls $top/barge 2>/dev/null | grep -v '\.') $(ls -A /run/barge/runtime) $(ls -A /run/other) $(grep -l barge /proc/[0-9]*/comm)

# barge itself.
barge import /t/busybox.tar box >/dev/null 2>&1
barge run --rm --network none -m 32m --memory-swap 32m --cpus 0.5 --pids-limit 20 box sh -c 'cd /sys/fs/cgroup; echo $(cat memory.max cpu.max pids.max)' 2>/run/errors >/run/out
say run $(tail -n 1 /run/out)

# A hook that fails leaves neither unit nor group.
say refused $(runtime --systemd-cgroup run -b /t/c-hook -d hook 2>&1 </dev/null | grep -c 'createRuntime hook /bin/false')
say forgotten $(ls -d $top/system.slice/barge-hook.scope 2>/dev/null) \
    $(systemctl list-units --all --no-legend barge-hook.scope) $(ls -A /run/barge/runtime)

# Without a bus, systemd itself is asked.
DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nope barge runtime --systemd-cgroup run -b /t/c-systemd -d one </dev/null >/dev/null
say without a bus $? $(systemctl is-active barge-one.scope)
DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nope barge runtime delete --force one
say without a bus deleted $? $(systemctl is-active barge-one.scope)
