//! Flags of commands that talk to registries.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE as URL_SAFE;
use clap::Args;
use serde_json::{Map, Value, json};

use super::host::refuse;
use crate::engine::images::{RegistryOptions, logged_in};
use crate::error::{Error, Kind, Result};
use crate::spec::duration;
use crate::spec::reference::Reference;

/// How a registry is talked to.
#[derive(Args, Clone, Debug)]
pub(crate) struct AccessFlags {
    /// File with credentials of registries
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Directory with certificates for the registry
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Credentials of the registry
    #[arg(long, value_name = "USER[:PASSWORD]")]
    creds: Option<String>,
    /// Talk to registries without encryption or certificates
    #[arg(long, hide = true)]
    insecure: bool,
    /// How often to try again what has failed
    #[arg(long, value_name = "NUMBER")]
    retry: Option<u32>,
    /// Time between two tries, as in 2s
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    retry_delay: Option<Duration>,
    /// Insist on HTTPS with a valid certificate
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = super::parse::truth)]
    tls_verify: Option<bool>,
}

impl AccessFlags {
    /// Returns how registries are talked to.
    pub(crate) fn options(&self) -> Result<RegistryOptions> {
        if self.insecure && self.tls_verify.is_some() {
            return Err(Error::new(Kind::Invalid, "--insecure may not be used with --tls-verify"));
        }
        let credentials = self.creds.as_ref().map(|text| match text.split_once(':') {
            Some((user, password)) => (user.to_owned(), password.to_owned()),
            None => (text.clone(), String::new()),
        });
        Ok(RegistryOptions {
            tls_verify: if self.insecure { Some(false) } else { self.tls_verify },
            credentials,
            authfile: self.authfile.clone(),
            cert_dir: self.cert_dir.clone(),
            retry: self.retry,
            retry_delay: self.retry_delay,
            ..RegistryOptions::default()
        })
    }

    /// Returns who we are to the registry of an image, for another host that goes there in our name.
    pub(crate) fn proof(&self, image: &str) -> Result<Option<String>> {
        let known = self.known(image)?;
        Ok(known.map(|(_, document)| URL_SAFE.encode(document.to_string())))
    }

    /// As [`proof`](Self::proof), to the registries of several images.
    pub(crate) fn proofs(&self, images: &[String]) -> Result<Option<String>> {
        let mut all = Map::new();
        for image in images {
            all.extend(self.known(image)?);
        }
        Ok((!all.is_empty()).then(|| URL_SAFE.encode(Value::Object(all).to_string())))
    }

    /// Returns the registry of an image, and who we are to it.
    fn known(&self, image: &str) -> Result<Option<(String, Value)>> {
        refuse(&[
            ("--cert-dir", self.cert_dir.is_some()),
            ("--tls-verify", self.tls_verify.is_some() || self.insecure),
            ("--retry", self.retry.is_some() || self.retry_delay.is_some()),
        ])?;
        // What a short name stands for is the service's to say; to Docker's it is this.
        let Ok(reference) = image.parse::<Reference>() else { return Ok(None) };
        let options = self.options()?;
        let found = match &options.credentials {
            Some((user, password)) => Some((user.clone(), password.clone(), false)),
            None => logged_in(&reference, &options)?,
        };
        Ok(found.map(|(user, secret, is_token)| {
            let kind = if is_token { "identitytoken" } else { "password" };
            let registry = reference.registry().to_owned();
            let document = json!({ "username": user, kind: secret, "serveraddress": registry });
            (registry, document)
        }))
    }
}
