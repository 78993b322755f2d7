//! `barge system service`

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::World;
use super::exit::Status;
use super::output;
use super::tree::Act;
use crate::api::listen::{self, Address, ListenOptions};
use crate::api::serve;
use crate::api::tls::TlsFiles;
use crate::error::{Context, Result};
use crate::store::file;
use crate::sys::signal::Signals;

/// Serve Docker's API to its clients
///
/// Clients find it with DOCKER_HOST=unix:///run/barge/barge.sock. It keeps nothing: containers, their
/// health checks and restarts go on without it.
#[derive(Args, Debug)]
pub(crate) struct Service {
    /// End after so many seconds without a request; 0 for never
    #[arg(short, long, value_name = "SECONDS", default_value_t = 5)]
    time: u64,
    /// Let this group connect to the socket, too
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Allow tcp:// without TLS at loopback addresses
    #[arg(long)]
    plain_loopback: bool,
    /// Our certificate for TLS, in PEM
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_client_ca"])]
    tls_cert: Option<PathBuf>,
    /// Authority that certifies clients, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// Key of our certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Addresses: unix:///PATH, tcp://HOST:PORT or fd://
    #[arg(value_name = "ADDRESS")]
    addresses: Vec<Address>,
}

impl Act for Service {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.power()?;
        let mut addresses = self.addresses;
        if addresses.is_empty() {
            // As Podman: a socket unit needs no address.
            let by_systemd =
                std::env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
            addresses.push(match by_systemd {
                true => Address::Inherited,
                false => {
                    let dir = engine.store().runroot();
                    file::create_dirs(dir, 0o700)?;
                    Address::Unix(dir.join("barge.sock"))
                }
            });
        }
        let tls = match (self.tls_cert, self.tls_key, self.tls_client_ca) {
            (Some(certificate), Some(key), Some(clients)) => {
                Some(TlsFiles { certificate, key, clients })
            }
            _ => None,
        };
        let options = ListenOptions { group: self.group, plain_loopback: self.plain_loopback, tls };
        let signals = Signals::new(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP])
            .context(|| "cannot wait for signals")?;
        let listeners = listen::listen(&addresses, &options)?;
        for listener in &listeners {
            output::note(&format!("listening at {}", listener.shown()));
        }
        let idle = (self.time > 0).then(|| Duration::from_secs(self.time));
        serve::serve(engine, listeners, idle, &signals)?;
        Ok(Status::SUCCESS)
    }
}
