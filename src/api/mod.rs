//! Docker's REST API and its documents.

pub mod model;
