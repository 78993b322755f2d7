# What the benches measure with; sourced by them. `work` is their scratch directory.

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

# Called before each run of what is measured, outside of the measurement.
before_each() { :; }

# interleave NAME=FUNCTION...: runs the functions in turn and prints a table; the first is the base.
interleave() {
    local entry name round t0 c0 base_wall= base_cpu= wall spent
    for entry in "$@"; do
        before_each
        "${entry#*=}" >/dev/null 2>&1
    done
    for ((round = 0; round < rounds; round++)); do
        for entry in "$@"; do
            name=${entry%%=*}
            before_each
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
