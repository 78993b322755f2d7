//! HTTP statuses: what an error of each kind becomes. Nowhere else is a kind turned into one.

use hyper::StatusCode;

use crate::error::{Error, Kind};

/// Returns the status of an error.
pub(super) fn of(error: &Error) -> StatusCode {
    match error.kind() {
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        // Docker, too, calls it the client's fault.
        Kind::Invalid | Kind::CommandNotFound | Kind::CommandNotExecutable => {
            StatusCode::BAD_REQUEST
        }
        Kind::Denied => StatusCode::FORBIDDEN,
        Kind::Unauthorized => StatusCode::UNAUTHORIZED,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
