//! placeholder
use clap::Args;
/// Pull flags
#[derive(Args, Debug)]
pub(crate) struct PullFlags {}
