//! Requests that are answered in a process of their own.
//!
//! The engine makes processes and changes namespaces only where there is one thread, and the service has
//! several. So our executable is started anew for each request that changes something. It talks to the
//! service over the socket that is its standard input: first a line of JSON with what is asked for
//! ([`Asked`]), then the body of the request up to its end; back comes a line with the head of the
//! answer ([`Head`]), then its body.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
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
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::process::Running;
use super::reply::{Head, Reply};
use super::request::{Answer, Asked, Call};
use super::route::{self, How, Later};
use super::serve::Service;
use super::stream::{Body, blocking, broken_off, response};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::sys::{process, signal};

/// The program's name when it is started for a request.
const NAME: &str = "barge: request";

/// Bytes of the longest head of an answer.
const LONGEST_HEAD: usize = 64 << 10;

/// The same for a process that is to be added to a container.
pub(super) const EXEC: &str = "barge: exec request";

/// Tells whether these words start us for a request.
pub fn is_asked_for(name: &OsStr) -> bool {
    name == NAME
}

/// Tells whether these words start us for a process that is to be added to a container.
pub fn is_exec(name: &OsStr) -> bool {
    name == EXEC
}

/// Adds a process to a container: on success this process becomes the one that watches over it.
pub fn exec(words: &[OsString]) -> Result<Infallible> {
    let [words @ .., id, detach] = words else {
        return Err(Error::new(Kind::Invalid, "this is started by the service only"));
    };
    super::exec::run(&open(words)?, &id.to_string_lossy(), detach == "1")
}

/// Answers a request, in a process of its own. Returns the exit status.
pub fn main(words: &[OsString]) -> u8 {
    let answered = connection().and_then(|socket| answer(words, socket));
    if answered.is_ok() { 0 } else { 125 }
}

/// Takes over the connection to the service; standard input is empty from then on.
pub(super) fn connection() -> Result<UnixStream> {
    let context = || "this is started by the service only";
    let inherited = process::inherited(0).context(context)?;
    let socket = UnixStream::from(inherited.try_clone().context(context)?);
    let null = std::fs::File::open("/dev/null").context(|| "cannot open /dev/null")?;
    process::redirect(null.as_fd(), 0).context(context)?;
    // The number stays in use.
    let _zero = inherited.into_raw_fd();
    Ok(socket)
}

fn answer(words: &[OsString], socket: UnixStream) -> Result<()> {
    let context = || "cannot talk to the service";
    let mut body = BufReader::new(socket.try_clone().context(context)?);
    let mut line = String::new();
    body.read_line(&mut line).context(context)?;
    let asked: Asked = serde_json::from_str(&line).context(context)?;
    let path = asked.target.split('?').next().unwrap_or_default();
    let (route, names) = route::find(&asked.method, path)?;
    let (How::Change(handler) | How::Work(handler) | How::Inner(handler)) = route.how else {
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

/// Opens the engine in a process that was started so.
pub(super) fn open(words: &[OsString]) -> Result<Engine> {
    // The service takes these from a descriptor, and has them blocked, which we have inherited.
    signal::release(&[libc::SIGHUP, libc::SIGINT, libc::SIGTERM])
        .context(|| "cannot let signals through")?;
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
    let answered = begin(service, asked, Some(request.into_body()), false);
    let (head, body) = tokio::spawn(answered).await.map_err(broken_off)??;
    Ok(response(head, body.boxed_unsync()))
}

/// Has a process answer a request; it is ended if the client vanishes.
pub(super) async fn work(
    service: Arc<Service>,
    asked: Asked,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let (head, body) = begin(service, asked, Some(request.into_body()), true).await?;
    Ok(response(head, body.boxed_unsync()))
}

/// Has a process answer what the service itself asks; returns the body of the answer.
pub(super) async fn ask(service: Arc<Service>, asked: Asked) -> Result<Vec<u8>> {
    let (head, body) = begin(service, asked, None, false).await?;
    let body = body.collect().await.context(|| "cannot hear from the process of a request")?;
    let body = body.to_bytes().to_vec();
    if head.status >= 400 {
        let text = String::from_utf8_lossy(&body).into_owned();
        return Err(Error::new(Kind::Internal, text));
    }
    Ok(body)
}

async fn begin(
    service: Arc<Service>,
    asked: Asked,
    body: Option<Incoming>,
    ends_with_client: bool,
) -> Result<(Head, FromSocket)> {
    let context = || "cannot talk to the process of a request";
    let mut line = serde_json::to_vec(&asked).context(context)?;
    line.push(b'\n');
    let (socket, child) = blocking(move || spawn(&service, NAME)).await?;
    socket.set_nonblocking(true).context(context)?;
    let process = Arc::new(Running::watch(child)?);
    let guard = ends_with_client.then(|| EndedWith(Arc::clone(&process)));
    let socket = tokio::net::UnixStream::from_std(socket).context(context)?;
    let (mut from, mut to) = socket.into_split();
    to.write_all(&line).await.context(context)?;
    match body.filter(|body| !hyper::body::Body::is_end_stream(body)) {
        Some(body) => drop(tokio::spawn(pass_on(body, to, Arc::clone(&process)))),
        None => to.shutdown().await.context(context)?,
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
    let end = Box::pin(async move { process.ended().await });
    Ok((head, FromSocket { rest: buffer.freeze(), from, end, _guard: guard }))
}

/// Passes the body of a request on.
async fn pass_on(mut body: Incoming, mut to: OwnedWriteHalf, process: Arc<Running>) {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            // What has come so far must not be taken for all of it.
            process.signal(Signal::KILL);
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
}

/// Starts our executable anew under a name; returns the other end of its standard input.
pub(super) fn spawn(service: &Service, name: &str) -> Result<(UnixStream, Child)> {
    let (ours, theirs) = UnixStream::pair().context(|| "cannot make a socket pair")?;
    let child = Command::new("/proc/self/exe")
        .arg0(name)
        .args(service.own_words(name))
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        // What a terminal sends its foreground is not for what was begun.
        .process_group(0)
        .spawn()
        .context(|| "cannot start a process for the request")?;
    Ok((ours, child))
}

/// Ends a process when this goes.
pub(super) struct EndedWith(Arc<Running>);

impl EndedWith {
    /// Has somebody wait for the end of a process.
    pub(super) fn watch(child: Child) -> Result<Self> {
        Ok(Self(Arc::new(Running::watch(child)?)))
    }
}

impl Drop for EndedWith {
    fn drop(&mut self) {
        self.0.signal(Signal::TERM);
    }
}

/// A body that comes from a process.
///
/// Its end is the end of the answer only if the process ends well: the client of one that was killed, or
/// that failed after it had begun, must not take what it has for all of it.
struct FromSocket {
    rest: Bytes,
    from: OwnedReadHalf,
    /// How the process ends.
    end: Later<Result<i32>>,
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
            // One that has ended without taking all that the client has sent: that is its end, too.
            Poll::Ready(Err(error)) if error.kind() != io::ErrorKind::ConnectionReset => {
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(_) => {
                let length = buffer.filled().len();
                if length > 0 {
                    space.truncate(length);
                    return Poll::Ready(Some(Ok(Frame::data(space.freeze()))));
                }
                self.end.as_mut().poll(poller).map(|code| match code {
                    Ok(0) => None,
                    _ => Some(Err(io::Error::other("the process of the request has failed"))),
                })
            }
        }
    }
}
