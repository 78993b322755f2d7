//! Docker's REST API and its documents.
//!
//! The service translates requests into engine calls on the same store that the command line uses. It
//! keeps nothing that matters: ending it loses nothing, and several may run at once.
//!
//! A request is found in a table ([`route`]), which also says where its handler runs:
//!
//! - What only looks runs on a thread of the service ([`route::How::Look`]).
//! - What changes anything runs in a process of its own ([`alone`]), as a command of the command line
//!   would: the engine may make processes and change namespaces only where there is one thread.
//! - What talks with a client for longer is asynchronous ([`route::How::Talk`]).
//!
//! The first two have the same kind of handler: a function that decodes a [`request::Call`], makes one
//! engine call and encodes a [`reply::Reply`].

pub mod alone;
mod archive;
mod build;
pub(crate) mod buildkit;
mod commit;
mod containers;
mod credentials;
mod documented;
mod exec;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod hijack;
mod images;
mod lines;
pub mod listen;
mod membership;
pub mod model;
mod names;
mod networks;
pub(crate) mod pipe;
mod plugins;
mod process;
mod query;
mod reply;
mod request;
mod route;
mod secrets;
pub mod serve;
mod status;
mod stream;
mod system;
pub mod tls;
mod usage;
pub mod version;
mod volumes;
mod websocket;
