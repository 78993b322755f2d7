//! Networks of interfaces of this machine: ipvlan, VLANs. Kernels lack some of it, and then it is said so.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::support::place::Place;
use super::support::{Barge, Need, leave_out, needs, wait_until};

fn reaches(place: &Place, address: &str) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    place.enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok())
}

/// Tells whether the kernel has interfaces of this kind, and says so if it has not.
fn has(barge: &Barge, kind: &[&str]) -> bool {
    let line = [&["link", "add", "name", "try0"], kind].concat();
    let made = barge.other_command("ip", line).run();
    if made.errors().is_empty() {
        barge.other_command("ip", ["link", "del", "try0"]).run().ok();
        return true;
    }
    leave_out(&format!("the kernel has no interfaces of {}", kind.join(" ")));
    false
}

fn serve(barge: &Barge, network: &str) {
    let script = "mkdir /www; exec httpd -f -p 80 -h /www";
    barge
        .run(["run", "-d", "--name", "web", "--network", network, "busybox", "sh", "-c", script])
        .ok();
}

/// Makes a network of an interface that leads to somebody, with an address of our own there.
fn with_neighbor() -> (Barge, Place) {
    let barge = Barge::with_busybox();
    let far = Place::network();
    barge.place().connect(&far, "10.99.0.1/24", "10.99.0.2/24");
    (barge, far)
}

#[test]
fn containers_share_an_interface_with_its_hardware_address() {
    if !needs(&[Need::Root]) {
        return;
    }
    let (barge, far) = with_neighbor();
    let create = ["network", "create", "-d", "ipvlan", "--subnet", "10.99.0.0/24"];
    barge.run([&create[..], &["-o", "parent=far0", "-o", "mode=vepa", "lan"]].concat()).fails(125);
    for mode in ["l2", "l3", "l3s"] {
        let mode = format!("mode={mode}");
        let options = ["-o", "parent=far0", "-o", &mode, "--gateway", "10.99.0.2", "lan"];
        barge.run([&create[..], &options].concat()).ok();
        barge.run(["network", "ls", "-q", "--filter", "driver=ipvlan"]).ok().stdout("lan\n");
        if has(&barge, &["link", "far0", "type", "ipvlan"]) {
            serve(&barge, "lan:ip=10.99.0.50");
            wait_until("it is there", || reaches(&far, "10.99.0.50:80"));
            let link = barge.other_command("ip", ["-o", "link", "show", "far0"]).run().ok().text();
            let mac = link.split_once("link/ether ").and_then(|it| it.1.split(' ').next()).unwrap();
            let networks = "{{(index .NetworkSettings.Networks \"lan\").MacAddress}}";
            assert_eq!(barge.inspect("web", networks), mac);
            let line = ["exec", "web", "cat", "/sys/class/net/eth0/address"];
            barge.run(line).ok().stdout(&format!("{mac}\n"));
        } else {
            let line = ["run", "--rm", "--network", "lan", "busybox", "true"];
            barge.run(line).fails(125).error_has("this kernel has no ipvlan");
        }
        let line = ["run", "--rm", "--network", "lan:mac=92:d0:c6:0a:29:33", "busybox", "true"];
        barge.run(line).fails(125).error_has("has the hardware address of `far0`");
        barge.run(["network", "rm", "-f", "-t", "0", "lan"]).ok();
    }
    barge.leaves_nothing();
}

#[test]
fn the_interface_of_a_vlan_is_there_while_it_is_needed() {
    if !needs(&[Need::Root]) {
        return;
    }
    let (barge, far) = with_neighbor();
    let create = ["network", "create", "-d", "macvlan", "-o", "parent=far0.7"];
    let addresses = ["--subnet", "10.98.0.0/24", "lan"];
    barge.run([&create[..], &addresses].concat()).ok();
    let links = || barge.other_command("ip", ["-br", "link"]).run().ok().text();
    if has(&barge, &["link", "far0", "type", "vlan", "id", "9"]) {
        far.enter(|| {
            super::support::tool(
                "sh",
                [
                    "-ec",
                    "ip link add link far0 name far0.7 type vlan id 7
                 ip address add 10.98.0.2/24 dev far0.7
                 ip link set far0.7 up",
                ],
            );
        });
        serve(&barge, "lan:ip=10.98.0.50");
        wait_until("it is there", || reaches(&far, "10.98.0.50:80"));
        barge.run([&create[..], &["--subnet", "10.97.0.0/24", "other"]].concat()).ok();
        barge.run(["run", "--rm", "--network", "other", "busybox", "true"]).ok();
        assert!(reaches(&far, "10.98.0.50:80"), "the interface is still needed");
        barge.run(["rm", "-f", "-t", "0", "web"]).ok();
        assert!(!links().contains("far0.7"), "{}", links());
    } else {
        let line = ["run", "--rm", "--network", "lan", "busybox", "true"];
        barge.run(line).fails(125).error_has("this kernel has no VLANs");
    }
    barge.run(["network", "rm", "lan"]).ok();
    let line = ["network", "create", "-d", "macvlan", "-o", "parent=nosuch.7"];
    barge.run([&line[..], &addresses].concat()).ok();
    let line = ["run", "--rm", "--network", "lan", "busybox", "true"];
    barge.run(line).fails(125).error_has("no interface `nosuch`");
    assert!(!links().contains("far0.7"), "{}", links());
    barge.leaves_nothing();
}

/// Makes interfaces for VLANs of the way to the test, with addresses that nobody has but in that VLAN.
fn with_tags(tags: &[(u16, &str)]) {
    super::support::tool("sh", ["-ec", "echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore"]);
    for (id, address) in tags {
        let script = format!(
            "ip link add link far0 name far0.{id} type vlan id {id}
             ip address add {address} dev far0.{id}; ip link set far0.{id} up"
        );
        super::support::tool("sh", ["-ec", &script]);
    }
}

#[test]
fn a_bridge_that_others_have_made_is_left_as_it_is() {
    if !needs(&[Need::Root]) {
        return;
    }
    let (barge, far) = with_neighbor();
    let create = ["network", "create", "-o", "mode=unmanaged", "--subnet", "10.99.0.0/24"];
    for (flags, error) in [
        (&["n"][..], "needs the name of its bridge"),
        (&["-o", "mode=l2", "--interface-name", "br-own", "n"], "mode=l2"),
    ] {
        barge.run([&create[..], flags].concat()).fails(125).error_has(error);
    }
    let options = ["--interface-name", "far0", "n"];
    barge.run([&create[..], &options].concat()).ok();
    let run = ["run", "--rm", "--network", "n", "busybox", "true"];
    barge.run(run).fails(125).error_has("interface `far0` is no bridge");
    barge.run(["network", "rm", "n"]).ok();
    let options = ["--interface-name", "br-own", "--gateway", "10.99.0.2", "n"];
    barge.run([&create[..], &options].concat()).ok();
    barge.run(run).fails(125).error_has("no interface `br-own`");
    // The way to others is a port of it, and so containers are there, too.
    let make = "ip link add br-own type bridge; ip link set far0 master br-own; \
                ip link set br-own up";
    barge.other_command("sh", ["-ec", make]).run().ok();
    let seen = || {
        let script = "ip -o address show dev br-own scope global; cd /proc/sys/net/ipv4; \
                      cat ip_forward conf/br-own/route_localnet";
        barge.other_command("sh", ["-ec", script]).run().ok().text()
    };
    let before = seen();
    serve(&barge, "n:ip=10.99.0.50");
    wait_until("it is there", || reaches(&far, "10.99.0.50:80"));
    let script = "ip route | awk '/^default/ {print $3}'; nslookup web | grep -c 10.99.0.50";
    let line = ["run", "--rm", "--network", "n", "busybox", "sh", "-c", script];
    barge.run(line).ok().stdout("10.99.0.2\n1\n");
    // Others may make it anew.
    let again = format!("ip link del br-own; {make}");
    barge.other_command("sh", ["-ec", &again]).run().ok();
    assert!(!reaches(&far, "10.99.0.50:80"));
    barge.run(["network", "reload", "-a"]).ok();
    wait_until("it is there again", || reaches(&far, "10.99.0.50:80"));
    // Another network may be another VLAN of it, if it has VLANs; one of ours may not be it.
    let other = ["network", "create", "-o", "mode=unmanaged", "-o", "vlan=42", "--subnet"];
    barge.run([&other[..], &["10.98.0.0/24", "--interface-name", "br-own", "m"]].concat()).ok();
    let line = ["run", "--rm", "--network", "m", "busybox", "true"];
    barge.run(line).fails(125).error_has("bridge `br-own` does not keep VLANs apart");
    let line = ["network", "create", "--interface-name", "br-own", "o"];
    barge.run(line).fails(125).error_has("bridge name br-own already in use");
    barge.run(["rm", "-f", "-t", "0", "web"]).ok();
    assert_eq!(seen(), before);
    assert_eq!(barge.other_command("nft", ["list", "ruleset"]).run().ok().text(), "");
    barge.run(["network", "rm", "n", "m"]).ok();
    barge.leaves_nothing();
}

#[test]
fn networks_are_vlans_of_a_bridge_that_others_have_made() {
    if !needs(&[Need::Root]) {
        return;
    }
    let (barge, far) = with_neighbor();
    if !has(&barge, &["type", "bridge", "vlan_filtering", "1"])
        || !has(&barge, &["link", "far0", "type", "vlan", "id", "9"])
    {
        return;
    }
    let trunk = "ip link add br-own type bridge vlan_filtering 1; ip link set br-own up
                 ip link set far0 master br-own; bridge vlan del dev far0 vid 1
                 bridge vlan add dev far0 vid 42; bridge vlan add dev far0 vid 43";
    barge.other_command("sh", ["-ec", trunk]).run().ok();
    far.enter(|| with_tags(&[(42, "10.98.0.9/24"), (43, "10.97.0.9/24")]));
    for (vlan, name, subnet) in [("42", "a", "10.98.0.0/24"), ("43", "b", "10.97.0.0/24")] {
        let vlan = format!("vlan={vlan}");
        let create = ["network", "create", "-o", "mode=unmanaged", "-o", &vlan];
        let rest = ["--interface-name", "br-own", "--subnet", subnet, name];
        barge.run([&create[..], &rest].concat()).ok();
    }
    serve(&barge, "a:ip=10.98.0.50");
    wait_until("it is there", || reaches(&far, "10.98.0.50:80"));
    let ports = barge.other_command("bridge", ["vlan", "show"]).run().ok().text();
    let own = ports.split("\nveth").nth(1).unwrap();
    let own: Vec<_> = own.split('\n').map(str::trim).take_while(|it| !it.is_empty()).collect();
    assert!(own.len() == 1 && own[0].ends_with("42 PVID Egress Untagged"), "{ports}");
    let from_b = |address: &str| {
        let ping = ["ping", "-c", "1", "-W", "2", address];
        let line = [&["run", "--rm", "--network", "b", "busybox"], &ping[..]].concat();
        barge.run(line).status
    };
    assert_eq!([from_b("10.97.0.9"), from_b("10.98.0.50"), from_b("10.98.0.9")], [0, 1, 1]);
    barge.run(["rm", "-f", "-t", "0", "web"]).ok();
    barge.run(["network", "rm", "a", "b"]).ok();
    barge.leaves_nothing();
}

#[test]
fn ports_of_a_bridge_are_in_a_vlan() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let line = ["network", "create", "--interface-name", "br-test", "-o", "vlan=42", "n"];
    barge.run(line).ok();
    if has(&barge, &["type", "bridge", "vlan_filtering", "1"]) {
        serve(&barge, "n:ip=10.89.0.50");
        wait_until("it is there", || reaches(barge.place(), "10.89.0.50:80"));
        let ports = barge.other_command("bridge", ["vlan", "show"]).run().ok().text();
        assert!(ports.contains("42 PVID Egress Untagged"), "{ports}");
        // A trunk to another switch: who is in that VLAN there is one of them.
        let far = Place::network();
        barge.place().connect(&far, "10.99.0.1/24", "10.99.0.2/24");
        if has(&barge, &["link", "far0", "type", "vlan", "id", "9"]) {
            let plug = "ip link set far0 master br-test; bridge vlan del dev far0 vid 42; \
                        bridge vlan add dev far0 vid 42";
            barge.other_command("sh", ["-ec", plug]).run().ok();
            far.enter(|| with_tags(&[(42, "10.89.0.9/24"), (43, "10.89.0.10/24")]));
            wait_until("it is there", || reaches(&far, "10.89.0.50:80"));
            for (address, status) in [("10.89.0.9", 0), ("10.89.0.10", 1)] {
                let line = ["exec", "web", "ping", "-c", "1", "-W", "2", address];
                barge.run(line).exits(status);
            }
        }
        barge.run(["rm", "-f", "-t", "0", "web"]).ok();
    } else {
        let line = ["run", "--rm", "--network", "n", "busybox", "true"];
        barge.run(line).fails(125).error_has("this kernel's bridges have no VLANs");
    }
    for option in ["vlan=0", "vlan=4095", "vlan=x"] {
        barge.run(["network", "create", "-o", option, "m"]).fails(125).error_has(option);
    }
    barge.leaves_nothing();
}
