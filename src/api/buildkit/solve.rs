//! One build: from the client's files to the result in the client's hands.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::builds::{Build, Facts};
use super::caches::Caches;
use super::files;
use super::gather::{Gathered, Gatherer};
use super::message::Any;
use super::rpc::{Code, Status};
use super::session::Session;
use super::worker::{Answer, Broken, Event, Output, Request, Worker};
use crate::api::serve::Service;
use crate::error::{Context, Error, Kind, Result};
use crate::store::draft::Draft;

/// The only frontend that there is; others are images that would have to be run.
const FRONTEND: &str = "dockerfile.v0";

/// Bytes of the largest Dockerfile that is shown where a build fails: it travels in a header field.
const LARGEST_SHOWN: usize = 256 << 10;

/// Where clients look for what they are to write into the index of a cache of their own.
const CACHE_MANIFEST: &str = "cache.manifest";

/// Builds what a frontend is asked for.
pub(super) async fn solve(
    service: &Arc<Service>,
    build: &Build,
    frontend: &str,
    attributes: &HashMap<String, String>,
) -> Result<Facts, Status> {
    // One that a Dockerfile or a client names by `# syntax` is the same language.
    if frontend != FRONTEND && frontend != "gateway.v0" {
        let text = format!("unknown frontend `{frontend}`: barge builds Dockerfiles");
        return Err(Status::new(Code::Unimplemented, text));
    }
    if let Some(request) = attributes.get("requestid").filter(|it| !it.is_empty()) {
        let text = format!("unsupported request {request}");
        return Err(Status::new(Code::Unimplemented, text));
    }
    let hub = &service.buildkit;
    let gatherer =
        Gatherer { store: service.engine.store(), sessions: &hub.sessions, build, attributes };
    let gathered = gatherer.gather().await.map_err(|error| plain(&error))?;
    let session = hub.sessions.find(&build.session).await.map_err(|error| plain(&error))?;
    let solver = Solver { service, build, session };
    solver.carry_out(attributes, &gathered).await
}

/// The status of a failure before anything was built: clients show the text of an unknown one as it is.
fn plain(error: &Error) -> Status {
    let hint = error.hint_text().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
    Status::new(Code::Unknown, format!("{error}{hint}"))
}

/// A build whose files are here.
struct Solver<'a> {
    service: &'a Arc<Service>,
    build: &'a Build,
    session: Arc<Session>,
}

impl Solver<'_> {
    async fn carry_out(
        &self,
        attributes: &HashMap<String, String>,
        gathered: &Gathered,
    ) -> Result<Facts, Status> {
        let plain = |error: Error| plain(&error);
        let results = self.service.engine.store().draft_dir().map_err(plain)?;
        let mut attributes: BTreeMap<String, String> =
            attributes.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let caches =
            Caches::gather(self.build, &mut attributes, &self.session, results.path()).await;
        let caches = caches.map_err(plain)?;
        let request = Request {
            attributes,
            outputs: self.outputs(&results),
            file: gathered.file.clone(),
            context: gathered.context.clone(),
            contexts: gathered.contexts.iter().cloned().collect(),
            cache_from: caches.from.clone(),
            cache_to: caches.to.clone(),
        };
        let mut facts = self.work(&request, &results).await?;
        let kept = caches.give(self.build, &self.session).await.map_err(plain)?;
        facts.extend(kept.map(|manifest| (CACHE_MANIFEST.to_owned(), manifest)));
        self.hand_over(&request, &facts).await.map_err(plain)?;
        Ok(facts)
    }

    /// Says where results lie that the client gets.
    fn outputs(&self, results: &Draft) -> Vec<Output> {
        let output = |(number, exporter): (usize, &super::message::control::Exporter)| {
            let goes = matches!(exporter.kind.as_str(), "local" | "tar" | "oci" | "docker");
            Output {
                kind: exporter.kind.clone(),
                attributes: exporter.attributes.clone().into_iter().collect(),
                path: goes.then(|| results.path().join(format!("result{number}"))),
            }
        };
        let outputs: Vec<Output> = self.build.exporters.iter().enumerate().map(output).collect();
        if !outputs.is_empty() {
            return outputs;
        }
        // Who wants nothing wants it to be quick the next time.
        let (attributes, path) = (BTreeMap::new(), None);
        vec![Output { kind: "cacheonly".to_owned(), attributes, path }]
    }

    /// Has a process build, and tells how it goes on.
    async fn work(&self, request: &Request, results: &Draft) -> Result<Facts, Status> {
        let plain = |error: Error| plain(&error);
        let progress = &self.build.progress;
        let key = |key: &str| format!("{} {key}", self.build.reference);
        let mut agents = Agents::default();
        let mut worker = Worker::start(Arc::clone(self.service), request).await.map_err(plain)?;
        while let Some(event) = worker.next().await.map_err(plain)? {
            match event {
                Event::Began(step, name) => progress.begin(&key(&step), &name),
                Event::Output(step, data) => {
                    // It is what we have written ourselves.
                    let data = STANDARD.decode(data).unwrap_or_default();
                    progress.log(&key(&step), &data);
                }
                Event::Done(step, cached) => progress.end(&key(&step), cached, None),
                Event::Failed(step, why) => progress.end(&key(&step), false, Some(why)),
                Event::Part(step, name, done, total) => {
                    progress.part(&key(&step), &name, done, total, false);
                }
                Event::PartDone(step, name) => progress.part(&key(&step), &name, 0, 0, true),
                Event::Warning(text) => progress.warn(&text),
                Event::Secret(name) => {
                    let answer = match self.session.secret(&name).await {
                        Ok(found) => Answer::Secret(found.map(|data| STANDARD.encode(data))),
                        Err(error) => Answer::Failed(error.to_string()),
                    };
                    worker.answer(&answer).await.map_err(plain)?;
                }
                Event::Agent(name) => {
                    let answer = match agents.get(&self.session, &name, results.path()).await {
                        Ok(path) => Answer::Agent(path),
                        Err(error) => Answer::Failed(error.to_string()),
                    };
                    worker.answer(&answer).await.map_err(plain)?;
                }
                Event::Login(registry) => {
                    let answer = match self.session.login(&registry).await {
                        Ok(found) => Answer::Login(found),
                        Err(error) => Answer::Failed(error.to_string()),
                    };
                    worker.answer(&answer).await.map_err(plain)?;
                }
                Event::Made(facts) => return Ok(facts),
                Event::Broken(broken) => return Err(status(&broken)),
            }
        }
        Err(Status::new(Code::Unknown, "the process of the build was killed"))
    }

    /// Gives the client what it wanted for itself.
    async fn hand_over(&self, request: &Request, facts: &Facts) -> Result<()> {
        for (number, output) in request.outputs.iter().enumerate() {
            let Some(path) = &output.path else { continue };
            let (key, shown) = match output.kind.as_str() {
                "local" => ("copy", "exporting to client directory"),
                "tar" => ("copy", "exporting to client tarball"),
                _ => ("copy", "sending tarball"),
            };
            let key = format!("{} {key}{number}", self.build.reference);
            self.build.progress.begin(&key, shown);
            let given = self.give(number, &output.kind, path, facts).await;
            let why = given.as_ref().err().map(ToString::to_string);
            self.build.progress.end(&key, false, why);
            given.context(|| "cannot give the result to the client")?;
        }
        Ok(())
    }

    async fn give(&self, number: usize, kind: &str, path: &Path, facts: &Facts) -> Result<()> {
        let facts: Vec<(&str, String)> =
            facts.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let (mut outgoing, mut answer) = self.session.send(number, &facts).await?;
        match kind {
            "local" => files::send(&mut outgoing, &mut answer, path).await?,
            _ => files::send_bytes(&mut outgoing, path).await?,
        }
        Ok(answer.end(&mut outgoing).await?)
    }
}

/// Sockets of SSH agents, by name; they are there as long as this is.
#[derive(Default)]
struct Agents(HashMap<String, (std::path::PathBuf, tokio::task::JoinHandle<()>)>);

impl Agents {
    async fn get(
        &mut self,
        session: &Arc<Session>,
        name: &str,
        directory: &Path,
    ) -> Result<Option<std::path::PathBuf>> {
        if let Some((path, _)) = self.0.get(name) {
            return Ok(Some(path.clone()));
        }
        let Some((path, task)) = session.agent(name, directory).await? else { return Ok(None) };
        self.0.insert(name.to_owned(), (path.clone(), task));
        Ok(Some(path))
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.0.values().for_each(|(_, task)| task.abort());
    }
}

/// The status of a build that has failed, with the place in the Dockerfile for clients to show.
fn status(broken: &Broken) -> Status {
    let hint = broken.hint.as_ref().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
    let mut status = Status::new(Code::Unknown, format!("{}{hint}", broken.message));
    if broken.kind == Kind::Unavailable && broken.message.ends_with("interrupted") {
        status.code = Code::Canceled;
    }
    let Some(place) = &broken.place else { return status };
    if place.file.len() > LARGEST_SHOWN {
        return status;
    }
    let line = json!({ "line": place.line });
    let source = json!({
        "info": {
            "filename": place.file_name,
            "data": STANDARD.encode(&place.file),
            "language": "Dockerfile",
        },
        "ranges": [{ "start": line, "end": line }],
    });
    status.details.push(Any {
        type_url: "github.com/moby/buildkit/errdefs.Source+json".to_owned(),
        value: source.to_string().into_bytes(),
    });
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::buildkit::worker::Place;

    #[test]
    fn shows_where_a_build_fails() {
        let broken = Broken {
            kind: Kind::Internal,
            message: "process \"/bin/sh -c false\" did not complete successfully: exit code: 1"
                .to_owned(),
            hint: None,
            place: Some(Place {
                file_name: "Dockerfile".to_owned(),
                file: "FROM x\nRUN false\n".to_owned(),
                line: 2,
            }),
        };
        let status = status(&broken);
        assert_eq!((status.code, &status.message), (Code::Unknown, &broken.message));
        let detail: serde_json::Value = serde_json::from_slice(&status.details[0].value).unwrap();
        assert_eq!(detail["ranges"][0]["start"]["line"], 2);
        assert_eq!(detail["info"]["data"], STANDARD.encode("FROM x\nRUN false\n"));
    }
}
