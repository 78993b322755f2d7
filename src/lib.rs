//! barge: a daemonless, single-binary container tool for Linux.

pub mod api;
pub mod cmd;
pub mod engine;
pub mod error;
pub mod image;
pub mod net;
pub mod runtime;
pub mod spec;
pub mod store;
pub mod sys;

pub use error::{Error, Kind, Result};
