//! The files that barge writes for a container: names of hosts, .containerenv, the time zone.

use std::fs;
use std::path::Path;

use crate::engine::Engine;
use crate::engine::bundle::{self, Facts};
use crate::engine::time_zone;
use crate::error::{Context, Result};
use crate::net;
use crate::spec::network::HostsBase;
use crate::store::container::ContainerConfig;
use crate::store::driver::Tree;
use crate::store::file;
use crate::sys::root;

/// More than any sensible /etc/hosts of an image; a larger file is not read to its end.
const LARGEST_HOSTS: u64 = 1 << 20;

/// Writes the container's resolv.conf, hosts, hostname and .containerenv.
pub(super) fn write_names(
    engine: &Engine,
    config: &ContainerConfig,
    facts: &Facts,
    endpoint: &net::Endpoint,
) -> Result<()> {
    let names = &config.settings.names;
    let hostname = engine.shown_hostname(config)?;
    let host_hosts = net::host_hosts(endpoint)?;
    let base = hosts_base(engine, config)?;
    let base = base.as_deref().unwrap_or(&host_hosts);
    let hosts = net::hosts_file(base, names, endpoint, &hostname, &facts.name)?;
    let resolv_conf = net::resolv_conf(&net::host_resolv_conf(endpoint)?, names, endpoint);
    write_own_files(engine, config, facts)?;
    write_name_file(facts, "hostname", &format!("{hostname}\n"))?;
    write_name_file(facts, "hosts", &hosts)?;
    write_name_file(facts, "resolv.conf", &resolv_conf)
}

/// Gives a container that shares another's network the names that the other has.
pub(super) fn copy_names(
    engine: &Engine,
    config: &ContainerConfig,
    other: &Path,
    facts: &Facts,
) -> Result<()> {
    write_own_files(engine, config, facts)?;
    for name in bundle::name_files() {
        let path = bundle::own_file(other, name);
        let text =
            fs::read_to_string(&path).context(|| format!("cannot read {}", path.display()))?;
        write_name_file(facts, name, &text)?;
    }
    Ok(())
}

/// Writes what does not depend on the network: .containerenv and the time zone.
fn write_own_files(engine: &Engine, config: &ContainerConfig, facts: &Facts) -> Result<()> {
    let name = &facts.name;
    let settings = &config.settings;
    let mut about = String::new();
    if settings.security.privileged {
        about = format!(
            "engine=\"barge-{}\"\nname=\"{name}\"\nid=\"{}\"\nimage=\"{}\"\nimageid=\"{}\"\nrootless={}\n",
            env!("CARGO_PKG_VERSION"),
            config.id,
            config.image,
            config.image_id.hex(),
            u8::from(engine.host.rootless),
        );
    }
    write_own_file(facts, "containerenv", about.as_bytes())?;
    if let Some(zone) = &settings.time_zone {
        write_own_file(facts, "localtime", &time_zone::read(zone)?)?;
    }
    Ok(())
}

/// Returns what the user wants /etc/hosts to begin with, if that is not the usual.
fn hosts_base(engine: &Engine, config: &ContainerConfig) -> Result<Option<String>> {
    match &config.settings.names.base {
        HostsBase::Usual => Ok(None),
        HostsBase::None => Ok(Some(String::new())),
        HostsBase::File(path) => {
            fs::read_to_string(path).map(Some).context(|| format!("cannot read {}", path.display()))
        }
        HostsBase::Image => {
            let trees = match engine.store.containers().tree(config) {
                Tree::Whole(tree) => vec![tree],
                Tree::Layers(layers) => layers,
            };
            Ok(Some(trees.iter().find_map(|tree| image_hosts(tree)).unwrap_or_default()))
        }
    }
}

/// Reads /etc/hosts of one layer of an image, which may lead nowhere but into the layer.
fn image_hosts(layer: &Path) -> Option<String> {
    use std::io::Read;
    let root = root::Root::open(layer).ok()?;
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
    let file = root.file(b"etc/hosts", flags, rustix::fs::Mode::empty()).ok()?;
    let file = fs::File::from(file);
    let mut text = String::new();
    file.metadata().ok().filter(fs::Metadata::is_file)?;
    file.take(LARGEST_HOSTS).read_to_string(&mut text).ok()?;
    Some(text)
}

fn write_name_file(facts: &Facts, name: &str, text: &str) -> Result<()> {
    write_own_file(facts, name, text.as_bytes())
}

fn write_own_file(facts: &Facts, name: &str, data: &[u8]) -> Result<()> {
    let path = bundle::own_file(&facts.run_dir, name);
    // The container changes it in place, so it is not replaced by another file.
    fs::write(&path, data).context(|| format!("cannot write {}", path.display()))?;
    file::set_mode(&path, 0o644)?;
    if let Some((uid, gid)) = facts.owner {
        std::os::unix::fs::chown(&path, Some(uid), Some(gid))
            .context(|| format!("cannot give {} to the container", path.display()))?;
    }
    Ok(())
}
