//! `logs` on other hosts: as the service writes them, with the names in front.

use std::sync::{Mutex, PoisonError};
use std::thread;

use serde_json::Value;

use super::{Logs, prefix};
use crate::cmd::World;
use crate::cmd::answers::{self, text};
use crate::cmd::containers::Selection;
use crate::cmd::exit::Status;
use crate::cmd::output::Output;
use crate::error::{Context, Result};
use crate::remote::{Filled, Host, Parts, Request, Stream, escape};
use crate::spec::time;

/// One container's log.
struct Source {
    id: String,
    tty: bool,
    prefix: String,
}

impl Logs {
    /// Does it on another host.
    pub(super) fn show_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let selection = Selection::named(self.containers.clone(), self.latest);
        let names = selection.chosen_on(host, Vec::new())?;
        let mut sources = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let path = format!("/containers/{}/json", escape(name));
            let found = host.document(Request::get(path))?;
            let id = text(&found, "Id").to_owned();
            let shown = match (self.names, names.len() > 1) {
                (true, _) => text(&found, "Name").trim_start_matches('/'),
                (false, true) => answers::id(&id, false),
                (false, false) => "",
            };
            let prefix = prefix(at, shown, self.color);
            sources.push(Source { tty: found["Config"]["Tty"] == Value::Bool(true), prefix, id });
        }
        let requests: Vec<Request> =
            sources.iter().map(|source| self.request(&source.id)).collect::<Result<_>>()?;
        let out = Mutex::new(&mut world.out);
        if sources.len() < 2 || !self.follow {
            for (source, request) in sources.iter().zip(requests) {
                pass_on(host, source, request, &out)?;
            }
            return Ok(Status::SUCCESS);
        }
        // Each of them goes on; a connection can follow one only.
        let out = &out;
        let ended: Vec<Result<()>> = thread::scope(|scope| {
            let threads: Vec<_> = sources
                .iter()
                .zip(requests)
                .map(|(source, request)| {
                    let host = Host::new(host.target().clone());
                    scope.spawn(move || pass_on(&host, source, request, out))
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        ended.into_iter().collect::<Result<()>>()?;
        Ok(Status::SUCCESS)
    }

    fn request(&self, id: &str) -> Result<Request> {
        let now = crate::cmd::now();
        let at = |text: &Option<String>| -> Result<Option<String>> {
            let parsed = text.as_deref().map(|text| time::parse(text, now)).transpose()?;
            Ok(parsed.map(answers::seconds))
        };
        Ok(Request::get(format!("/containers/{}/logs", escape(id)))
            .with("stdout", 1)
            .with("stderr", 1)
            .flag("follow", self.follow)
            .flag("timestamps", self.timestamps)
            .flag("details", self.details)
            .maybe("tail", self.tail.and_then(|tail| tail.0))
            .maybe("since", at(&self.since)?)
            .maybe("until", at(&self.until)?))
    }
}

/// Prints a log as it comes. Lines of several containers stay whole.
fn pass_on(host: &Host, source: &Source, request: Request, out: &Mutex<&mut Output>) -> Result<()> {
    let mut answer = host.call(request)?;
    let mut parts = Parts::new(!source.tty);
    // What waits for the end of its line, of each stream.
    let mut waiting = [Vec::new(), Vec::new()];
    loop {
        let filled = parts.fill(&mut answer).context(|| "cannot follow the log")?;
        let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((stream, data)) = parts.take() {
            let print = match stream {
                Stream::Stdout => Output::bytes,
                Stream::Stderr => Output::error_bytes,
            };
            if source.prefix.is_empty() {
                print(&mut out, data)?;
                continue;
            }
            let waiting = &mut waiting[usize::from(stream == Stream::Stderr)];
            waiting.extend_from_slice(data);
            while let Some(end) = memchr::memchr(b'\n', waiting) {
                print(&mut out, source.prefix.as_bytes())?;
                print(&mut out, &waiting[..=end])?;
                waiting.drain(..=end);
            }
        }
        if filled == Filled::End {
            for (rest, print) in
                waiting.iter().zip([Output::bytes, Output::error_bytes]
                    as [fn(&mut Output, &[u8]) -> Result<()>; 2])
            {
                if !rest.is_empty() {
                    print(&mut out, source.prefix.as_bytes())?;
                    print(&mut out, rest)?;
                }
            }
            return out.flush();
        }
        out.flush()?;
    }
}
