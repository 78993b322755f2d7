//! Builds that go on.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::message::RpcStatus;
use super::message::control::{CacheOptions, Exporter, SolveRequest};
use super::progress::Progress;
use super::rpc::{Code, Status};

/// How long calls about a build wait for it to begin, and how long it is known when it is over: the calls
/// of a client come in any order.
const PATIENCE: Duration = Duration::from_secs(10);

/// What clients are told of a result.
pub(super) type Facts = BTreeMap<String, String>;

/// All builds, by what their clients call them.
#[derive(Debug, Default)]
pub(super) struct Builds {
    known: Mutex<HashMap<String, Arc<Build>>>,
    changes: watch::Sender<()>,
}

/// One build.
#[derive(Debug)]
pub(super) struct Build {
    /// What it is called.
    pub(super) reference: String,
    /// The client's session.
    pub(super) session: String,
    /// What becomes of the result.
    pub(super) exporters: Vec<Exporter>,
    /// Where steps are kept besides, and where they are taken from.
    pub(super) cache: CacheOptions,
    /// How it goes on.
    pub(super) progress: Progress,
    /// What was built, by the names that clients know it by.
    results: Mutex<HashMap<String, Facts>>,
    /// What the client's function has ended with.
    returned: watch::Sender<Option<Returned>>,
}

/// What a client's function has ended with: the name of a result, or why there is none.
pub(super) type Returned = Result<Option<String>, RpcStatus>;

impl Builds {
    /// Takes note of a build that begins.
    pub(super) fn begin(&self, request: &SolveRequest) -> Result<Arc<Build>, Status> {
        let mut exporters = request.exporters.clone();
        if exporters.is_empty() && !request.old_exporter.is_empty() {
            exporters.push(Exporter {
                kind: request.old_exporter.clone(),
                attributes: request.old_exporter_attributes.clone(),
            });
        }
        let build = Arc::new(Build::new(request, exporters));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains_key(&request.reference) {
            let text = format!("there is a build `{}` already", request.reference);
            return Err(Status::new(Code::AlreadyExists, text));
        }
        known.insert(request.reference.clone(), Arc::clone(&build));
        drop(known);
        self.changes.send_replace(());
        Ok(build)
    }

    /// Finds a build, and waits for one that is about to begin.
    pub(super) async fn find(&self, reference: &str) -> Result<Arc<Build>, Status> {
        let mut changes = self.changes.subscribe();
        let found = async {
            loop {
                if let Some(build) = self.get(reference) {
                    return Some(build);
                }
                changes.changed().await.ok()?;
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await.ok().flatten();
        found.ok_or_else(|| Status::new(Code::NotFound, format!("no such job {reference}")))
    }

    fn get(&self, reference: &str) -> Option<Arc<Build>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(reference).cloned()
    }

    /// Forgets a build that is over, when all calls about it must have come.
    pub(super) async fn forget(&self, reference: &str) {
        tokio::time::sleep(PATIENCE).await;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(reference);
    }
}

impl Build {
    pub(super) fn new(request: &SolveRequest, exporters: Vec<Exporter>) -> Self {
        Self {
            reference: request.reference.clone(),
            session: request.session.clone(),
            exporters,
            cache: request.cache.clone().unwrap_or_default(),
            progress: Progress::default(),
            results: Mutex::default(),
            returned: watch::Sender::new(None),
        }
    }

    /// Keeps what was built; returns the name that the client knows it by.
    pub(super) fn keep(&self, facts: Facts) -> String {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{}-{}", self.reference, results.len());
        results.insert(name.clone(), facts);
        name
    }

    /// Returns what was built under a name.
    pub(super) fn result(&self, name: &str) -> Option<Facts> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The client's function has ended.
    pub(super) fn give_back(&self, returned: Returned) {
        self.returned.send_replace(Some(returned));
    }

    /// Waits for the client's function to end.
    pub(super) async fn returned(&self) -> Option<Returned> {
        let mut returned = self.returned.subscribe();
        returned.wait_for(Option::is_some).await.ok().and_then(|it| it.clone())
    }
}
