//! The process of a build: its side of the talk.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::attributes::{self, below};
use super::steps::Steps;
use super::{Answer, Broken, CacheEntry, ContextPlace, Event, Output, Place, Request};
use crate::api::alone;
use crate::build::{
    self, Asked, BuildOptions, Built, Failure, Fetched, Listener, NamedContext, Remote, Sink,
    Sources, StepEnd, StepName,
};
use crate::engine::Engine;
use crate::engine::images::{Progress, ProgressEvent};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::build_cache::BuildCache;
use crate::spec::build_output::BuildOutput;
use crate::spec::dockerfile::Dockerfile;
use crate::spec::reference::Reference;
use crate::sys::process;

/// Carries a build out, in a process of its own. Returns the exit status.
pub(crate) fn main(words: &[OsString]) -> u8 {
    let answered = alone::connection().and_then(|socket| answer(words, socket));
    if answered.is_ok() { 0 } else { 125 }
}

fn answer(words: &[OsString], socket: UnixStream) -> Result<()> {
    let context = || "cannot talk to the service";
    let mut answers = BufReader::new(socket.try_clone().context(context)?);
    let mut line = String::new();
    answers.read_line(&mut line).context(context)?;
    let request: Request = serde_json::from_str(&line).context(context)?;
    let talk = Arc::new(Talk {
        socket: socket.try_clone().context(context)?,
        out: Mutex::new(socket),
        answers: Mutex::new(answers),
        watched: Once::new(),
        steps: OnceLock::new(),
        file: OnceLock::new(),
        failed: Mutex::new(None),
        pulled: Mutex::new(None),
    });
    let last = match carry_out(words, &request, &talk) {
        Ok(made) => Event::Made(made),
        Err(broken) => Event::Broken(broken),
    };
    talk.tell(&last);
    Ok(())
}

fn carry_out(
    words: &[OsString],
    request: &Request,
    talk: &Arc<Talk>,
) -> Result<BTreeMap<String, String>, Broken> {
    let plain = |error: Error| Broken::from(&error);
    let engine = alone::open(words).map_err(plain)?;
    let sources = sources(&engine, request).map_err(plain)?;
    let mut options = attributes::options(&request.attributes).map_err(plain)?;
    let asked = Arc::clone(talk);
    options.pull.registry.login_source = Some(Arc::new(move |registry| asked.login(registry)));
    options.cache_from = cache_from(request).map_err(plain)?;
    options.cache_to = request.cache_to.iter().map(cache).collect::<Result<_>>().map_err(plain)?;
    options.outputs = request.outputs.iter().map(output).collect::<Result<_>>().map_err(plain)?;
    options.file_name.clone_from(&sources.file_name);
    options.file.clone_from(&sources.file);
    options.context.clone_from(&sources.context);
    options.ignored = sources.ignored.clone();
    let (contexts, _held) = contexts(&engine, request).map_err(plain)?;
    options.contexts = contexts;
    for output in &options.outputs {
        options.annotations.extend(output.annotations.clone());
        options.index_annotations.extend(output.index_annotations.clone());
    }
    options.format = options.outputs.iter().find_map(|output| output.format);
    let file = Dockerfile::parse(&sources.file_name, &sources.file).map_err(plain)?;
    // Both are set here only.
    drop(talk.file.set((sources.file_name.clone(), sources.file.clone())));
    drop(talk.steps.set(Steps::new(file)));
    let built = build::build(&engine, &options, &**talk, &**talk)
        .map_err(|failure| talk.broken(&failure))?;
    give(&engine, &built, &options, request, talk).map_err(plain)
}

/// Gives the result away; returns what clients are told of it.
fn give(
    engine: &Engine,
    built: &Built,
    options: &BuildOptions,
    request: &Request,
    talk: &Talk,
) -> Result<BTreeMap<String, String>> {
    let mut facts = BTreeMap::new();
    let mut fact = |name: &str, value: String| facts.insert(name.to_owned(), value);
    if let Some(image) = built.images.first() {
        let id = image.image.id.to_string();
        fact("containerimage.config.digest", id.clone());
        fact("containerimage.digest", id);
    }
    for (output, asked) in options.outputs.iter().zip(&request.outputs) {
        let sink = asked.path.as_deref().map(Sink::Path);
        let registry = &options.pull.registry;
        let exported = build::export(engine, built, output, sink, registry, talk)?;
        if let Some(exported) = exported {
            let digest = exported.digest.to_string();
            let descriptor = json!({
                "mediaType": exported.media_type,
                "digest": digest,
                "size": exported.size,
            });
            fact("containerimage.digest", digest);
            fact("containerimage.descriptor", STANDARD.encode(descriptor.to_string()));
        }
        if !output.names.is_empty() {
            fact("image.name", output.names.join(","));
        }
    }
    for to in &options.cache_to {
        match build::export_cache(engine, built, to, &options.pull.registry, talk) {
            Err(error) if to.ignore_errors => talk.warning(&error.to_string()),
            kept => kept?,
        }
    }
    Ok(facts)
}

/// Returns the caches that steps are taken from. Clients say some of them in old ways, and some twice.
fn cache_from(request: &Request) -> Result<Vec<BuildCache>> {
    let words = |name: &str| request.attributes.get(name).filter(|text| !text.is_empty());
    let mut all = Vec::new();
    for name in words("cache-from").into_iter().flat_map(|text| text.split(',')) {
        all.push(BuildCache::in_registry(name));
    }
    for entry in &request.cache_from {
        all.push(cache(entry)?.check_source()?);
    }
    let mut known = Vec::new();
    for cache in all {
        if !known.contains(&cache) {
            known.push(cache);
        }
    }
    Ok(known)
}

/// Reads where a cache is.
fn cache(entry: &CacheEntry) -> Result<BuildCache> {
    let pairs = entry.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    BuildCache::of(&entry.kind, pairs)
}

/// Gets the Dockerfile and the context together.
fn sources(engine: &Engine, request: &Request) -> Result<Sources> {
    let name = request.attributes.get("filename").map_or("Dockerfile", String::as_str);
    if request.attributes.get("contextsubdir").is_some_and(|it| !it.is_empty()) {
        let text = "a part of a context cannot be the context (contextsubdir)";
        return Err(Error::new(Kind::Unsupported, text));
    }
    let store = engine.store();
    let asked = |context: &str| Asked {
        context: context.to_owned(),
        file: (name != "Dockerfile" && request.file.is_none()).then(|| name.to_owned()),
        ignore_file: None,
    };
    let mut sources = match &request.context {
        ContextPlace::Nowhere => Sources::default(),
        ContextPlace::Directory(path) => {
            let mut sources = Sources::default();
            sources.context = Some(path.clone());
            sources
        }
        ContextPlace::Archive(path) => {
            let file = File::open(path).context(|| format!("cannot open {}", path.display()))?;
            // The archive is what others have on their standard input.
            process::redirect(file.as_fd(), 0).context(|| "cannot read the context")?;
            Sources::get(store, &Asked { file: None, ..asked("-") })?
        }
        ContextPlace::Remote(address) => Sources::get(store, &asked(address))?,
    };
    if let Some((name, text)) = &request.file {
        sources.file_name.clone_from(name);
        sources.file.clone_from(text);
    }
    Ok(sources)
}

/// Finds contexts that have names, and fetches those that are elsewhere.
fn contexts(
    engine: &Engine,
    request: &Request,
) -> Result<(BTreeMap<String, NamedContext>, Vec<Fetched>)> {
    let (mut contexts, mut held) = (BTreeMap::new(), Vec::new());
    for (name, place) in below(&request.attributes, "context:") {
        // It may say for which platform it is.
        let name = name.split("::").next().unwrap_or(&name).to_owned();
        let context = match place.split_once(':') {
            Some(("docker-image", image)) => {
                NamedContext::Image(image.trim_start_matches("//").to_owned())
            }
            Some(("local", local)) => {
                let sent = request.contexts.get(local).cloned();
                NamedContext::Directory(sent.ok_or_else(|| {
                    Error::new(Kind::NotFound, format!("the client has no context `{name}`"))
                })?)
            }
            _ => match Remote::parse(&place) {
                Some(remote) => {
                    let fetched = build::fetch(engine.store(), &remote)?;
                    let path = match remote {
                        Remote::Git { .. } => fetched.directory().join(fetched.path()),
                        Remote::Web(_) => fetched.directory(),
                    };
                    held.push(fetched);
                    NamedContext::Directory(path)
                }
                None => {
                    let text = format!("the context `{name}` cannot be {place}");
                    return Err(Error::new(Kind::Unsupported, text)
                        .hint("it may be a directory, docker-image://IMAGE, or an address"));
                }
            },
        };
        contexts.insert(name, context);
    }
    Ok((contexts, held))
}

/// Reads what becomes of the result.
fn output(asked: &Output) -> Result<BuildOutput> {
    // What the client calls so is an image here.
    let kind = match asked.kind.as_str() {
        "moby" => "image",
        kind => kind,
    };
    let words = asked.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    // Of these nothing is to be done here.
    let own = |(name, _): &(&str, &str)| {
        !matches!(*name, "name" | "dest" | "mode" | "prefer-image-digest")
    };
    let mut output = BuildOutput::of(kind, words.filter(own))?;
    let names = asked.attributes.get("name").map_or("", String::as_str).split(',');
    for name in names.map(str::trim).filter(|name| !name.is_empty()) {
        output.names.push(name.parse::<Reference>()?.to_string());
    }
    Ok(output)
}

/// The talk with the service.
struct Talk {
    /// To see whether it is still there.
    socket: UnixStream,
    out: Mutex<UnixStream>,
    answers: Mutex<BufReader<UnixStream>>,
    watched: Once,
    steps: OnceLock<Steps>,
    /// The Dockerfile's name and text.
    file: OnceLock<(String, String)>,
    /// The first step that has failed, and its line.
    failed: Mutex<Option<(StepName, usize)>>,
    /// The image that is being pulled.
    pulled: Mutex<Option<String>>,
}

impl Talk {
    fn tell(&self, event: &Event) {
        // By now all is made that wants this process to have one thread.
        if let Ok(socket) = self.socket.try_clone() {
            self.watched.call_once(|| drop(std::thread::spawn(move || watch(&socket))));
        }
        // An event is a plain document. If nobody hears it, the build is about to be ended.
        let Ok(mut line) = serde_json::to_vec(event) else { return };
        line.push(b'\n');
        drop(self.out.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line));
    }

    /// Asks the service for something.
    fn ask(&self, event: &Event) -> Result<Answer> {
        let context = || "cannot talk to the service";
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        self.tell(event);
        let mut line = String::new();
        answers.read_line(&mut line).context(context)?;
        match serde_json::from_str(&line).context(context)? {
            Answer::Failed(why) => Err(Error::new(Kind::Unavailable, why)),
            answer => Ok(answer),
        }
    }

    /// Says why a build has failed, in Docker's words where it has some.
    fn broken(&self, failure: &Failure) -> Broken {
        let mut broken = Broken::from(&failure.error);
        if let Some(name) = self.take_pulled() {
            self.tell(&Event::Failed(name, broken.message.clone()));
        }
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some((step, line)), Some((file_name, file))) = (failed, self.file.get()) else {
            return broken;
        };
        if let Some(code) = failure.code {
            let words = self.steps.get().and_then(|steps| steps.words(&step));
            broken.message = format!(
                "process \"{}\" did not complete successfully: exit code: {code}",
                words.unwrap_or(step.text)
            );
        }
        broken.place = Some(Place { file_name: file_name.clone(), file: file.clone(), line });
        broken
    }

    /// Asks who the client is to a registry.
    fn login(&self, registry: &str) -> Result<Option<(String, String)>> {
        match self.ask(&Event::Login(registry.to_owned()))? {
            Answer::Login(found) => Ok(found),
            _ => Ok(None),
        }
    }

    fn take_pulled(&self) -> Option<String> {
        self.pulled.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Ends this process as a signal would, when the service is not there any more.
fn watch(socket: &UnixStream) {
    use rustix::event::{PollFd, PollFlags, poll};
    loop {
        let mut files = [PollFd::new(socket, PollFlags::empty())];
        match poll(&mut files, None) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => break,
        }
    }
    let own = rustix::process::getpid();
    // There is nobody to tell.
    let _nobody = rustix::process::kill_process(own, rustix::process::Signal::TERM);
}

impl Listener for Talk {
    fn begin(&self, step: &StepName) {
        if let Some(name) = self.take_pulled() {
            self.tell(&Event::Done(name, false));
        }
        if let Some(shown) = self.steps.get().and_then(|steps| steps.shown(step)) {
            self.tell(&Event::Began(shown.key, shown.name));
        }
    }

    fn line(&self, _step: &StepName, _text: &str) {}

    fn output(&self, step: &StepName, bytes: &[u8]) {
        if let Some(shown) = self.steps.get().and_then(|steps| steps.shown(step)) {
            self.tell(&Event::Output(shown.key, STANDARD.encode(bytes)));
        }
    }

    fn end(&self, step: &StepName, end: StepEnd<'_>) {
        let Some(shown) = self.steps.get().and_then(|steps| steps.shown(step)) else { return };
        self.tell(&match end {
            StepEnd::Done => Event::Done(shown.key, false),
            StepEnd::Cached => Event::Done(shown.key, true),
            StepEnd::Failed(error) => {
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                if failed.is_none() && shown.line > 0 {
                    *failed = Some((step.clone(), shown.line));
                }
                Event::Failed(shown.key, error.to_string())
            }
        });
    }

    fn warning(&self, text: &str) {
        self.tell(&Event::Warning(text.to_owned()));
    }

    fn secret(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let context = || format!("cannot read secret `{name}`");
        match self.ask(&Event::Secret(name.to_owned()))? {
            Answer::Secret(Some(data)) => {
                let data = STANDARD.decode(data).map_err(std::io::Error::other);
                data.map(Some).context(context)
            }
            _ => Ok(None),
        }
    }

    fn agent(&self, name: &str) -> Result<Option<PathBuf>> {
        match self.ask(&Event::Agent(name.to_owned()))? {
            Answer::Agent(path) => Ok(path),
            _ => Ok(None),
        }
    }
}

impl Progress for Talk {
    fn update(&self, event: ProgressEvent<'_>) {
        if let ProgressEvent::Trying(name) = event {
            let name = format!("[internal] pull {name}");
            let mut pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(before) = pulled.replace(name.clone()) {
                self.tell(&Event::Done(before, false));
            }
            self.tell(&Event::Began(name.clone(), name));
            return;
        }
        let pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(key) = pulled else {
            if let ProgressEvent::Warning(text) = event {
                self.warning(text);
            }
            return;
        };
        match event {
            ProgressEvent::Layer { digest, done, total } => {
                self.tell(&Event::Part(key, digest.to_string(), done, total));
            }
            ProgressEvent::LayerDone(digest) => {
                self.tell(&Event::PartDone(key, digest.to_string()));
            }
            ProgressEvent::Recording => {
                drop(self.take_pulled());
                self.tell(&Event::Done(key, false));
            }
            ProgressEvent::Warning(text) => self.warning(text),
            _ => {}
        }
    }
}
