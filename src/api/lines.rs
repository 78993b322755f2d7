//! The JSON lines of a long operation, as those of a pull.
//!
//! The answer begins with the first line: an operation that fails before is an answer with a status of
//! its own, as Docker's clients want it. Later, its failure is the last line.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::reply::{Reply, text};
use super::request::Call;
use crate::error::{Error, Result};

/// Writes lines, from any thread.
pub(super) struct Lines<'a>(Mutex<&'a mut Call>);

impl<'a> Lines<'a> {
    pub(super) fn new(call: &'a mut Call) -> Self {
        Self(Mutex::new(call))
    }

    fn call(&self) -> MutexGuard<'_, &'a mut Call> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line.
    pub(super) fn write(&self, document: &Value) {
        let mut call = self.call();
        // A client that has gone hears nothing; whether its work goes on is not ours to decide.
        drop(begun(&mut call).and_then(|()| call.line(document)));
    }

    /// Ends the answer.
    pub(super) fn end(&self, done: Result<()>) -> Result<Reply> {
        let Err(error) = done else {
            // There may have been nothing to say.
            begun(&mut self.call())?;
            return Ok(Reply::streamed());
        };
        if !self.call().has_begun() {
            return Err(error);
        }
        self.write(&failure(&error, None));
        Ok(Reply::streamed())
    }
}

fn begun(call: &mut Call) -> Result<()> {
    if call.has_begun() { Ok(()) } else { call.lines().map(drop) }
}

/// Makes the line of a failure, with the exit code of a command that has failed.
pub(super) fn failure(error: &Error, code: Option<i32>) -> Value {
    let message = text(error);
    let mut detail = json!({ "message": message });
    if let Some(code) = code {
        detail["code"] = code.into();
    }
    json!({ "errorDetail": detail, "error": message })
}
