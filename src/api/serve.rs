//! The service: connections, and each request to who answers it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::alone;
use super::buildkit::Hub;
use super::listen::{Accepting, Listener, Stream};
use super::process::Terminal;
use super::reply::Reply;
use super::route::{self, How, Talking};
use super::stream::{Body, asked, look, whole};
use super::version::{NEWEST, Version};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::sys::process;
use crate::sys::signal::Signals;
use crate::sys::watched::watched;

/// How long a client may take for the head of a request; and how long it may be idle.
const PATIENCE: Duration = Duration::from_mins(5);

/// How many threads look at things at once.
const THREADS: usize = 512;

/// How long nobody accepts after there were too many open files.
const RECOVERY: Duration = Duration::from_millis(50);

/// What all requests share.
#[derive(Debug)]
pub struct Service {
    pub(super) engine: Engine,
    /// How many files a process may have open, before we took more.
    pub(super) open_files: u64,
    activity: Activity,
    /// Builds that go through BuildKit's API.
    pub(super) buildkit: Hub,
    /// Terminals of processes that were added to containers, by what clients call those.
    terminals: Mutex<HashMap<String, Arc<Terminal>>>,
}

impl Service {
    /// The words, but for the first, that start our executable anew under a name.
    pub(super) fn own_words(&self, name: &str) -> Vec<OsString> {
        let words = self.engine.own_words(name).into_iter().skip(1).map(OsString::from_vec);
        words.chain([self.open_files.to_string().into()]).collect()
    }

    fn terminals(&self) -> MutexGuard<'_, HashMap<String, Arc<Terminal>>> {
        self.terminals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds the terminal of a process.
    pub(super) fn terminal(&self, id: &str) -> Option<Arc<Terminal>> {
        self.terminals().get(id).cloned()
    }

    /// Remembers the terminal of a process.
    pub(super) fn add_terminal(&self, id: &str, terminal: &Arc<Terminal>) {
        self.terminals().insert(id.to_owned(), Arc::clone(terminal));
    }

    /// Forgets it.
    pub(super) fn remove_terminal(&self, id: &str) {
        self.terminals().remove(id);
    }
}

/// What goes on.
#[derive(Debug)]
struct Activity {
    busy: AtomicUsize,
    last: Mutex<Instant>,
}

impl Activity {
    fn begin(&self) {
        self.busy.fetch_add(1, Ordering::SeqCst);
    }

    fn end(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.busy.fetch_sub(1, Ordering::SeqCst);
    }

    /// How long nothing has gone on.
    fn idle(&self) -> Duration {
        match self.busy.load(Ordering::SeqCst) {
            0 => self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed(),
            _ => Duration::ZERO,
        }
    }
}

/// Something that goes on; as long as it does, the service is not idle.
#[derive(Debug)]
pub(super) struct Busy(Arc<Service>);

impl Busy {
    pub(super) fn new(service: &Arc<Service>) -> Self {
        service.activity.begin();
        Self(Arc::clone(service))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.activity.end();
    }
}

/// Serves until a signal comes, or nothing has gone on for some time.
///
/// The engine must have its power already: from here on there are threads.
pub fn serve(
    engine: Engine,
    listeners: Vec<Listener>,
    idle: Option<Duration>,
    signals: &Signals,
) -> Result<()> {
    let open_files = process::raise_open_files().context(|| "cannot have more open files")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .thread_keep_alive(Duration::from_secs(1))
        .build()
        .context(|| "cannot start the service")?;
    let activity = Activity { busy: AtomicUsize::new(0), last: Mutex::new(Instant::now()) };
    let service = Arc::new(Service {
        engine,
        open_files,
        activity,
        buildkit: Hub::default(),
        terminals: Mutex::default(),
    });
    let served = runtime.block_on(async {
        for listener in &listeners {
            tokio::spawn(accept(listener.accepting()?, Arc::clone(&service)));
        }
        let ended = signalled(signals);
        match idle {
            None => ended.await,
            Some(idle) => tokio::select! {
                ended = ended => ended,
                () = idled(&service, idle) => Ok(()),
            },
        }
    });
    // What threads still wait for is no business of ours any more.
    runtime.shutdown_background();
    served
}

async fn signalled(signals: &Signals) -> Result<()> {
    let context = || "cannot wait for signals";
    let file = signals.as_fd().try_clone_to_owned().context(context)?;
    let file = watched(file).context(context)?;
    drop(file.readable().await.context(context)?);
    Ok(())
}

async fn idled(service: &Service, limit: Duration) {
    loop {
        let left = limit.saturating_sub(service.activity.idle());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}

/// Accepts connections for good.
async fn accept(listener: Accepting, service: Arc<Service>) {
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                let service = Arc::clone(&service);
                tokio::spawn(async move {
                    // Who does not greet, or has no certificate, gets no answer.
                    if let Ok(stream) = accepted.ready().await {
                        connection(stream, service).await;
                    }
                });
            }
            // Too many open files, or a client that has gone already.
            Err(_) => tokio::time::sleep(RECOVERY).await,
        }
    }
}

/// Serves one connection.
async fn connection(stream: Box<dyn Stream>, service: Arc<Service>) {
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(answer(service, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        // As in Docker, who ends its half of a connection has gone: what was begun for it ends.
        .half_close(false)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    // How a client leaves is its own business.
    drop(connection.await);
}

async fn answer(service: Arc<Service>, request: Request<Incoming>) -> Response<Body> {
    let busy = Busy::new(&service);
    let response = found(service, request).await;
    let response = response.unwrap_or_else(|error| whole(Reply::error(&error)));
    // It goes on until the body has been sent.
    response.map(|body| http_body_util::BodyExt::boxed_unsync(Kept { body, _busy: busy }))
}

async fn found(service: Arc<Service>, request: Request<Incoming>) -> Result<Response<Body>> {
    let (version, path) = versioned(request.uri().path())?;
    let path = path.to_owned();
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.clone(),
    };
    let (route, names) = route::find(request.method().as_str(), &path)?;
    let asked = asked(&request, &target, &version.to_string());
    match route.how {
        How::Here(reply) => Ok(whole(reply())),
        How::Look(handler) => look(service, handler, asked, names, request).await,
        How::Change(_) => alone::change(service, asked, request).await,
        How::Work(_) => alone::work(service, asked, request).await,
        How::Talk(talk) => talk(Talking { service, asked, names, request }).await,
        How::Inner(_) => Err(Error::new(Kind::NotFound, "page not found")),
        How::Swarm => Err(Error::new(
            Kind::Unavailable,
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
        )),
    }
}

/// Splits a path into the version that it begins with, and the rest.
pub(super) fn versioned(path: &str) -> Result<(Version, &str)> {
    let version = path.strip_prefix("/v").and_then(|rest| {
        let (version, _) = rest.split_once('/')?;
        let text = version.starts_with(|first: char| first.is_ascii_digit()).then_some(version)?;
        Some((text, &rest[version.len()..]))
    });
    match version {
        Some((version, rest)) => Ok((version.parse::<Version>()?.checked()?, rest)),
        None => Ok((NEWEST, path)),
    }
}

/// A body, and that something goes on as long as it is there.
struct Kept {
    body: Body,
    _busy: Busy,
}

impl hyper::body::Body for Kept {
    type Data = bytes::Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        poller: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, std::io::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(poller)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_versions_off() {
        for (path, want) in [
            ("/v1.45/info", Some(("1.45", "/info"))),
            ("/info", Some(("1.56", "/info"))),
            ("/volumes/v1.45", Some(("1.56", "/volumes/v1.45"))),
            ("/volumes", Some(("1.56", "/volumes"))),
            ("/v1.99/info", None),
            ("/v1.2/info", None),
            ("/v1.x/info", None),
        ] {
            let got = versioned(path).ok().map(|(version, rest)| (version.to_string(), rest));
            assert_eq!(got, want.map(|(version, rest)| (version.to_owned(), rest)), "{path}");
        }
    }
}
