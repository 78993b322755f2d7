//! Docker's JSON.
