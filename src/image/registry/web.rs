//! Files that lie anywhere on the web, read as they come.

use std::io::{self, BufRead, Read};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, Bytes};
use reqwest::{Response, Url};
use tokio::runtime::Runtime;

use super::client::client;
use super::endpoint::Endpoint;
use super::{IDLE_TIMEOUT, failure};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::time;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A file that is being fetched; what comes is not kept.
pub(crate) struct WebFile {
    runtime: Runtime,
    response: Response,
    /// What has come and was not read yet.
    arrived: Bytes,
}

impl WebFile {
    /// Asks for the file at an address of HTTP.
    pub(crate) fn open(address: &str) -> Result<Self> {
        let context = || format!("cannot fetch {address}");
        let url = Url::parse(address)
            .map_err(|error| Error::new(Kind::Invalid, context()).caused_by(error))?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let runtime = super::runtime()?;
        let client = client("", &Endpoint::stranger(&host), Some(IDLE_TIMEOUT))?;
        let response =
            runtime.block_on(async { client.get(url).send().await }).map_err(|error| {
                let cause = failure::cause(&error);
                Error::new(Kind::Unavailable, format!("{}: {cause}", context()))
                    .hint("check the address and the network; a file that was fetched otherwise can be imported, too")
            })?;
        let status = response.status();
        if !status.is_success() {
            let kind = match status.as_u16() {
                404 | 410 => Kind::NotFound,
                401 | 403 => Kind::Unauthorized,
                _ => Kind::Unavailable,
            };
            return Err(Error::new(kind, format!("{host} answers {status}"))).context(context);
        }
        Ok(Self { runtime, response, arrived: Bytes::new() })
    }
}

impl WebFile {
    /// Returns when it was last changed, as the server says.
    pub(crate) fn modified(&self) -> Option<SystemTime> {
        let text = self.response.headers().get("last-modified")?.to_str().ok()?;
        // `Sun, 06 Nov 1994 08:49:37 GMT`
        let mut words = text.split_whitespace().skip(1);
        let (day, month) = (words.next()?, words.next()?);
        let (year, clock) = (words.next()?, words.next()?);
        let month = MONTHS.iter().position(|name| *name == month)? + 1;
        let time = time::parse_rfc3339(&format!("{year}-{month:02}-{day}T{clock}Z"))?;
        Some(UNIX_EPOCH + Duration::from_nanos(u64::try_from(time).ok()?))
    }
}

impl BufRead for WebFile {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.arrived.is_empty() {
            match self.runtime.block_on(self.response.chunk()).map_err(io::Error::other)? {
                Some(chunk) => self.arrived = chunk,
                None => break,
            }
        }
        Ok(&self.arrived)
    }

    fn consume(&mut self, length: usize) {
        self.arrived.advance(length);
    }
}

impl Read for WebFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}
