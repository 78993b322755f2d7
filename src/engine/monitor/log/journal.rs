//! The journal of systemd, by its native protocol: one message a line, with fields for Docker's and
//! Podman's readers.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::Stream;
use super::encode::Head;
use super::losses::Losses;
use crate::engine::create::random;
use crate::engine::log_tag;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::to_hex;
use crate::store::container::ContainerConfig;
use crate::sys::socket;

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// How long a journal that takes nothing is waited for: it has a queue, so it must have stopped.
const PATIENCE: Duration = Duration::from_secs(2);

/// A line that is written in parts, as Docker marks them.
#[derive(Debug)]
struct Begun {
    /// The same for all parts of the line, and no other's.
    id: String,
    /// How many of them were written.
    parts: u64,
}

/// The journal, as a place for lines.
#[derive(Debug)]
pub(super) struct Journal {
    socket: OwnedFd,
    address: SocketAddrUnix,
    /// The fields that all messages have.
    fields: Vec<u8>,
    /// Lines of which parts were written and the end was not, of either stream.
    begun: [Option<Begun>; 2],
    message: Vec<u8>,
    /// Whether it took nothing when it was waited for: then it is not waited for again.
    stuck: bool,
    losses: Losses,
}

impl Journal {
    /// Gets ready to write lines of a container of this name.
    pub(super) fn open(config: &ContainerConfig, name: &str, losses: Losses) -> Result<Self> {
        if !Path::new(SOCKET).exists() {
            return Err(Error::new(
                Kind::Unavailable,
                format!("the journal is not there: nobody listens at {SOCKET}"),
            )
            .hint("use another --log-driver, as k8s-file, where systemd's journald does not run"));
        }
        let context = || "cannot reach the journal";
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
            .context(context)?;
        let address = SocketAddrUnix::new(SOCKET).context(context)?;
        let fields = fields(config, name)?;
        Ok(Self {
            socket,
            address,
            fields,
            begun: [None, None],
            message: Vec::new(),
            stuck: false,
            losses,
        })
    }

    /// What the journal did not take.
    pub(super) fn losses(&mut self) -> &mut Losses {
        &mut self.losses
    }

    /// Writes a line, or a part of one. What the journal does not take is lost, and counted.
    pub(super) fn write(&mut self, head: &Head, text: &[u8], whole: bool) {
        self.message.clear();
        append(&mut self.message, "MESSAGE", text);
        let priority: &[u8] = if head.stream() == Stream::Stderr { b"3" } else { b"6" };
        append(&mut self.message, "PRIORITY", priority);
        append(&mut self.message, "SYSLOG_TIMESTAMP", head.time().as_bytes());
        self.mark_part(head.stream(), whole);
        self.message.extend_from_slice(&self.fields);
        if let Err(error) = self.send() {
            self.losses.add(text.len(), &error);
        }
    }

    /// Says of which line this is a part, if it is one. `last` is the end of a line.
    fn mark_part(&mut self, stream: Stream, last: bool) {
        let begun = &mut self.begun[stream as usize];
        if last && begun.is_none() {
            return;
        }
        let line = begun.get_or_insert_with(|| Begun {
            // Without random numbers it has none of its own.
            id: random::<32>().map_or_else(|_| "0".repeat(64), |bytes| to_hex(&bytes)),
            parts: 0,
        });
        line.parts += 1;
        if !last {
            append(&mut self.message, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        append(&mut self.message, "CONTAINER_PARTIAL_ID", line.id.as_bytes());
        append(&mut self.message, "CONTAINER_PARTIAL_ORDINAL", line.parts.to_string().as_bytes());
        append(&mut self.message, "CONTAINER_PARTIAL_LAST", last.to_string().as_bytes());
        if last {
            *begun = None;
        }
    }

    fn send(&mut self) -> io::Result<()> {
        loop {
            let sent = rustix::net::sendto(
                &self.socket,
                &self.message,
                SendFlags::NOSIGNAL,
                &self.address,
            );
            match sent {
                Ok(_) => {
                    self.stuck = false;
                    return Ok(());
                }
                Err(Errno::INTR) => {}
                Err(Errno::MSGSIZE | Errno::NOBUFS) => return self.send_file(),
                Err(Errno::AGAIN) if !self.stuck => self.stuck = !self.takes_more(),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until the journal takes more; `false` if it does not.
    fn takes_more(&self) -> bool {
        // The queue that is full is that of the other side, which only a connection can wait for.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let connected =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
                .and_then(|socket| rustix::net::connect(&socket, &self.address).map(|()| socket));
        let (Ok(connected), Ok(time)) = (connected, Timespec::try_from(PATIENCE)) else {
            return false;
        };
        let mut files = [PollFd::new(&connected, PollFlags::OUT)];
        matches!(poll(&mut files, Some(&time)), Ok(ready) if ready > 0)
    }

    /// Sends a message that is too long for a datagram, as a file that cannot change any more.
    fn send_file(&self) -> io::Result<()> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(rustix::fs::memfd_create(c"journal", flags)?);
        file.write_all(&self.message)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        socket::send_to(self.socket.as_fd(), &self.address, &[], file.as_fd())
    }
}

/// The fields that tell of the container, with the names that Docker and Podman have for them.
fn fields(config: &ContainerConfig, name: &str) -> Result<Vec<u8>> {
    let tag = log_tag::tag(config, name)?;
    let identifier = tag.as_deref().unwrap_or(name);
    let mut fields = Vec::new();
    for (field, value) in [
        ("CONTAINER_ID", config.id.short()),
        ("CONTAINER_ID_FULL", config.id.as_str()),
        ("CONTAINER_NAME", name),
        ("CONTAINER_TAG", tag.as_deref().unwrap_or_else(|| config.id.short())),
        ("IMAGE_NAME", &config.image),
        ("SYSLOG_IDENTIFIER", identifier),
    ] {
        append(&mut fields, field, value.as_bytes());
    }
    for (attribute, value) in config.settings.log.attributes(&config.labels, &config.env) {
        if let Some(field) = field_name(&attribute) {
            append(&mut fields, &field, value.as_bytes());
        }
    }
    Ok(fields)
}

/// Makes a name of a field from that of a label or variable, as Docker does: the journal has capital
/// letters, digits and underscores only, and none of its own begins with a letter.
fn field_name(name: &str) -> Option<String> {
    let letters = name.chars().map(|letter| match letter {
        letter if letter.is_ascii_alphanumeric() => letter.to_ascii_uppercase(),
        _ => '_',
    });
    let name: String = letters.skip_while(|letter| !letter.is_ascii_alphabetic()).collect();
    (!name.is_empty()).then_some(name)
}

/// Appends a field: on a line, or with its length if it has several.
fn append(message: &mut Vec<u8>, name: &str, value: &[u8]) {
    message.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        message.push(b'\n');
        message.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        message.push(b'=');
    }
    message.extend_from_slice(value);
    message.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_fields_as_the_journal_reads_them() {
        let mut message = Vec::new();
        append(&mut message, "A", b"b=c");
        append(&mut message, "D", b"e\nf");
        assert_eq!(message, b"A=b=c\nD\n\x03\0\0\0\0\0\0\0e\nf\n");
    }

    #[test]
    fn names_fields_as_docker_does() {
        for (name, want) in
            [("com.example.label-1", Some("COM_EXAMPLE_LABEL_1")), ("_1a", Some("A")), ("é", None)]
        {
            assert_eq!(field_name(name).as_deref(), want, "{name}");
        }
    }
}
