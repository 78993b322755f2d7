//! `RUN --mount=type=…,…`: what is mounted for one command.

use super::super::csv::fields;
use super::super::size::Size;

/// What is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunMountKind {
    /// A directory or file of the context, a stage or an image.
    Bind,
    /// A directory that later builds see again.
    Cache,
    /// Memory.
    Tmpfs,
    /// A secret.
    Secret,
    /// A socket of an SSH agent.
    Ssh,
}

/// Who may use a cache at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    #[default]
    Shared,
    /// Everybody; who comes while it is used gets another one.
    Private,
    /// One after the other.
    Locked,
}

/// One mount; text may contain variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunMount {
    /// What is mounted.
    pub kind: RunMountKind,
    /// Stage, image or context that it comes from.
    pub from: Option<String>,
    /// Path in there.
    pub source: Option<String>,
    /// Where it is seen.
    pub target: Option<String>,
    /// Whether it cannot be changed.
    pub read_only: bool,
    /// Name of the cache, secret or agent.
    pub id: Option<String>,
    /// Who may use the cache at the same time.
    pub access: Access,
    /// Whether the command must not run without it.
    pub required: bool,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Bytes of memory.
    pub size: Option<u64>,
    /// Variable that the secret is in.
    pub env: Option<String>,
}

impl RunMount {
    /// Parses the value of the flag.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut mount = Self {
            kind: RunMountKind::Bind,
            from: None,
            source: None,
            target: None,
            read_only: true,
            id: None,
            access: Access::Shared,
            required: false,
            mode: None,
            uid: None,
            gid: None,
            size: None,
            env: None,
        };
        let mut read_only = None;
        for field in fields(text)? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
                None => (field.to_ascii_lowercase(), None),
            };
            let flag = |value: Option<&str>| match value {
                None => Ok(true),
                Some(value) => {
                    boolean(value).ok_or_else(|| format!("invalid value for {key}: {value}"))
                }
            };
            if value.is_none()
                && !matches!(key.as_str(), "readonly" | "ro" | "readwrite" | "rw" | "required")
            {
                return Err(format!("invalid field '{field}': must be a key=value pair"));
            }
            let text = value.unwrap_or_default();
            let owned = || Some(text.to_owned());
            let number =
                || text.parse().map(Some).map_err(|_| format!("invalid value for {key}: {text}"));
            match key.as_str() {
                "type" => mount.kind = kind(text)?,
                "from" => mount.from = owned(),
                "source" | "src" => mount.source = owned(),
                "target" | "dst" | "destination" => mount.target = owned(),
                "readonly" | "ro" => read_only = Some(flag(value)?),
                "readwrite" | "rw" => read_only = Some(!flag(value)?),
                "required" => mount.required = flag(value)?,
                "id" => mount.id = owned(),
                "sharing" => mount.access = access(text)?,
                "mode" => {
                    let mode = u32::from_str_radix(text, 8)
                        .map_err(|_| format!("invalid value {text} for mode"))?;
                    mount.mode = Some(mode);
                }
                "uid" => mount.uid = number()?,
                "gid" => mount.gid = number()?,
                "size" => {
                    let size: Size =
                        text.parse().map_err(|_| format!("invalid value for size: {text}"))?;
                    mount.size = Some(size.0);
                }
                "env" => mount.env = owned(),
                _ => return Err(format!("unexpected key '{key}' in '{field}'")),
            }
        }
        mount.read_only = read_only.unwrap_or(mount.kind == RunMountKind::Bind);
        mount.check()?;
        Ok(mount)
    }

    fn check(&self) -> Result<(), String> {
        let needs_target =
            matches!(self.kind, RunMountKind::Bind | RunMountKind::Cache | RunMountKind::Tmpfs);
        if needs_target && self.target.as_ref().is_none_or(String::is_empty) {
            return Err("mount target is required: expected target=PATH".to_owned());
        }
        if self.kind == RunMountKind::Tmpfs && (self.from.is_some() || self.source.is_some()) {
            return Err("a tmpfs mount has no source".to_owned());
        }
        if self.from.is_some() && !matches!(self.kind, RunMountKind::Bind | RunMountKind::Cache) {
            return Err("only bind and cache mounts can have from=".to_owned());
        }
        if self.env.is_some() && self.kind != RunMountKind::Secret {
            return Err("only secret mounts can have env=".to_owned());
        }
        if self.size.is_some() && self.kind != RunMountKind::Tmpfs {
            return Err("only tmpfs mounts can have size=".to_owned());
        }
        if self.kind == RunMountKind::Secret
            && self.id.is_none()
            && self.source.is_none()
            && self.target.is_none()
        {
            return Err("invalid secret mount: expected id=NAME or target=PATH".to_owned());
        }
        Ok(())
    }
}

fn kind(text: &str) -> Result<RunMountKind, String> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "bind" => RunMountKind::Bind,
        "cache" => RunMountKind::Cache,
        "tmpfs" => RunMountKind::Tmpfs,
        "secret" => RunMountKind::Secret,
        "ssh" => RunMountKind::Ssh,
        _ => {
            return Err(format!(
                "unsupported mount type \"{text}\": expected bind, cache, tmpfs, secret or ssh"
            ));
        }
    })
}

fn access(text: &str) -> Result<Access, String> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "shared" => Access::Shared,
        "private" => Access::Private,
        "locked" => Access::Locked,
        _ => {
            return Err(format!(
                "unsupported sharing value \"{text}\": expected shared, private or locked"
            ));
        }
    })
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}
