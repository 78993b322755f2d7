//! Other hosts: their services of Docker's API, called as a client.
//!
//! [`choose`] says which host a command is for, from flags, the environment and the [`Connections`]
//! that have names. A [`Host`] is called with [`Request`]s and gives [`Answer`]s; all of it waits for the other
//! side, as the rest of the command line does. What is asynchronous (HTTP and TLS are) runs on a runtime of
//! one thread that belongs to one connection and stands still between calls. A connection that becomes a
//! stream ([`Host::talk`]) is handed out as a plain socket, whatever it goes through.

mod address;
mod answer;
mod choice;
mod connect;
mod connections;
mod converse;
mod host;
mod parts;
mod request;
mod secure;
mod session;
mod ssh;

pub use address::Address;
pub use answer::Answer;
pub use choice::{Asked, Target, choose};
pub use connections::{Connection, Connections};
pub use converse::Talk;
pub use host::Host;
pub use parts::{Filled, Parts, Stream};
pub use request::{Request, escape};
pub use secure::TlsAsked;
pub use session::{Caught, Session, Talked};
