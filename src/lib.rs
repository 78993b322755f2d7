//! barge: containers for Linux without a daemon, in one static executable.
//!
//! # Floors
//!
//! A module imports lower floors only, and modules on one floor do not import each other
//! (`tests/layers.rs` sees to it):
//!
//! | floor | modules | job |
//! |---|---|---|
//! | 8 | [`cmd`] | the command line: parse flags, make one engine call, print |
//! | 7 | [`remote`] | other hosts: Docker's REST API from its other side |
//! | 6 | [`api`] | Docker's REST API: decode, make one engine call, encode; Docker's JSON |
//! | 5 | [`build`] | Dockerfiles become images: many engine calls in an order |
//! | 4 | [`engine`] | use cases, one verb a file; the monitor |
//! | 3 | [`image`] [`runtime`] [`net`] | the three trades |
//! | 2 | [`store`] | what is on disk; its head draws the directories |
//! | 1 | [`sys`] [`spec`] | the kernel made safe; what users ask for, parsed |
//! | 0 | [`error`] | the one error type |
//!
//! What is never so: [`spec`] does no I/O. `unsafe` is in [`sys`] only. [`runtime`] knows no images,
//! [`image`] no containers. [`engine`] prints nothing. Only [`cmd`] ends the process.
//!
//! # Data moves one way
//!
//! *Asked → decided → so.* [`spec::container::ContainerSpec`] is what somebody asked for.
//! [`store::container::ContainerConfig`] is what was decided at create: complete, on disk, never
//! changed. The OCI runtime `Spec` is a pure function of it and of facts about the host
//! (`engine::bundle`). [`store::container::ContainerState`] is what is so, and all that changes.
//!
//! # On disk
//!
//! The disk is the truth; nothing outlives a command but what is there. [`store`] draws all of it. One
//! directory or file an object, replaced whole and read without locks; one `flock` an object for who
//! changes it, which ends with the process that holds it. There is no database and no lock that all
//! must take, save one that keeps the collection of garbage away while objects are made.
//!
//! # Processes
//!
//! There is no daemon. A command does its work and exits. Each running container has one
//! [monitor](engine::monitor): our own executable, started anew from a protected copy
//! ([`sys::exe`]), holding the container's streams, log, terminal, attach socket, network helper and
//! a lock that says it lives. The lock, not a number in a file, tells whether a container runs: if its
//! monitor was killed, the kernel has killed the container with it, and the next command that looks
//! at the record repairs it.
//!
//! Other tools have barge make containers of OCI bundles ([`engine::runtime`]). Those have no monitor:
//! what their tools do with them is theirs, and what is so is looked at, not written down.
//!
//! Two more processes may be there while they are needed, and nothing is lost with them: the service of
//! Docker's REST API ([`api`]), which starts our executable anew for each request that changes anything,
//! and without root one that keeps the network namespace of a user's networks (`net::keeper`).
//!
//! Without root, a command enters a user namespace before anything else: the one that the user's
//! live monitors are in, or a new one. Nothing waits in the background to keep it.
//!
//! The container's file system is mounted inside its own mount namespace, with the mount API of
//! Linux 5.2: the host never sees it unless a user asks for that (`barge mount`), and the kernel
//! cleans up when the container ends. Linux 5.11 is
//! the oldest that will do, 5.12 for read-only paths with all below them. Where overlay does not work,
//! each container has a copy or a snapshot of its image instead ([`store::driver`]).

pub mod api;
pub mod build;
pub mod cmd;
pub mod engine;
pub mod error;
pub mod image;
pub mod net;
pub mod remote;
pub mod runtime;
pub mod spec;
pub mod store;
pub mod sys;

pub use error::{Error, Kind, Result};
