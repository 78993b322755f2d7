//! What this machine offers to networks, for those who ask why something does not work.

use std::fs;
use std::fs::File;

use netlink_packet_route::link::InfoKind;

use super::ground::Ground;
use super::link::Links;
use super::{choose, firewall, firewalld, pasta, slirp};
use crate::error::Error;
use crate::sys::check::Check;

/// Looks at what containers of this kind of user need of the network. Changes nothing.
pub fn checks(rootless: bool) -> Vec<Check> {
    if rootless {
        vec![pasta_program(), tunnel_device(), low_ports()]
    } else {
        let kinds = [("bridge", InfoKind::Bridge), ("veth", InfoKind::Veth)];
        let mut checks: Vec<_> = kinds.into_iter().map(|(name, kind)| link(name, kind)).collect();
        checks.extend([tables(), forwarding()]);
        checks.extend(firewalld());
        checks
    }
}

fn pasta_program() -> Check {
    let name = "pasta";
    match pasta::find() {
        Some(program) => {
            let version = pasta::version(&program).unwrap_or_else(|| "does not start".to_owned());
            Check::good(name, format!("{} ({version})", program.display()))
        }
        None if slirp::plan_if_needed().is_some() => {
            Check::good(name, "not found; slirp4netns is used, which hides where packets come from")
        }
        None => Check::bad(
            name,
            "not found",
            "install the package passt; without it there are only --network none and host",
        ),
    }
}

fn tunnel_device() -> Check {
    let name = "tunnel device";
    match File::options().read(true).write(true).open(pasta::DEVICE) {
        Ok(_) => Check::good(name, format!("{} can be opened", pasta::DEVICE)),
        Err(error) => failed(name, &pasta::device_error(error)),
    }
}

fn low_ports() -> Check {
    let name = "low ports";
    match fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start") {
        Ok(first) => Check::good(name, format!("can be published from {} on", first.trim())),
        Err(error) => Check::good(name, format!("cannot be published: {error}")),
    }
}

fn link(name: &'static str, kind: InfoKind) -> Check {
    match Links::open().and_then(|mut links| links.supports(kind)) {
        Ok(true) => Check::good(name, "interfaces can be made"),
        Ok(false) => {
            Check::bad(name, "the kernel does not know this kind", format!("load module {name}"))
        }
        Err(error) => Check::bad(name, error.to_string(), "this needs the capability NET_ADMIN"),
    }
}

fn tables() -> Check {
    let name = "nf_tables";
    match firewall::is_installed(&Ground::Own, choose::USUAL_INTERFACE) {
        Ok(true) => Check::good(name, format!("table {} is there", choose::USUAL_INTERFACE)),
        Ok(false) => Check::good(name, "tables can be made"),
        Err(error) => failed(name, &error),
    }
}

fn forwarding() -> Check {
    let name = "IPv4 forwarding";
    match fs::read_to_string("/proc/sys/net/ipv4/ip_forward") {
        Ok(value) if value.trim() == "1" => Check::good(name, "on"),
        Ok(_) => Check::good(name, "off; the first container on a bridge switches it on"),
        Err(error) => Check::bad(name, error.to_string(), "mount /proc"),
    }
}

/// Tells whether firewalld can be told of networks, if it is here.
fn firewalld() -> Option<Check> {
    let name = "firewalld";
    match firewalld::answers(&Ground::Own) {
        Ok(true) => Some(Check::good(name, "lets networks pass while containers are on them")),
        Ok(false) => None,
        // What keeps us from looking is said of the tables.
        Err(error) => error.hint_text().is_some().then(|| failed(name, &error)),
    }
}

fn failed(name: &'static str, error: &Error) -> Check {
    let hint = error.hint_text().map(str::to_owned);
    Check { name, ok: false, detail: error.to_string(), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_a_way_out_of_each_failure() {
        for check in checks(true).into_iter().chain(checks(false)) {
            assert!(check.ok || check.hint.is_some(), "{check:?}");
            assert!(!check.detail.is_empty(), "{check:?}");
        }
    }
}
