//! Endpoints of processes that are added to running containers.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::containers::{self, content_type, detach_keys, find, size};
use super::hijack::{self, Hearing, Telling};
use super::process::{self, Running, Source};
use super::query::Query;
use super::reply::Reply;
use super::request::Call;
use super::route::{How, Later, Route, Talking, route};
use super::serve::{Busy, Service};
use super::stream::{Body, blocking, full, response};
use crate::engine::{Engine, ExecSpec, KeyWatch, random_hex};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::keys::DetachKeys;
use crate::store::exec_records::ExecRecord;

pub(super) const ROUTES: &[Route] = &[
    route("POST", "/containers/{id}/exec", How::Look(create)),
    route("POST", "/exec/{id}/start", How::Talk(start)),
    route("POST", "/exec/{id}/resize", How::Talk(resize)),
    route("GET", "/exec/{id}/json", How::Look(inspect)),
];

/// What a client asks for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Asked {
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    detach_keys: Option<String>,
    tty: bool,
    env: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    privileged: bool,
    user: Option<String>,
    working_dir: Option<String>,
    console_size: Option<[u16; 2]>,
}

/// `POST /containers/{id}/exec`.
fn create(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let asked = asked(call)?;
    let container = find(engine, call.name())?;
    check(&container)?;
    let id = random_hex()?;
    let asked = serde_json::to_value(asked).context(|| "cannot encode what to run")?;
    let record = ExecRecord { container: container.id().clone(), asked };
    engine.store().exec_records().create(&id, &record)?;
    Ok(Reply::created(&json!({ "Id": id })))
}

/// Decodes what is to run.
pub(super) fn asked(call: &mut Call) -> Result<Asked> {
    let mut asked: Asked = call.json()?;
    if asked.cmd.as_ref().is_none_or(Vec::is_empty) {
        return Err(Error::new(Kind::Invalid, "No exec command specified"));
    }
    if asked.detach_keys.as_deref() == Some("") {
        asked.detach_keys = None;
    }
    if let Some(keys) = &asked.detach_keys {
        keys.parse::<DetachKeys>()?;
    }
    Ok(asked)
}

fn check(container: &crate::store::container::Container) -> Result<()> {
    let id = container.id();
    let conflict = |text: String| Err(Error::new(Kind::Conflict, text));
    match container.state.run() {
        None => conflict(format!("container {id} is not running")),
        Some(run) if run.paused => {
            conflict(format!("container {id} is paused, unpause the container before exec"))
        }
        Some(_) => Ok(()),
    }
}

/// `GET /exec/{id}/json`.
fn inspect(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let id = call.name().to_owned();
    let records = engine.store().exec_records();
    let record = records.get(&id)?;
    let asked: Asked =
        serde_json::from_value(record.asked).context(|| "cannot read what was to run")?;
    let state = records.state(&id)?;
    let pid = engine.store().containers().exec_pid(&record.container, &id);
    let runs = state.exit_code.is_none() && pid.is_some();
    let command = asked.cmd.unwrap_or_default();
    Ok(Reply::json(&json!({
        "ID": id,
        "Running": runs,
        "ExitCode": state.exit_code,
        "ProcessConfig": {
            "tty": asked.tty,
            "entrypoint": command.first(),
            "arguments": command.get(1..).unwrap_or_default(),
            "privileged": asked.privileged,
            "user": asked.user.unwrap_or_default(),
        },
        "OpenStdin": asked.attach_stdin,
        "OpenStderr": asked.attach_stderr,
        "OpenStdout": asked.attach_stdout,
        "CanRemove": false,
        "ContainerID": record.container,
        "DetachKeys": asked.detach_keys.unwrap_or_default(),
        "Pid": pid.filter(|_| runs).unwrap_or_default(),
    })))
}

/// Runs the process that a client has asked for, in a process of our own: it becomes the one that watches
/// over it.
pub(super) fn run(engine: &Engine, id: &str, detach: bool) -> Result<std::convert::Infallible> {
    let record = engine.store().exec_records().get(id)?;
    let asked: Asked =
        serde_json::from_value(record.asked).context(|| "cannot read what is to run")?;
    let variable = |entry: String| {
        let (name, value) = entry.split_once('=').unwrap_or((&entry, ""));
        (name.to_owned(), value.to_owned())
    };
    let spec = ExecSpec {
        command: asked.cmd.unwrap_or_default(),
        env: asked.env.unwrap_or_default().into_iter().map(variable).collect(),
        user: asked.user.filter(|user| !user.is_empty()),
        working_dir: asked.working_dir.filter(|dir| !dir.is_empty()).map(Into::into),
        tty: asked.tty,
        interactive: asked.attach_stdin || asked.tty,
        detach,
        privileged: asked.privileged,
        session: Some(id.to_owned()),
        ..ExecSpec::default()
    };
    engine.exec(record.container.as_str(), spec, &[])
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct StartAsked {
    detach: bool,
    console_size: Option<[u16; 2]>,
}

/// `POST /exec/{id}/start`.
fn start(talking: Talking) -> Later<Result<Response<Body>>> {
    Box::pin(talk(talking))
}

/// Bytes of the largest body.
const LARGEST: usize = 64 << 10;

async fn talk(talking: Talking) -> Result<Response<Body>> {
    let Talking { service, asked, names, mut request } = talking;
    let id = names.into_iter().next().unwrap_or_default();
    let body = Limited::new(request.body_mut(), LARGEST).collect().await.map_err(|error| {
        Error::new(Kind::Invalid, "cannot read the body of the request").caused_by(error)
    })?;
    let body = body.to_bytes();
    let wanted: StartAsked = match body.is_empty() {
        true => StartAsked::default(),
        false => {
            serde_json::from_slice(&body).context(|| "invalid JSON in the body of the request")?
        }
    };
    let query = Query::new(asked.target.split_once('?').map_or("", |(_, query)| query));
    let spec: Asked = {
        let (service, id) = (Arc::clone(&service), id.clone());
        blocking(move || {
            let records = service.engine.store().exec_records();
            let record = records.get(&id)?;
            check(&find(&service.engine, record.container.as_str())?)?;
            if !records.begin(&id)? {
                return Err(Error::new(
                    Kind::Conflict,
                    format!("exec instance {id} was started before"),
                ));
            }
            serde_json::from_value(record.asked).context(|| "cannot read what is to run")
        })
        .await?
    };
    if wanted.detach {
        return in_background(service, id).await;
    }
    let keys = match &spec.detach_keys {
        Some(keys) => keys.parse::<DetachKeys>()?.0,
        None => detach_keys(&query)?,
    };
    let size = wanted.console_size.or(spec.console_size).filter(|size| *size != [0, 0]);
    let (response, opening) = hijack::open(request, content_type(spec.tty), false);
    let busy = Busy::new(&service);
    tokio::spawn(async move {
        let _busy = busy;
        let Ok((hearing, mut telling)) = opening.begin().await else { return };
        let talked = converse(&service, &id, &spec, keys, size, hearing, &mut telling).await;
        if let Err(error) = talked {
            let text = format!("{}\r\n", super::reply::text(&error));
            telling.tell(Bytes::from(text)).await;
        }
        telling.end().await;
    });
    Ok(response)
}

/// Starts a process that nobody listens to; waits until it runs, or has failed.
async fn in_background(service: Arc<Service>, id: String) -> Result<Response<Body>> {
    let output = blocking(move || {
        let null = || Stdio::null();
        let child = spawn(&service, &id, true, [null(), null(), Stdio::piped()])?;
        let output = child.wait_with_output().context(|| "cannot wait for the process")?;
        if !output.status.success() {
            let code = output.status.code().unwrap_or(125);
            service.engine.store().exec_records().finish(&id, code)?;
        }
        Ok(output)
    })
    .await?;
    if output.status.success() {
        let head = super::reply::Head::new(StatusCode::OK, "");
        return Ok(response(head, full(Vec::new())));
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let text = text.lines().next().unwrap_or_default();
    let kind = match output.status.code() {
        Some(127) => Kind::CommandNotFound,
        Some(126) => Kind::CommandNotExecutable,
        _ => Kind::Internal,
    };
    let error = Error::new(kind, text.strip_prefix("Error: ").unwrap_or(text));
    Err(containers::in_runc_words(error))
}

/// Starts our executable anew for a process in a container.
fn spawn(service: &Service, id: &str, detach: bool, streams: [Stdio; 3]) -> Result<Child> {
    let [stdin, stdout, stderr] = streams;
    Command::new("/proc/self/exe")
        .arg0(super::alone::EXEC)
        .args(service.own_words(super::alone::EXEC))
        .args([id, if detach { "1" } else { "0" }])
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr)
        .process_group(0)
        .spawn()
        .context(|| "cannot start a process for the request")
}

/// The process's ends of its streams, and ours.
struct Ends {
    theirs: [Stdio; 3],
    input: Option<process::Sink>,
    outputs: [Source; 2],
    terminal: Option<Arc<process::Terminal>>,
}

fn ends(spec: &Asked, size: Option<[u16; 2]>) -> Result<Ends> {
    let context = || "cannot make the streams of the process";
    if spec.tty {
        let (terminal, slave) = process::terminal(size)?;
        let copy = || -> Result<Stdio> { Ok(Stdio::from(slave.try_clone().context(context)?)) };
        return Ok(Ends {
            theirs: [copy()?, copy()?, copy()?],
            input: Some(process::Sink::Terminal(Arc::clone(&terminal))),
            outputs: [Source::Terminal(Arc::clone(&terminal)), Source::None],
            terminal: Some(terminal),
        });
    }
    let mut theirs = [Stdio::null(), Stdio::null(), Stdio::null()];
    let mut input = None;
    if spec.attach_stdin {
        let (from, to) = std::io::pipe().context(context)?;
        theirs[0] = Stdio::from(from);
        input = Some(process::Sink::pipe(to.into())?);
    }
    let mut outputs = [Source::None, Source::None];
    // What nobody wants is taken all the same: the process is not to fail for it.
    for (number, output) in outputs.iter_mut().enumerate() {
        let (from, to) = std::io::pipe().context(context)?;
        theirs[number + 1] = Stdio::from(to);
        *output = Source::pipe(from.into())?;
    }
    Ok(Ends { theirs, input, outputs, terminal: None })
}

/// How often it is looked whether a client is still there.
const LOOK: Duration = Duration::from_secs(1);

async fn converse(
    service: &Arc<Service>,
    id: &str,
    spec: &Asked,
    keys: Vec<u8>,
    size: Option<[u16; 2]>,
    hearing: Hearing,
    telling: &mut Telling,
) -> Result<()> {
    let Ends { theirs, input, mut outputs, terminal } = ends(spec, size)?;
    let child = {
        let (service, id) = (Arc::clone(service), id.to_owned());
        blocking(move || spawn(&service, &id, false, theirs)).await?
    };
    let running = Running::watch(child)?;
    if let Some(terminal) = &terminal {
        terminal.belongs_to(&running)?;
        service.add_terminal(id, terminal);
    }
    let keys = KeyWatch::new(if spec.tty { keys } else { Vec::new() });
    let pumped = {
        let inputs = pass_on(hearing, input, keys);
        let outputs = listen(&mut outputs, &running, Some(telling), spec);
        tokio::pin!(inputs, outputs);
        let mut said_all = false;
        loop {
            tokio::select! {
                ended = &mut outputs => break ended?,
                detached = &mut inputs, if !said_all => {
                    said_all = true;
                    if detached {
                        break Told::Gone;
                    }
                }
            }
        }
    };
    let finish = {
        let (service, id) = (Arc::clone(service), id.to_owned());
        move |code| {
            service.remove_terminal(&id);
            service.engine.store().exec_records().finish(&id, code)
        }
    };
    match pumped {
        Told::All(code) => finish(code),
        Told::Gone => {
            // The process goes on without its client.
            let spec = spec.clone();
            tokio::spawn(async move {
                if let Ok(Told::All(code)) = listen(&mut outputs, &running, None, &spec).await {
                    drop(finish(code));
                }
            });
            Ok(())
        }
    }
}

/// How listening to a process ends.
enum Told {
    /// It has ended with this exit code, and all is told.
    All(i32),
    /// The client has gone.
    Gone,
}

/// Passes on what a process writes until it ends; without a client, that is dropped.
async fn listen(
    outputs: &mut [Source; 2],
    running: &Running,
    mut telling: Option<&mut Telling>,
    spec: &Asked,
) -> Result<Told> {
    let [stdout, stderr] = outputs;
    let wanted = [spec.attach_stdout || spec.tty, spec.attach_stderr];
    let ended = running.ended();
    tokio::pin!(ended);
    let mut code = None;
    loop {
        let (number, data) = tokio::select! {
            data = stdout.next() => (1_u8, data),
            data = stderr.next() => (2_u8, data),
            ended = &mut ended, if code.is_none() => {
                code = Some(ended?);
                (0, None)
            }
            () = tokio::time::sleep(LOOK) => {
                if telling.as_ref().is_some_and(|telling| telling.is_gone()) {
                    return Ok(Told::Gone);
                }
                continue;
            }
        };
        let mut parts = Vec::new();
        match data {
            Some(data) => parts.push((number, data)),
            // What a process has left behind it may hold the pipes open: what is there is all there is.
            None if number == 0 => {
                for (number, source) in [(1, &mut *stdout), (2, &mut *stderr)] {
                    while let Some(data) = source.rest() {
                        parts.push((number, data));
                    }
                }
            }
            None => {}
        }
        for (number, data) in parts {
            if !wanted[usize::from(number) - 1] {
                continue;
            }
            let Some(telling) = telling.as_deref_mut() else { continue };
            if !telling.tell(framed(number, data, spec.tty)).await {
                return Ok(Told::Gone);
            }
        }
        if let Some(code) = code {
            return Ok(Told::All(code));
        }
    }
}

/// Puts output into a frame, unless it is that of a terminal.
fn framed(number: u8, data: Bytes, tty: bool) -> Bytes {
    if tty {
        return data;
    }
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = Vec::with_capacity(data.len() + 8);
    frame.extend_from_slice(&[number, 0, 0, 0]);
    frame.extend_from_slice(&length);
    frame.extend_from_slice(&data);
    frame.into()
}

/// Passes on what the client says; tells whether it has typed the keys to leave.
async fn pass_on(
    mut hearing: Hearing,
    mut input: Option<process::Sink>,
    mut keys: KeyWatch,
) -> bool {
    while let Some(data) = hearing.next().await {
        let (data, detached) = keys.strip(&data);
        if let Some(sink) = &mut input
            && !data.is_empty()
            && !sink.take(&data).await
        {
            // It reads no more.
            input = None;
        }
        if detached {
            return true;
        }
    }
    if let Some(sink) = input {
        sink.end().await;
    }
    false
}

/// `POST /exec/{id}/resize`.
fn resize(talking: Talking) -> Later<Result<Response<Body>>> {
    Box::pin(async move {
        let Talking { service, asked, names, .. } = talking;
        let id = names.into_iter().next().unwrap_or_default();
        let query = Query::new(asked.target.split_once('?').map_or("", |(_, query)| query));
        let (rows, columns) = size(&query)?;
        // One that is not there is told from one that has no terminal, or none any more.
        let known = {
            let (service, id) = (Arc::clone(&service), id.clone());
            blocking(move || service.engine.store().exec_records().get(&id).map(drop)).await
        };
        known?;
        match service.terminal(&id) {
            Some(terminal) => terminal.resize(rows, columns)?,
            None => {
                return Err(Error::new(Kind::Conflict, format!("exec {id} has no terminal now")));
            }
        }
        let head = super::reply::Head::new(StatusCode::OK, "");
        Ok(response(head, full(Vec::new())))
    })
}
