//! How a build goes on, kept for whoever asks.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::message::Timestamp;
use super::message::control::{StatusResponse, Vertex, VertexLog, VertexStatus, VertexWarning};
use crate::store::blob::digest_of;

/// Bytes of a step's output that are kept, as BuildKit does.
const LOG_LIMIT: usize = 2 << 20;

/// What is shown in place of the rest.
const CLIPPED: &[u8] = b"\n[output clipped, log limit 2MiB reached]\n";

/// All that has been told of a build.
#[derive(Debug, Default)]
pub(super) struct Progress {
    told: Mutex<Told>,
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Told {
    all: Vec<StatusResponse>,
    vertexes: HashMap<String, Vertex>,
    logged: HashMap<String, usize>,
    /// The step that began last: warnings are shown at one.
    last: String,
    is_over: bool,
}

impl Progress {
    /// A step begins. The key tells it apart from others, in this build and all others.
    pub(super) fn begin(&self, key: &str, name: &str) {
        let digest = digest_of(key.as_bytes()).to_string();
        self.tell(|told| {
            let vertex = Vertex {
                digest: digest.clone(),
                name: name.to_owned(),
                started: Some(Timestamp::now()),
                ..Vertex::default()
            };
            told.last.clone_from(&digest);
            told.vertexes.insert(digest, vertex.clone());
            Some(StatusResponse { vertexes: vec![vertex], ..StatusResponse::default() })
        });
    }

    /// A step ends, well or not.
    pub(super) fn end(&self, key: &str, cached: bool, error: Option<String>) {
        let digest = digest_of(key.as_bytes()).to_string();
        self.tell(|told| {
            let mut vertex = told.vertexes.remove(&digest)?;
            vertex.completed = Some(Timestamp::now());
            vertex.cached = cached;
            vertex.error = error.unwrap_or_default();
            Some(StatusResponse { vertexes: vec![vertex], ..StatusResponse::default() })
        });
    }

    /// A step's command has written something.
    pub(super) fn log(&self, key: &str, data: &[u8]) {
        let vertex = digest_of(key.as_bytes()).to_string();
        self.tell(|told| {
            let logged = told.logged.entry(vertex.clone()).or_default();
            if *logged >= LOG_LIMIT {
                return None;
            }
            *logged += data.len();
            let mut data = data.to_vec();
            if *logged >= LOG_LIMIT {
                data.extend_from_slice(CLIPPED);
            }
            let timestamp = Some(Timestamp::now());
            let log = VertexLog { vertex, timestamp, stream: 1, data };
            Some(StatusResponse { logs: vec![log], ..StatusResponse::default() })
        });
    }

    /// A part of a step goes on: bytes that are done, and in all, if that is known.
    pub(super) fn part(&self, key: &str, name: &str, current: u64, total: u64, is_over: bool) {
        let vertex = digest_of(key.as_bytes()).to_string();
        let now = Timestamp::now();
        let status = VertexStatus {
            id: name.to_owned(),
            vertex,
            name: name.to_owned(),
            current: i64::try_from(current).unwrap_or(i64::MAX),
            total: i64::try_from(total).unwrap_or(i64::MAX),
            timestamp: Some(now),
            started: Some(now),
            completed: is_over.then_some(now),
        };
        self.tell(|_| Some(StatusResponse { statuses: vec![status], ..StatusResponse::default() }));
    }

    /// Something that the user should know.
    pub(super) fn warn(&self, text: &str) {
        self.tell(|told| {
            let vertex = told.last.clone();
            let warning = VertexWarning { vertex, level: 1, short: text.as_bytes().to_vec() };
            Some(StatusResponse { warnings: vec![warning], ..StatusResponse::default() })
        });
    }

    /// Nothing more happens.
    pub(super) fn close(&self) {
        self.tell(|told| {
            told.is_over = true;
            // What was going on goes on no more.
            let left: Vec<Vertex> = told.vertexes.drain().map(|(_, vertex)| vertex).collect();
            let ended = left.into_iter().map(|mut vertex| {
                vertex.completed = Some(Timestamp::now());
                "context canceled".clone_into(&mut vertex.error);
                vertex
            });
            let vertexes: Vec<Vertex> = ended.collect();
            let is_empty = vertexes.is_empty();
            (!is_empty).then(|| StatusResponse { vertexes, ..StatusResponse::default() })
        });
    }

    /// Waits for what has been told since the first `seen`; nothing if that was all.
    pub(super) async fn after(&self, seen: usize) -> Option<Vec<StatusResponse>> {
        let mut changes = self.changes.subscribe();
        loop {
            {
                let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                if told.all.len() > seen {
                    return Some(told.all[seen..].to_vec());
                }
                if told.is_over {
                    return None;
                }
            }
            changes.changed().await.ok()?;
        }
    }

    fn tell(&self, change: impl FnOnce(&mut Told) -> Option<StatusResponse>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(news) = change(&mut told) {
            told.all.push(news);
        }
        drop(told);
        self.changes.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(progress: &Progress) -> Vec<StatusResponse> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(progress.after(0)).unwrap_or_default()
    }

    #[test]
    fn tells_of_steps() {
        let progress = Progress::default();
        progress.begin("a", "[1/2] FROM x");
        progress.log("a", b"text");
        progress.end("a", true, None);
        progress.begin("b", "[2/2] RUN x");
        progress.close();
        let told = all(&progress);
        let vertexes: Vec<_> = told.iter().flat_map(|it| &it.vertexes).collect();
        assert_eq!(vertexes.len(), 4);
        assert!(vertexes[0].digest.starts_with("sha256:") && vertexes[0].completed.is_none());
        assert!(vertexes[1].cached && vertexes[1].completed.is_some());
        assert_eq!(vertexes[1].started, vertexes[0].started);
        assert_eq!(vertexes[3].error, "context canceled", "what was going on has ended");
        assert_eq!(told[1].logs[0].vertex, vertexes[0].digest);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(progress.after(told.len())), None);
    }

    #[test]
    fn clips_what_is_written_without_end() {
        let progress = Progress::default();
        for _ in 0..(LOG_LIMIT / 1000) + 10 {
            progress.log("a", &[b'x'; 1000]);
        }
        let told = all(&progress);
        let length: usize = told.iter().flat_map(|it| &it.logs).map(|log| log.data.len()).sum();
        assert!(length < LOG_LIMIT + 2000, "{length}");
        assert!(told.last().unwrap().logs[0].data.ends_with(CLIPPED));
    }
}
