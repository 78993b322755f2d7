//! Where further processes of a container go, beside its first one.

use std::fs;
use std::path::{Component, Path};

use super::hierarchy::words;
use super::{Cgroup, Directory, Hierarchies, open_dir};
use crate::error::{Context, Error, Kind, Result};

impl Cgroup {
    /// Returns the group as it is for a further process beside the first one: where that has made
    /// groups below its own, none may be in its own any more.
    pub fn beside(self, hierarchies: &Hierarchies, pid: i32) -> Result<Self> {
        let Some(v2) = &self.v2 else { return Ok(self) };
        if words(&v2.path.join("cgroup.subtree_control")).is_empty() {
            return Ok(self);
        }
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))
            .context(|| format!("cannot read /proc/{pid}/cgroup"))?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
        let dir = hierarchies.v2.as_ref().map(|v2| v2.dir(path)).unwrap_or_default();
        let fd = open_dir(&dir).context(|| format!("cannot open {}", dir.display()))?;
        let v2 = Directory { path: dir, controllers: Vec::new(), fd: Some(fd) };
        Ok(Self { v2: Some(v2), ..self })
    }

    /// Returns groups below this one, for a further process. Each of `asked` is the path of one that is
    /// there already, of all hierarchies, or of version 1's with some controllers, as in
    /// `cpu,memory:below`.
    pub fn below(mut self, asked: &[String]) -> Result<Self> {
        for asked in asked {
            let (controllers, path) = match asked.split_once(':') {
                Some((controllers, path)) => (Some(controllers), path),
                None => (None, asked.as_str()),
            };
            let path = path.trim_start_matches('/');
            if !Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
                let text =
                    format!("invalid control group `{asked}`: it leads out of the container's");
                return Err(Error::new(Kind::Invalid, text));
            }
            let named = |directory: &Directory| match controllers {
                None => true,
                Some(names) => {
                    names.split(',').any(|name| directory.controllers.iter().any(|own| own == name))
                }
            };
            let mut found = false;
            for directory in self.v1.iter_mut().chain(&mut self.v2).filter(|it| named(it)) {
                directory.enter(path)?;
                found = true;
            }
            if !found {
                let text = format!("the container has no control group for `{asked}`");
                return Err(Error::new(Kind::NotFound, text)
                    .hint("write PATH, or with controllers of version 1 CONTROLLER,...:PATH"));
            }
        }
        Ok(self)
    }
}

impl Directory {
    /// Goes to a group below, which is there already.
    fn enter(&mut self, path: &str) -> Result<()> {
        let below = self.path.join(path);
        let opened = open_dir(&below);
        let fd = opened.context(|| format!("cannot open control group {}", below.display()))?;
        if self.fd.is_some() {
            self.fd = Some(fd);
        }
        self.path = below;
        Ok(())
    }
}
