//! Requests that are answered in a process of their own.
//!
//! The engine makes processes and changes namespaces only where there is one thread, and the service has
//! several. So our executable is started anew for each request that changes something. It talks to the
//! service over the socket that is its standard input: first a line of JSON with what is asked for
//! ([`Asked`]), then the body of the request up to its end; back comes a line with the head of the
//! answer ([`Head`]), then its body.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task::{Context as Poller, Poll};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::unix::OwnedReadHalf;

use super::reply::{Head, Reply};
use super::request::{Answer, Asked, Call};
use super::route::{self, How};
use super::serve::Service;
use super::stream::{Body, broken_off, response};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::sys::process;
use crate::sys::watched::watched;

/// The program's name when it is started for a request.
const NAME: &str = "barge: request";

/// Bytes of the longest head of an answer.
const LONGEST_HEAD: usize = 64 << 10;

/// Tells whether these words start us for a request.
pub fn is_asked_for(name: &OsStr) -> bool {
    name == NAME
}

/// Answers a request, in a process of its own. Returns the exit status.
pub fn main(words: &[OsString]) -> u8 {
    let socket = process::inherited(0).context(|| "this is started by the service only");
    if socket.and_then(|socket| answer(words, UnixStream::from(socket))).is_ok() { 0 } else { 125 }
}

fn answer(words: &[OsString], socket: UnixStream) -> Result<()> {
    let context = || "cannot talk to the service";
    let null = std::fs::File::open("/dev/null").context(|| "cannot open /dev/null")?;
    process::redirect(std::os::fd::AsFd::as_fd(&null), 0).context(context)?;
    let mut body = BufReader::new(socket.try_clone().context(context)?);
    let mut line = String::new();
    body.read_line(&mut line).context(context)?;
    let asked: Asked = serde_json::from_str(&line).context(context)?;
    let path = asked.target.split('?').next().unwrap_or_default();
    let (route, names) = route::find(&asked.method, path)?;
    let (How::Change(handler) | How::Work(handler)) = route.how else {
        return Err(Error::new(Kind::Invalid, "this is not answered in a process of its own"));
    };
    let answer = FromProcess(BufWriter::new(socket.try_clone().context(context)?));
    let mut call = Call::new(asked, names, Box::new(body), Box::new(answer))?;
    let result = open(words).and_then(|engine| handler(&engine, &mut call));
    if call.has_begun() {
        return result.map(drop);
    }
    let reply = result.unwrap_or_else(|error| Reply::error(&error));
    let mut out = FromProcess(BufWriter::new(socket));
    out.begin(reply.head).and_then(|()| out.write_all(&reply.body)).context(context)?;
    out.flush().context(context)
}

fn open(words: &[OsString]) -> Result<Engine> {
    // The service has more than what containers are to inherit.
    if let Some(limit) = words.last().and_then(|word| word.to_str()?.parse().ok()) {
        process::limit_open_files(limit).context(|| "cannot limit open files")?;
    }
    Engine::from_own_words(words)
}

/// The end of an answer at which the process writes.
struct FromProcess(BufWriter<UnixStream>);

impl Answer for FromProcess {
    fn begin(&mut self, head: Head) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, &head)?;
        self.0.write_all(b"\n")?;
        self.0.flush()
    }

    fn is_wanted(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut files = [PollFd::new(self.0.get_ref(), PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let _interrupted = poll(&mut files, Some(&now));
        !files[0].revents().contains(PollFlags::HUP)
    }
}

impl Write for FromProcess {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Has a process answer a request that goes on if the client vanishes.
pub(super) async fn change(
    service: Arc<Service>,
    asked: Asked,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let work = start(service, asked, request, false);
    tokio::spawn(work).await.map_err(broken_off)?
}

/// Has a process answer a request; it is ended if the client vanishes.
pub(super) async fn work(
    service: Arc<Service>,
    asked: Asked,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    start(service, asked, request, true).await
}

async fn start(
    service: Arc<Service>,
    asked: Asked,
    request: Request<Incoming>,
    ends_with_client: bool,
) -> Result<Response<Body>> {
    let context = || "cannot talk to the process of a request";
    let mut line = serde_json::to_vec(&asked).context(context)?;
    line.push(b'\n');
    let started = tokio::task::spawn_blocking(move || spawn(&service));
    let (socket, child) = started.await.map_err(broken_off)??;
    socket.set_nonblocking(true).context(context)?;
    let process = Arc::new(Running::watch(child)?);
    let guard = ends_with_client.then(|| EndedWith(Arc::clone(&process)));
    let socket = tokio::net::UnixStream::from_std(socket).context(context)?;
    let (mut from, mut to) = socket.into_split();
    let mut body = request.into_body();
    let has_body = !hyper::body::Body::is_end_stream(&body);
    to.write_all(&line).await.context(context)?;
    if has_body {
        tokio::spawn(async move {
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else {
                    // What has come so far must not be taken for all of it.
                    process.end(Signal::KILL);
                    return;
                };
                if let Ok(data) = frame.into_data()
                    && to.write_all(&data).await.is_err()
                {
                    // It wants no more: its answer says why. The rest is taken and dropped.
                    while let Some(Ok(_)) = body.frame().await {}
                    return;
                }
            }
            // The end of the body.
            drop(to.shutdown().await);
        });
    } else {
        to.shutdown().await.context(context)?;
        // Its end is the end of what we say, not of what we hear.
        drop(to);
    }
    let mut buffer = BytesMut::with_capacity(1024);
    let end = loop {
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            break end;
        }
        if buffer.len() > LONGEST_HEAD || from.read_buf(&mut buffer).await.context(context)? == 0 {
            return Err(Error::new(Kind::Internal, "the process of the request was killed"));
        }
    };
    let head = buffer.split_to(end + 1);
    let head: Head = serde_json::from_slice(&head).context(context)?;
    let rest = buffer.freeze();
    Ok(response(head, FromSocket { rest, from, _guard: guard }.boxed_unsync()))
}

/// Starts our executable anew.
fn spawn(service: &Service) -> Result<(UnixStream, Child)> {
    let (ours, theirs) = UnixStream::pair().context(|| "cannot make a socket pair")?;
    let words = service.engine.own_words(NAME).into_iter().skip(1).map(OsString::from_vec);
    let child = Command::new("/proc/self/exe")
        .arg0(NAME)
        .args(words)
        .arg(service.open_files.to_string())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        // What a terminal sends its foreground is not for what was begun.
        .process_group(0)
        .spawn()
        .context(|| "cannot start a process for the request")?;
    Ok((ours, child))
}

/// A process that answers a request.
struct Running {
    pidfd: OwnedFd,
}

impl Running {
    /// Has somebody wait for its end.
    fn watch(mut child: Child) -> Result<Self> {
        let context = || "cannot watch the process of a request";
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid =
            pid.ok_or(io::ErrorKind::InvalidData).map_err(io::Error::from).context(context)?;
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK).context(context)?;
        let waited = watched(pidfd.try_clone().context(context)?).context(context)?;
        tokio::spawn(async move {
            // It has ended when this is readable, so that nobody waits below.
            drop(waited.readable().await);
            drop(child.wait());
        });
        Ok(Self { pidfd })
    }

    /// Ends it, if it has not ended.
    fn end(&self, signal: Signal) {
        let _gone = pidfd_send_signal(&self.pidfd, signal);
    }
}

/// Ends a process when this goes.
struct EndedWith(Arc<Running>);

impl Drop for EndedWith {
    fn drop(&mut self) {
        self.0.end(Signal::TERM);
    }
}

/// A body that comes from a process.
struct FromSocket {
    rest: Bytes,
    from: OwnedReadHalf,
    _guard: Option<EndedWith>,
}

impl hyper::body::Body for FromSocket {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.rest)))));
        }
        let mut space = BytesMut::zeroed(16 << 10);
        let mut buffer = ReadBuf::new(&mut space);
        match tokio::io::AsyncRead::poll_read(Pin::new(&mut self.from), poller, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
            Poll::Ready(Ok(())) => {
                let length = buffer.filled().len();
                space.truncate(length);
                let part = Some(space.freeze()).filter(|part| !part.is_empty());
                Poll::Ready(part.map(|part| Ok(Frame::data(part))))
            }
        }
    }
}
