//! Flags of other builders that change nothing here, so that scripts need not be changed.

use clap::Args;

/// Flags that are taken, and change nothing.
#[derive(Args, Debug)]
pub(super) struct UnusedFlags {
    /// Who builds; it is always us
    #[arg(long, value_name = "NAME", hide = true)]
    builder: Option<String>,
    /// Send the context compressed; it is not sent
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cmd::parse::truth, hide = true)]
    compress: Option<bool>,
    /// Keep layers as they are, which is always so
    #[arg(short = 'D', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cmd::parse::truth, hide = true)]
    disable_compression: Option<bool>,
    /// Do without signatures of names, which is always so
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cmd::parse::truth, hide = true)]
    disable_content_trust: Option<bool>,
    /// Remove containers of steps that fail; there are none
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cmd::parse::truth, hide = true)]
    force_rm: Option<bool>,
    /// Add a label of the builder; there is none
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cmd::parse::truth, hide = true)]
    identity_label: Option<bool>,
    /// Keep a layer for each step, which is always so
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cmd::parse::truth, hide = true)]
    layers: Option<bool>,
    /// Remove containers of steps; there are none
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cmd::parse::truth, hide = true)]
    rm: Option<bool>,
    /// Leave stages out that nobody needs, which is always so
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cmd::parse::truth, hide = true)]
    skip_unused_stages: Option<bool>,
}
