# Runs as root in a plain machine, whose kernel has ipvlan, VLANs and quotas of xfs, but no tables of
# nftables for IP. Each line that is written is NAME=WHAT IS SEEN, or a complaint.
barge() { /run/files/barge --root "$store/s" --runroot /run/r "$@"; }
say() { name=$1; shift; echo "$name=$*"; }
store=/run
barge import /run/files/busybox.tar busybox >/dev/null 2>&1

# box NAME NETWORK: a container that stays.
box() { barge run -d --name "$1" --network "$2" busybox sleep 1000 >/dev/null; }
# reach WHAT FROM ADDRESS
reach() { barge exec "$2" ping -c 1 -W 5 "$3" >/dev/null 2>&1; say "$1" "$2 $3 $?"; }
from_far() { ip netns exec far busybox ping -c 1 -W 5 "$2" >/dev/null 2>&1; say "$1" "far $2 $?"; }
clear() { barge rm -f -t 0 -a >/dev/null; barge network prune -f >/dev/null; }
create() { barge network create "$@" >/dev/null; }

# Another machine behind an interface of this one; it is in a VLAN, too.
ip netns add far
ip link add up0 type veth peer name far0 netns far
ip link set up0 up
ip -n far link set far0 up
ip -n far address add 10.9.0.1/24 dev far0
ip -n far link add link far0 name far0.7 type vlan id 7
ip -n far link set far0.7 up
ip -n far address add 10.7.0.1/24 dev far0.7

create -d ipvlan -o parent=up0 --subnet 10.9.0.0/24 --gateway 10.9.0.1 l2
box a l2:ip=10.9.0.10
box b l2:ip=10.9.0.11
reach l2 a 10.9.0.11
reach l2 a 10.9.0.1
reach l2 a b
from_far l2 10.9.0.10
say l2 one address for all: $(barge exec a cat /sys/class/net/eth0/address | grep -c "$(cat /sys/class/net/up0/address)")
# It cannot be shared in another way at the same time.
create -d macvlan -o parent=up0 --subnet 10.8.0.0/24 other
say other $(barge run --rm --network other busybox true 2>&1 | tail -n 2)
clear

# Routed: what is beyond the interface finds the way by its address.
ip address add 10.9.0.2/24 dev up0
ip -n far route add 10.31.0.0/16 via 10.9.0.2
for mode in l3 l3s; do
    create -d ipvlan -o parent=up0 -o mode=$mode --subnet 10.31.1.0/24 one
    create -d ipvlan -o parent=up0 -o mode=$mode --subnet 10.31.2.0/24 two
    box a one:ip=10.31.1.10
    box b two:ip=10.31.2.10
    reach $mode a 10.31.2.10
    reach $mode b 10.9.0.1
    from_far $mode 10.31.1.10
    clear
done
ip address del 10.9.0.2/24 dev up0

# A VLAN of the interface is made for those who are on it.
for driver in macvlan ipvlan; do
    create -d $driver -o parent=up0.7 --subnet 10.7.0.0/24 --gateway 10.7.0.1 tagged
    box a tagged:ip=10.7.0.10
    box b tagged:ip=10.7.0.11
    reach $driver a 10.7.0.11
    reach $driver a 10.7.0.1
    from_far $driver 10.7.0.10
    say $driver $(ip -d link show up0.7 | grep -o 'vlan protocol 802.1Q id 7')
    clear
    say $driver $(ip -br link | grep -c '^up0.7') left
done

# Bridges need a firewall.
create tables
say tables $(barge run --rm --network tables busybox true 2>&1)
clear

# Volumes on xfs with project quotas.
truncate -s 400M /run/disk
mkdir /run/xfs
mkfs.xfs -q /run/disk
mount -o loop,prjquota /run/disk /run/xfs
store=/run/xfs
barge import /run/files/busybox.tar busybox >/dev/null 2>&1
barge volume create -o o=size=5m,inodes=50 v >/dev/null
barge run --rm --network=none -v v:/v busybox sh -c '
    dd if=/dev/zero of=/v/big bs=1M count=10 2>&1 | grep -o "No space left on device"
    du -m /v/big | cut -f1; rm /v/big
    number=0; while touch /v/$number 2>/dev/null && [ $number -lt 100 ]; do number=$((number + 1)); done
    [ $number -lt 51 ] && echo few'
say quota $?
