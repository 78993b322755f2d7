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
            let mac = barge.other_command("cat", ["/sys/class/net/far0/address"]).run().ok().text();
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
