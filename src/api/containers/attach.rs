//! `POST /containers/{id}/attach`: a conversation with the programs of a container.
//!
//! Clients attach before they start a container, and miss nothing of it. So one that does not run is made
//! ready as far as a container goes without its program; from then on it has a monitor to connect to.

use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use tokio::io::unix::AsyncFd;

use super::find;
use super::look::content_type;
use crate::api::alone;
use crate::api::hijack::{self, Hearing, Telling};
use crate::api::query::Query;
use crate::api::reply::Reply;
use crate::api::request::{Asked, Call};
use crate::api::route::{Later, Talking};
use crate::api::serve::Busy;
use crate::api::stream::{Body, blocking};
use crate::engine::frame::{self, Decoder, Filled, FrameKind};
use crate::engine::{Engine, KeyWatch};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::keys::DetachKeys;
use crate::store::container::{Container, Status};
use crate::sys::watched::watched;

/// Bytes of input that go to a monitor at once.
const PART: usize = 32 << 10;

/// How often it is looked whether a client that says nothing more is still there.
const LOOK: Duration = Duration::from_secs(1);

/// What a client wants of a conversation.
struct Wanted {
    stdin: bool,
    /// Whether the container hears of it when there is no more input.
    ends_input: bool,
    /// Whether it wants each of the outputs.
    outputs: [bool; 2],
    keys: KeyWatch,
}

/// `POST /containers/{id}/attach`.
pub(super) fn attach(talking: Talking) -> Later<Result<Response<Body>>> {
    Box::pin(talk(talking))
}

async fn talk(talking: Talking) -> Result<Response<Body>> {
    let Talking { service, asked, names, request } = talking;
    let query = Query::new(asked.target.split_once('?').map_or("", |(_, query)| query));
    let name = names.into_iter().next().unwrap_or_default();
    let keys = detach_keys(&query)?;
    let stream = query.is_set("stream");
    let found = {
        let (service, name) = (service.clone(), name.clone());
        blocking(move || find(&service.engine, &name)).await?
    };
    check(&found)?;
    let tty = found.config.settings.tty;
    let mut wanted = Wanted {
        stdin: stream && query.is_set("stdin") && found.config.settings.interactive,
        ends_input: !found.config.settings.input_stays,
        outputs: [query.is_set("stdout"), query.is_set("stderr")],
        keys: KeyWatch::new(if tty { keys } else { Vec::new() }),
    };
    if tty {
        wanted.outputs[0] |= wanted.outputs[1];
    }
    let past = query.is_set("logs").then(|| logs(&asked, &found, &wanted));
    let monitor = match stream && (wanted.stdin || wanted.outputs != [false; 2]) {
        false => None,
        true => {
            if found.state.process().is_none() {
                let path = format!("/containers/{}/init", found.id());
                let inner = Asked { method: "INIT".to_owned(), target: path, ..asked.clone() };
                // What is wrong with it is told to who starts it.
                drop(alone::ask(service.clone(), inner).await);
            }
            let service = service.clone();
            let dial = move || {
                let found = service.engine.lookup(found.id().as_str())?;
                let runs = found.state.run().is_some();
                service.engine.dial_for_output(&found).map(|monitor| (monitor, runs))
            };
            blocking(dial).await.ok()
        }
    };
    // In a browser, both outputs are one stream of bytes.
    let is_websocket = asked.target.split('?').next().is_some_and(|path| path.ends_with("/ws"));
    let raw = tty || is_websocket;
    let (response, opening) = match is_websocket {
        true => hijack::open_websocket(request)?,
        false => hijack::open(request, content_type(tty), true),
    };
    let busy = Busy::new(&service);
    tokio::spawn(async move {
        let _busy = busy;
        let Ok((hearing, mut telling)) = opening.begin().await else { return };
        if let Some(asked) = past
            && let Ok(lines) = alone::ask(service, asked).await
            && !telling.tell(Bytes::from(lines)).await
        {
            return;
        }
        match (monitor, stream) {
            (Some((monitor, runs)), _) => {
                drop(converse(monitor, runs, hearing, &mut telling, wanted, raw).await);
            }
            // It could not be made ready: who starts it hears of that, and leaves.
            (None, true) => until_gone(hearing, &telling).await,
            (None, false) => {}
        }
        telling.end().await;
    });
    Ok(response)
}

/// Asks for what a container has written so far.
fn logs(asked: &Asked, found: &Container, wanted: &Wanted) -> Asked {
    let [stdout, stderr] = wanted.outputs.map(u8::from);
    let target = format!("/containers/{}/logs?stdout={stdout}&stderr={stderr}", found.id());
    Asked { method: "GET".to_owned(), target, ..asked.clone() }
}

/// Reads the keys that end a conversation.
pub(in crate::api) fn detach_keys(query: &Query) -> Result<Vec<u8>> {
    let keys = query.get("detachKeys").map_or_else(|| Ok(DetachKeys::default()), str::parse)?;
    Ok(keys.0)
}

fn check(found: &Container) -> Result<()> {
    let id = found.id();
    match &found.state.status {
        Status::Running(run) if run.paused => Err(Error::new(
            Kind::Conflict,
            format!("container {id} is paused, unpause the container before attach"),
        )),
        Status::Restarting(_) => Err(Error::new(
            Kind::Conflict,
            format!("container {id} is restarting, wait until the container is running"),
        )),
        _ => Ok(()),
    }
}

/// Makes a container ready but for its program; is for [`attach`] only.
pub(super) fn init(engine: &Engine, call: &mut Call) -> Result<Reply> {
    engine.init(find(engine, call.name())?.id())?;
    Ok(Reply::done())
}

/// Waits until a client has gone.
async fn until_gone(mut hearing: Hearing, telling: &Telling) {
    while hearing.next().await.is_some() {}
    while !telling.is_gone() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Passes input and output on until the container ends, or the client leaves.
async fn converse(
    monitor: OwnedFd,
    runs: bool,
    hearing: Hearing,
    telling: &mut Telling,
    wanted: Wanted,
    raw: bool,
) -> Result<()> {
    let context = || "cannot talk to the monitor";
    rustix::io::ioctl_fionbio(&monitor, true).context(context)?;
    let monitor = watched(monitor).context(context)?;
    let Wanted { stdin, ends_input, outputs, keys } = wanted;
    // A monitor has nobody to give input to before the program runs.
    let (running, started) = tokio::sync::watch::channel(runs);
    let inputs = async {
        let left = input(&monitor, started, hearing, stdin, keys).await?;
        if let Left::SaidAll = left
            && stdin
            && ends_input
        {
            let mut end = Vec::new();
            frame::append(&mut end, FrameKind::StdinEnd, b"");
            send(&monitor, &end).await?;
        }
        Ok::<_, Error>(left)
    };
    let outputs = output(&monitor, &running, telling, outputs, raw);
    tokio::pin!(inputs, outputs);
    let mut said_all = false;
    loop {
        tokio::select! {
            ended = &mut outputs => return ended,
            left = &mut inputs, if !said_all => match left? {
                Left::Detached => return Ok(()),
                Left::SaidAll => said_all = true,
            },
        }
    }
}

/// How what a client says ends.
enum Left {
    Detached,
    SaidAll,
}

/// Passes on what the client says.
async fn input(
    monitor: &AsyncFd<OwnedFd>,
    mut started: tokio::sync::watch::Receiver<bool>,
    mut hearing: Hearing,
    wanted: bool,
    mut keys: KeyWatch,
) -> Result<Left> {
    // Who tells lives as long as we do.
    let _told = started.wait_for(|runs| *runs).await.is_ok();
    let mut frames = Vec::new();
    while let Some(data) = hearing.next().await {
        let (data, detached) = keys.strip(&data);
        if wanted {
            for part in data.chunks(PART) {
                frames.clear();
                frame::append(&mut frames, FrameKind::Stdin, part);
                send(monitor, &frames).await?;
            }
        }
        if detached {
            return Ok(Left::Detached);
        }
    }
    Ok(Left::SaidAll)
}

async fn send(monitor: &AsyncFd<OwnedFd>, mut data: &[u8]) -> Result<()> {
    let context = || "cannot talk to the monitor";
    while !data.is_empty() {
        let mut ready = monitor.writable().await.context(context)?;
        let flags = rustix::net::SendFlags::NOSIGNAL;
        if let Ok(sent) = ready.try_io(|it| Ok(rustix::net::send(it.get_ref(), data, flags)?)) {
            data = &data[sent.context(context)?..];
        }
    }
    Ok(())
}

/// Passes on what the container says.
async fn output(
    monitor: &AsyncFd<OwnedFd>,
    running: &tokio::sync::watch::Sender<bool>,
    telling: &mut Telling,
    wanted: [bool; 2],
    raw: bool,
) -> Result<()> {
    let context = || "cannot hear from the monitor";
    let mut decoder = Decoder::default();
    loop {
        let mut told = Vec::new();
        let mut ended = false;
        while let Some((kind, data)) = decoder.next()? {
            match kind {
                FrameKind::Stdout | FrameKind::Stderr
                    if !wanted[usize::from(kind == FrameKind::Stderr)] => {}
                FrameKind::Stdout | FrameKind::Stderr if raw => told.extend_from_slice(data),
                FrameKind::Stdout | FrameKind::Stderr => frame::append(&mut told, kind, data),
                FrameKind::Started => {
                    running.send_replace(true);
                }
                FrameKind::Exited | FrameKind::Failed => ended = true,
                _ => {}
            }
        }
        if !told.is_empty() && !telling.tell(Bytes::from(told)).await {
            return Ok(());
        }
        if ended {
            return Ok(());
        }
        let mut ready = loop {
            // A client that only listens, and leaves, is not to be kept for a container that is silent.
            match tokio::time::timeout(LOOK, monitor.readable()).await {
                Ok(ready) => break ready.context(context)?,
                Err(_) if telling.is_gone() => return Ok(()),
                Err(_) => {}
            }
        };
        let filled = ready.try_io(|it| match decoder.fill(it.get_ref())? {
            Filled::Later => Err(std::io::ErrorKind::WouldBlock.into()),
            other => Ok(other),
        });
        if let Ok(filled) = filled
            && filled.context(context)? == Filled::End
        {
            return Ok(());
        }
    }
}
