//! Where a container's output goes.

use clap::Args;

use crate::error::Result;
use crate::spec::container::ContainerSpec;
use crate::spec::defaults::Defaults;
use crate::spec::log::{LogDriver, LogSettings};

/// Where its output goes.
#[derive(Args, Debug)]
pub(super) struct LogFlags {
    /// How output is kept, as in json-file or journald
    ///
    /// k8s-file (the usual), json-file and local are files, journald is the journal of systemd, none
    /// keeps nothing. With passthrough the container has the standard streams of who starts it,
    /// which may be a terminal with passthrough-tty.
    #[arg(long, value_name = "NAME")]
    log_driver: Option<LogDriver>,
    /// Option of the log, as in max-size=10m
    #[arg(long, value_name = "KEY=VALUE")]
    log_opt: Vec<String>,
}

impl LogFlags {
    /// Returns the log driver.
    pub(super) fn driver(&self, usual: &Defaults) -> LogDriver {
        self.log_driver.or(usual.log_driver).unwrap_or_default()
    }

    /// Adds it to what is asked for.
    pub(super) fn apply(self, usual: &Defaults, spec: &mut ContainerSpec) -> Result<()> {
        let driver = self.driver(usual);
        let size = usual.log_size_max.and_then(|size| u64::try_from(size).ok());
        let mut log = LogSettings {
            driver,
            max_size: size.filter(|size| *size > 0 && driver.is_file()),
            tag: usual.log_tag.clone(),
            ..LogSettings::default()
        };
        for option in &self.log_opt {
            log.apply(option)?;
        }
        log.check()?;
        spec.settings.log = log;
        Ok(())
    }
}
