//! A client of D-Bus that makes one call at a time: what systemd and firewalld are asked by.
//!
//! It waits where it stands and starts no thread, so a process that will fork can use it. Libraries
//! for D-Bus bring threads and a runtime of their own, and both take a handful of kinds of calls from us.
//!
//! Messages are as in the [specification](https://dbus.freedesktop.org/doc/dbus-specification.html),
//! written little-endian and read in both ways, without descriptors.

mod value;

pub use value::Value;

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use value::{Reader, Writer};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(25);

/// The longest message that the specification allows is this; ours and systemd's have kilobytes.
const LONGEST: usize = 128 << 20;

/// What is between a message's beginning and its body.
const FIXED: usize = 16;

/// Kinds of messages.
const CALL: u8 = 1;
const ANSWER: u8 = 2;
const REFUSAL: u8 = 3;
const SIGNAL: u8 = 4;

/// Numbers of the fields of a message's header.
mod field {
    pub(super) const PATH: u8 = 1;
    pub(super) const INTERFACE: u8 = 2;
    pub(super) const MEMBER: u8 = 3;
    pub(super) const ERROR_NAME: u8 = 4;
    pub(super) const REPLY_TO: u8 = 5;
    pub(super) const DESTINATION: u8 = 6;
    pub(super) const SIGNATURE: u8 = 8;
}

/// The other side of a call: a name on the bus, an object there, one of its interfaces.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// The name on the bus.
    pub destination: &'a str,
    /// The path of the object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
}

/// What came instead of an answer.
#[derive(Debug)]
pub enum Failure {
    /// The connection failed, or what came is no D-Bus.
    Io(io::Error),
    /// The other side refused.
    Refused {
        /// The error's name, as in `org.freedesktop.systemd1.NoSuchUnit`.
        name: String,
        /// What it says about it.
        text: String,
    },
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A signal: something that was told to all who listen.
#[derive(Debug)]
pub struct Signal {
    /// Its name.
    pub member: String,
    /// What was told.
    pub body: Vec<Value>,
}

/// A connection to a bus, or to a peer that speaks without one.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    serial: u32,
    /// Signals that came while an answer was waited for.
    signals: Vec<Signal>,
    on_bus: bool,
}

/// A message that came.
#[derive(Default)]
struct Message {
    kind: u8,
    member: String,
    error: String,
    reply_to: u32,
    body: Vec<Value>,
}

/// Returns the socket of the machine's bus.
pub fn system_bus() -> PathBuf {
    socket_in("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_else(|| "/run/dbus/system_bus_socket".into())
}

/// Returns the socket of the bus whose address is in a variable of the environment, if there is one.
pub fn socket_in(variable: &str) -> Option<PathBuf> {
    let text = std::env::var(variable).ok()?;
    let path = text.split(';').find_map(|one| one.strip_prefix("unix:path="))?;
    Some(PathBuf::from(path.split(',').next().unwrap_or(path)))
}

impl Connection {
    /// Connects to a bus at a socket.
    pub fn to_bus(socket: &Path) -> io::Result<Self> {
        let mut connection = Self::connect(socket, true)?;
        let bus = Object {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
        };
        match connection.call(bus, "Hello", &[]) {
            Ok(_) => Ok(connection),
            Err(Failure::Io(error)) => Err(error),
            Err(Failure::Refused { text, .. }) => Err(io::Error::other(text)),
        }
    }

    /// Connects to a peer at a socket, with no bus between.
    pub fn to_peer(socket: &Path) -> io::Result<Self> {
        Self::connect(socket, false)
    }

    fn connect(socket: &Path, on_bus: bool) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        let mut connection = Self { stream, serial: 0, signals: Vec::new(), on_bus };
        connection.set_patience(PATIENCE)?;
        connection.authenticate()?;
        Ok(connection)
    }

    /// Settles how long an answer may take from now on.
    pub fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))?;
        self.stream.set_write_timeout(Some(patience))
    }

    /// Says who we are: nothing but what the kernel says of us, which is true in user namespaces too.
    fn authenticate(&mut self) -> io::Result<()> {
        // All at once: systemd, where a message comes together with the greeting's end, leaves it lying.
        self.stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        loop {
            let line = self.line()?;
            if line.starts_with("OK ") {
                return Ok(());
            }
            if line != "DATA" {
                let text = format!("D-Bus does not let us in: {line}");
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
        }
    }

    /// Reads a line of the greeting: nothing that comes behind it may be taken.
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            if line.len() > 1024 {
                return Err(strange("a line of the greeting is too long"));
            }
            self.stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).map_err(|_| strange("the greeting is no text"))
    }

    /// Calls a method and waits for its answer.
    pub fn call(
        &mut self,
        object: Object<'_>,
        method: &str,
        arguments: &[Value],
    ) -> Result<Vec<Value>, Failure> {
        self.serial += 1;
        let serial = self.serial;
        let message = encode(serial, object, method, arguments, self.on_bus);
        self.stream.write_all(&message).map_err(late)?;
        loop {
            let message = self.receive()?;
            match message.kind {
                ANSWER if message.reply_to == serial => return Ok(message.body),
                REFUSAL if message.reply_to == serial => {
                    let text = match message.body.into_iter().next() {
                        Some(Value::Text(text)) => text,
                        _ => message.error.clone(),
                    };
                    return Err(Failure::Refused { name: message.error, text });
                }
                _ => {}
            }
        }
    }

    /// Tells whether there is a bus between.
    pub fn is_on_bus(&self) -> bool {
        self.on_bus
    }

    /// Waits for the next signal that nobody has taken yet.
    pub fn signal(&mut self) -> io::Result<Signal> {
        while self.signals.is_empty() {
            self.receive()?;
        }
        Ok(self.signals.remove(0))
    }

    /// Receives one message; signals are put aside.
    fn receive(&mut self) -> io::Result<Message> {
        let mut head = [0; FIXED];
        self.stream.read_exact(&mut head).map_err(late)?;
        let big = match head[0] {
            b'l' => false,
            b'B' => true,
            _ => return Err(strange("a message begins with neither l nor B")),
        };
        let number = |at: usize| {
            let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
            let number = if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
            usize::try_from(number).unwrap_or(usize::MAX)
        };
        let (body, fields) = (number(4), number(12));
        if body > LONGEST || fields > LONGEST {
            return Err(strange("a message is too long"));
        }
        let padded = (FIXED + fields).next_multiple_of(8);
        let mut whole = head.to_vec();
        whole.resize(padded + body, 0);
        self.stream.read_exact(&mut whole[FIXED..]).map_err(late)?;
        let message = decode(&whole, padded, big)?;
        if message.kind == SIGNAL {
            let body = message.body.clone();
            self.signals.push(Signal { member: message.member.clone(), body });
        }
        Ok(message)
    }
}

/// Writes a call.
fn encode(serial: u32, to: Object<'_>, method: &str, arguments: &[Value], bus: bool) -> Vec<u8> {
    let mut body = Writer::default();
    let mut signature = String::new();
    for argument in arguments {
        signature.push_str(&argument.signature());
        body.value(argument);
    }
    let mut fields = vec![
        (field::PATH, Value::Path(to.path.to_owned())),
        (field::INTERFACE, Value::Text(to.interface.to_owned())),
        (field::MEMBER, Value::Text(method.to_owned())),
    ];
    if bus {
        fields.push((field::DESTINATION, Value::Text(to.destination.to_owned())));
    }
    if !signature.is_empty() {
        fields.push((field::SIGNATURE, Value::Signature(signature)));
    }
    let fields = fields.into_iter().map(|(number, value)| {
        Value::Struct(vec![Value::Byte(number), Value::Variant(Box::new(value))])
    });
    let body = body.into_bytes();
    let mut message = Writer::default();
    for byte in [b'l', CALL, 0, 1] {
        message.value(&Value::Byte(byte));
    }
    message.value(&Value::Uint32(u32::try_from(body.len()).unwrap_or(u32::MAX)));
    message.value(&Value::Uint32(serial));
    message.value(&Value::Array("(yv)", fields.collect()));
    message.align(8);
    let mut message = message.into_bytes();
    message.extend(body);
    message
}

/// Reads a message whose body begins at `body`.
fn decode(whole: &[u8], body: usize, big: bool) -> io::Result<Message> {
    let mut message = Message { kind: whole[1], ..Message::default() };
    let mut reader = Reader::new(&whole[..body], 12, big);
    let Some(Value::Array(_, fields)) = reader.all("a(yv)")?.into_iter().next() else {
        return Err(strange("a message has no header"));
    };
    let mut signature = String::new();
    for field in fields {
        let Value::Struct(pair) = field else { continue };
        let [Value::Byte(number), Value::Variant(value)] = &pair[..] else { continue };
        match (*number, &**value) {
            (field::MEMBER, Value::Text(text)) => message.member.clone_from(text),
            (field::ERROR_NAME, Value::Text(text)) => message.error.clone_from(text),
            (field::REPLY_TO, Value::Uint32(serial)) => message.reply_to = *serial,
            (field::SIGNATURE, Value::Signature(text)) => signature.clone_from(text),
            _ => {}
        }
    }
    message.body = Reader::new(&whole[body..], 0, big).all(&signature)?;
    Ok(message)
}

fn strange(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}

/// Says of a wait that was too long what it is.
fn late(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "there is no answer"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let to = Object { destination: "d", path: "/p", interface: "i" };
        let arguments = [Value::Text("é".to_owned()), Value::Uint64(7)];
        let whole = encode(9, to, "Method", &arguments, true);
        let fields =
            usize::try_from(u32::from_le_bytes(whole[12..16].try_into().unwrap())).unwrap();
        let body = (FIXED + fields).next_multiple_of(8);
        let message = decode(&whole, body, false).unwrap();
        assert_eq!((message.kind, message.member.as_str()), (CALL, "Method"));
        assert_eq!(message.body, arguments);
    }

    #[test]
    fn a_broken_message_is_an_error() {
        let to = Object { destination: "d", path: "/p", interface: "i" };
        let whole = encode(1, to, "M", &[Value::Text("text".to_owned())], false);
        let body = whole.len() - 9;
        for end in body..whole.len() {
            assert!(decode(&whole[..end], body, false).is_err(), "{end}");
        }
    }

    #[test]
    fn talks_to_a_peer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut peer, _) = listener.accept().unwrap();
                let mut got = [0; 29];
                peer.read_exact(&mut got).unwrap();
                assert_eq!(&got, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
                peer.write_all(b"DATA\r\nOK 0123\r\n").unwrap();
                peer.read_exact(&mut [0; FIXED]).unwrap();
                // A signal without a body, and then a refusal of call 1 in the other byte order.
                peer.write_all(&[b'l', SIGNAL, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0]).unwrap();
                peer.write_all(b"\x03\x01s\0\x07\0\0\0Removed\0").unwrap();
                let fields = b"\x05\x01u\0\0\0\0\x01\x04\x01s\0\0\0\0\x03a.b\0";
                peer.write_all(&[b'B', REFUSAL, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 20])
                    .unwrap();
                peer.write_all(fields).unwrap();
                peer.write_all(&[0; 4]).unwrap();
            });
            let mut connection = Connection::to_peer(&path).unwrap();
            let to = Object { destination: "d", path: "/p", interface: "i" };
            match connection.call(to, "M", &[]) {
                Err(Failure::Refused { name, text }) => {
                    assert_eq!((name.as_str(), text.as_str()), ("a.b", "a.b"));
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(connection.signal().unwrap().member, "Removed");
        });
    }
}
