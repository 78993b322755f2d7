# The same as an unprivileged user whose systemd lingers, from a session that is not delegated.
PATH=/t:/usr/sbin:/usr/bin:/sbin:/bin
export XDG_RUNTIME_DIR=/run/user/1000
say() { name=$1; shift; echo "$name=$*"; }
runtime() { barge runtime "$@"; }
scope=/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/user.slice/barge-user.scope
runtime --systemd-cgroup run -b /t/c-user -d user </dev/null >/dev/null
say user starts $?
for file in memory.max memory.low pids.max cpu.max cpu.weight; do say user $file $(cat $scope/$file); done
runtime update --memory 128m user
say user updated $(cat $scope/memory.max) $(systemctl --user show barge-user.scope --value -p MemoryMax)
runtime pause user
say user paused $(runtime state user | grep status)
runtime resume user
say user exec $(runtime exec user cat /proc/self/cgroup)
runtime delete --force user
say user deleted $? $(ls -d $scope 2>/dev/null) $(systemctl --user list-units --all --no-legend 'barge-*.scope') $(ls $XDG_RUNTIME_DIR/barge/runtime)
