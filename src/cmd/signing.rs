//! Flags of commands that sign what they push.

use std::path::PathBuf;

use clap::Args;

use crate::engine::images::SigningOptions;
use crate::error::{Context, Result};

/// With what an image that is pushed is signed.
#[derive(Args, Clone, Debug)]
pub(crate) struct SigningFlags {
    /// Sign with this key of your OpenPGP keyring
    #[arg(long, value_name = "FINGERPRINT")]
    sign_by: Option<String>,
    /// Sign with a private key of sigstore
    #[arg(long, value_name = "FILE")]
    sign_by_sigstore_private_key: Option<PathBuf>,
    /// File with the passphrase of the key
    #[arg(long, value_name = "FILE")]
    sign_passphrase_file: Option<PathBuf>,
}

impl SigningFlags {
    /// Tells whether anything is to be signed.
    pub(crate) fn is_asked(&self) -> bool {
        self.sign_by.is_some() || self.sign_by_sigstore_private_key.is_some()
    }

    /// Says how to sign; the passphrase is asked for where that is needed and possible.
    pub(crate) fn options(&self) -> Result<SigningOptions> {
        let passphrase = match &self.sign_passphrase_file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .context(|| format!("cannot read {}", path.display()))?;
                Some(text.lines().next().unwrap_or_default().trim().to_owned())
            }
            // GnuPG asks by its own means.
            None => match &self.sign_by_sigstore_private_key {
                Some(path) if super::login::can_ask() => {
                    let question = format!("Passphrase for {}: ", path.display());
                    Some(super::login::ask_secret(&question)?)
                }
                _ => None,
            },
        };
        Ok(SigningOptions {
            sigstore_key: self.sign_by_sigstore_private_key.clone(),
            openpgp_key: self.sign_by.clone(),
            passphrase,
        })
    }
}
