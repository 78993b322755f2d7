//! Where the processes of a test run: the host, or network and mount namespaces of its own.
//!
//! As root each test has a network namespace, so that two stores never share the default bridge and
//! nothing that a test does can stay on the host. The namespaces live as descriptors of the test
//! process: they vanish with it, whatever happens.

use std::fs::File;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

/// A set of namespaces.
#[derive(Clone, Default)]
pub(crate) struct Place {
    net: Option<Arc<File>>,
    mnt: Option<Arc<File>>,
}

impl Place {
    /// The namespaces of the test process.
    pub(crate) fn host() -> Self {
        Self::default()
    }

    /// A new network namespace whose loopback interface is up. Needs root.
    pub(crate) fn network() -> Self {
        let net = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("root can make network namespaces");
            command("ip", &["link", "set", "lo", "up"]);
            File::open("/proc/thread-self/ns/net").expect("/proc is mounted")
        });
        Self { net: Some(Arc::new(net.join().expect("it has a network"))), mnt: None }
    }

    /// The same network with mounts of its own, made by `shell` commands. Needs root.
    pub(crate) fn with_mounts(&self, commands: &str) -> Self {
        let commands = commands.to_owned();
        let net = self.net.clone();
        let mnt = thread::spawn(move || {
            // Implies a file system context that this thread shares with nobody.
            unshare(CloneFlags::CLONE_NEWNS).expect("root can make mount namespaces");
            command("mount", &["--make-rprivate", "/"]);
            command("sh", &["-ec", &commands]);
            File::open("/proc/thread-self/ns/mnt").expect("/proc is mounted")
        });
        Self { net, mnt: Some(Arc::new(mnt.join().expect("it has mounts"))) }
    }

    /// Runs `work` here. Processes that it starts are here too.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        if self.net.is_none() && self.mnt.is_none() {
            return work();
        }
        thread::scope(|scope| {
            let entered = scope.spawn(|| {
                if let Some(net) = &self.net {
                    setns(net, CloneFlags::CLONE_NEWNET).expect("it is a network namespace");
                }
                if let Some(mnt) = &self.mnt {
                    unshare(CloneFlags::CLONE_FS).expect("it needs no permission");
                    setns(mnt, CloneFlags::CLONE_NEWNS).expect("it is a mount namespace");
                }
                work()
            });
            entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Tells whether it has a network of its own.
    pub(crate) fn has_network(&self) -> bool {
        self.net.is_some()
    }

    /// Connects this network to another one by a pair of interfaces named `far0` with addresses
    /// `here` and `there`, written with their prefix length.
    pub(crate) fn connect(&self, other: &Self, here: &str, there: &str) {
        let far = other.net.clone().expect("the other place has a network");
        let path = format!("/proc/{}/fd/{}", std::process::id(), raw(&far));
        self.enter(|| {
            command(
                "ip",
                &["link", "add", "far0", "type", "veth", "peer", "name", "far0", "netns", &path],
            );
            address(here);
        });
        other.enter(|| address(there));
    }
}

fn raw(file: &File) -> i32 {
    use std::os::fd::AsRawFd;
    file.as_raw_fd()
}

fn address(address: &str) {
    command("ip", &["address", "add", address, "dev", "far0"]);
    command("ip", &["link", "set", "far0", "up"]);
}

fn command(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("the tool is installed");
    assert!(
        output.status.success(),
        "{program} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}
