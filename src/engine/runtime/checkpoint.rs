//! `checkpoint` and `restore`: a container's processes in files, and made again of these.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Spec};
use serde::{Deserialize, Serialize};

use super::create::has_terminal;
use super::document::{self, Document};
use super::{Runtime, Status, conflict};
use crate::engine::exec::wait_with_signals;
use crate::engine::{host, now, session};
use crate::error::{Context, Error, Kind, Result};
use crate::runtime::cgroup::Hierarchies;
use crate::runtime::{After, Dump, Liberties, Restore, Rootfs, Stdio};
use crate::store::bundle::{LockedBundle, Record};
use crate::store::file;
use crate::sys::clone::Child;
use crate::sys::process;

/// What is in a checkpoint beside CRIU's files.
const NOTES: &str = "barge.json";

/// What CRIU does not keep for us.
#[derive(Debug, Serialize, Deserialize)]
struct Notes {
    /// What the standard descriptors led to, in CRIU's words.
    descriptors: Vec<String>,
    /// The path of the control group.
    cgroup: String,
}

/// A container to be written to files.
#[derive(Debug)]
pub struct Checkpoint {
    /// Its name.
    pub id: String,
    /// The directory of the files.
    pub images: PathBuf,
    /// The directory of the log; that of the files if none.
    pub work: Option<PathBuf>,
    /// Where an earlier dump of memory is, from the directory of the files.
    pub parent: Option<PathBuf>,
    /// What may be done.
    pub liberties: Liberties,
    /// What becomes of it.
    pub after: After,
}

/// A container to be made of files.
#[derive(Debug)]
pub struct Restoration {
    /// Its name.
    pub id: String,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// The directory of the files.
    pub images: PathBuf,
    /// The directory of the log; that of the files if none.
    pub work: Option<PathBuf>,
    /// The file that gets the number of its first process.
    pub pid_file: Option<PathBuf>,
    /// What may be done.
    pub liberties: Liberties,
    /// Whether nobody waits for its end.
    pub detach: bool,
}

impl Runtime {
    /// Writes a container's processes to files. If they end with that, the container is deleted.
    pub fn checkpoint(&self, asked: &Checkpoint) -> Result<()> {
        self.check_power()?;
        let record = self.bundles.get(&asked.id)?;
        match self.status(&record)? {
            Status::Running => {}
            status => {
                let text = format!("cannot checkpoint a container that is {}", status.word());
                return Err(conflict(text));
            }
        }
        let spec = self.bundles.spec(&asked.id)?;
        check_spec(&spec)?;
        let images = host::absolute(&asked.images)?;
        let work = match &asked.work {
            Some(work) => host::absolute(work)?,
            None => images.clone(),
        };
        let dump = Dump {
            pid: record.pid,
            spec: &spec,
            images: &images,
            work: &work,
            parent: asked.parent.as_deref(),
            foreign_network: network(&spec).is_some(),
            liberties: &asked.liberties,
            after: asked.after,
        };
        let notes = Notes { descriptors: dump.run()?, cgroup: record.cgroup.clone() };
        file::write_json_volatile(&images.join(NOTES), &notes)?;
        match asked.after {
            After::End => self.delete(&asked.id, true),
            After::GoOn | After::Stand | After::OnlyMemory => Ok(()),
        }
    }

    /// Makes a container of files; returns its exit code, or 0 at once if nobody waits for it. `warn` is
    /// told of warnings.
    ///
    /// Its hooks do not run again.
    pub fn restore(&self, asked: &Restoration, keep: bool, warn: &dyn Fn(&str)) -> Result<i32> {
        self.check_power()?;
        let document = document::read(&asked.bundle)?;
        check_spec(&document.spec)?;
        let images = host::absolute(&asked.images)?;
        let notes: Notes = file::read_json(&images.join(NOTES))?.ok_or_else(|| {
            let text = format!("{} has no checkpoint of barge", images.display());
            Error::new(Kind::NotFound, text)
        })?;
        if !asked.detach {
            process::become_subreaper().context(|| "cannot become the reaper of orphans")?;
        }
        let signals = session::catch_signals(!asked.detach)?;
        let mut reserved = self.bundles.reserve(&asked.id)?;
        let made = self.make_again(asked, &document, &notes, &images, &mut reserved, warn);
        let child = match made {
            Ok(child) => child,
            Err(error) => {
                // What failed is the news.
                drop(reserved.remove());
                return Err(error);
            }
        };
        drop(reserved);
        if let Some(path) = &asked.pid_file {
            file::write_volatile(path, child.pid.to_string().as_bytes())?;
        }
        if asked.detach {
            return Ok(0);
        }
        let code = wait_with_signals(&child.pidfd, &signals, None)?;
        if !keep {
            match self.delete(&asked.id, false) {
                // Somebody else was faster.
                Err(error) if error.kind() == Kind::NotFound => {}
                other => other?,
            }
        }
        Ok(code)
    }

    fn make_again(
        &self,
        asked: &Restoration,
        document: &Document,
        notes: &Notes,
        images: &Path,
        reserved: &mut LockedBundle,
        warn: &dyn Fn(&str),
    ) -> Result<Child> {
        let id = &asked.id;
        let network = open_network(&document.spec)?;
        reserved.save_spec(&document.text)?;
        let hierarchies = Hierarchies::detect()?;
        let place = self.place(&document.spec, id, &hierarchies)?;
        let mut record = Record {
            id: id.clone(),
            bundle: document.bundle.clone(),
            rootfs: document.rootfs.clone(),
            pid: 0,
            start_time: 0,
            created: now(),
            cgroup: place.path().to_owned(),
            unit: place.unit(),
            rootless: self.host.rootless,
        };
        reserved.save(&record)?;
        let (cgroup, scope, warnings) =
            self.make_group(&hierarchies, &place, id, &document.spec)?;
        warnings.iter().for_each(|warning| warn(warning));
        if let Some(scope) = &scope {
            record.cgroup.clone_from(&scope.path);
        }
        let work = match &asked.work {
            Some(work) => host::absolute(work)?,
            None => images.to_owned(),
        };
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let restore = Restore {
            spec: &document.spec,
            rootfs: &Rootfs::Directory(document.rootfs.clone()),
            images,
            work: &work,
            pid_file: &self.bundles.dir(id)?.join("restored"),
            cgroup: &cgroup,
            new_group: (record.cgroup != notes.cgroup).then_some(record.cgroup.as_str()),
            network: network.as_ref().map(AsFd::as_fd),
            descriptors: &notes.descriptors,
            stdio: Stdio { stdin: stdin.as_fd(), stdout: stdout.as_fd(), stderr: stderr.as_fd() },
            liberties: &asked.liberties,
        };
        let made = restore.run().and_then(|child| {
            record.pid = child.pid;
            record.start_time = process::start_time(child.pid).unwrap_or(0);
            match reserved.save(&record) {
                Ok(()) => Ok(child),
                Err(error) => {
                    let _gone = process::send_signal(&child.pidfd, libc::SIGKILL);
                    Err(error)
                }
            }
        });
        drop(scope);
        if made.is_err() {
            drop(self.remove_group(&cgroup, record.unit.as_deref(), record.rootless));
        }
        made
    }

    /// CRIU needs power over the machine.
    fn check_power(&self) -> Result<()> {
        match self.host.rootless {
            false => Ok(()),
            true => Err(Error::new(Kind::Unsupported, "checkpoints need root")),
        }
    }
}

/// Refuses what CRIU cannot be told of.
fn check_spec(spec: &Spec) -> Result<()> {
    match has_terminal(spec) {
        false => Ok(()),
        true => {
            let text = "a container with a terminal cannot be checkpointed";
            Err(Error::new(Kind::Unsupported, text).hint("run it without a terminal"))
        }
    }
}

/// Returns the path of a network namespace that others have made.
fn network(spec: &Spec) -> Option<&PathBuf> {
    document::namespace(spec, LinuxNamespaceType::Network)
        .map(LinuxNamespace::path)
        .and_then(Option::as_ref)
}

fn open_network(spec: &Spec) -> Result<Option<OwnedFd>> {
    let open = |path: &PathBuf| -> Result<OwnedFd> {
        File::open(path).map(Into::into).context(|| format!("cannot open {}", path.display()))
    };
    network(spec).map(open).transpose()
}
