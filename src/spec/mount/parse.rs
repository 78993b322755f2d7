//! Mounts as users write them: `-v`, `--mount`, `--tmpfs`.

use std::path::{Path, PathBuf};

use super::{Mount, MountSource, OverlayOf, parse_bool};
use crate::error::{Error, Kind, Result};
use crate::spec::size::Size;
use crate::spec::volume::{self, VolumeSpec};

/// The option of a read-only mount that leaves what is mounted below as it is.
pub const ALONE: &str = "ro";

/// Files of /proc that a mount may cover: they tell what a container has of the machine, and protect
/// nothing.
const COVERABLE: [&str; 10] = [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "sys/kernel/ns_last_pid",
    "uptime",
];

/// Mount options that go on as they are.
const OPTIONS: [&str; 21] = [
    "exec",
    "noexec",
    "dev",
    "nodev",
    "suid",
    "nosuid",
    "sync",
    "async",
    "atime",
    "noatime",
    "relatime",
    "bind",
    "rbind",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "unbindable",
    "runbindable",
];

impl Mount {
    /// Parses `-v`: `[SOURCE:]TARGET[:OPTIONS]`, where the source is a path of the host or a volume.
    ///
    /// A relative path begins with a dot, as in Docker, or with `~/`; it is left relative for the caller
    /// to resolve.
    pub fn parse_volume(text: &str) -> Result<Self> {
        let mut fields = text.split(':');
        let (source, target, options) =
            match (fields.next(), fields.next(), fields.next(), fields.next()) {
                (Some(target), None, ..) => return Self::anonymous_volume(target),
                (Some(source), Some(target), options, None) => {
                    (source, target, options.unwrap_or(""))
                }
                _ => {
                    return Err(Error::new(Kind::Invalid, format!("invalid volume `{text}`"))
                        .hint("write SOURCE:TARGET[:OPTIONS], as in ./site:/var/www:ro"));
                }
            };
        if source.is_empty() {
            return Err(Error::new(Kind::Invalid, format!("invalid volume `{text}`: no source")));
        }
        if target.is_empty() {
            return Err(Error::new(Kind::Invalid, "must set volume destination"));
        }
        let source = match source.starts_with(['/', '.']) || is_at_home(source) {
            true => MountSource::Bind { path: PathBuf::from(source), create: true },
            false => MountSource::named(source)?,
        };
        let mut mount = Self::new(source, target)?;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            mount.option(option)?;
        }
        mount.complete_overlay()?;
        Ok(mount)
    }

    /// Parses `--mount`: `type=bind,source=…,target=…` and further `KEY[=VALUE]`, with commas between.
    ///
    /// A field with a comma in it stands in double quotes, as in Docker.
    pub fn parse_mount(text: &str) -> Result<Self> {
        Self::of_fields(text, &fields(text)?)
    }

    fn of_fields(text: &str, fields: &[String]) -> Result<Self> {
        let (mut kind, mut source, mut target) = ("volume", None, None);
        let mut rest = Vec::new();
        for field in fields {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(value)),
                None => (field.to_owned(), None),
            };
            match (key.as_str(), value) {
                ("type", Some(value)) => kind = value,
                ("src" | "source", Some(value)) => source = Some(value),
                ("dst" | "target" | "destination", Some(value)) => target = Some(value),
                // Docker takes names of keys in capitals; options of Podman have some of their own.
                _ if value.is_none() => rest.push((field.to_owned(), None)),
                _ => rest.push((key, value)),
            }
        }
        let within = |error: Error| error.within(format!("invalid mount `{text}`"));
        let target = target.filter(|target| !target.is_empty());
        let target = target.ok_or_else(|| {
            Error::new(Kind::Invalid, "must set volume destination").hint("write target=/PATH")
        })?;
        let source = match (kind, source) {
            ("bind", Some(source)) if !source.is_empty() => {
                MountSource::Bind { path: PathBuf::from(source), create: false }
            }
            ("bind", _) => {
                return Err(within(
                    Error::new(Kind::Invalid, "a bind mount needs a source")
                        .hint("write source=PATH"),
                ));
            }
            ("devpts", None) => MountSource::Devpts,
            ("tmpfs", None) => MountSource::Tmpfs { size: None, mode: None },
            ("ramfs", None) => MountSource::Ramfs { mode: None },
            ("tmpfs" | "ramfs" | "devpts", Some(_)) => {
                let message = format!("a {kind} mount has no source");
                return Err(within(Error::new(Kind::Invalid, message)));
            }
            ("image", Some(name)) if !name.is_empty() => {
                MountSource::Image { name: name.to_owned(), id: None, layers: Vec::new() }
            }
            ("image", _) => {
                return Err(within(
                    Error::new(Kind::Invalid, "an image mount needs a source")
                        .hint("write source=IMAGE"),
                ));
            }
            ("artifact", Some(name)) if !name.is_empty() => MountSource::Artifact {
                name: name.to_owned(),
                title: None,
                digest: None,
                file_name: None,
                blob: None,
            },
            ("artifact", _) => {
                return Err(within(
                    Error::new(Kind::Invalid, "an artifact mount needs a source")
                        .hint("write source=ARTIFACT"),
                ));
            }
            ("volume", None | Some("")) => MountSource::anonymous(),
            ("volume", Some(name)) => MountSource::named(name).map_err(within)?,
            (kind, _) => {
                return Err(within(
                    Error::new(Kind::Unsupported, format!("unsupported mount type `{kind}`"))
                        .hint("use volume, bind, image, artifact, glob, tmpfs, ramfs or devpts"),
                ));
            }
        };
        let mut mount = Self::new(source, target).map_err(within)?;
        mount.read_only =
            matches!(mount.source, MountSource::Image { .. } | MountSource::Artifact { .. });
        for (key, value) in rest {
            let done = match mount.source {
                MountSource::Artifact { .. } => mount.source.artifact_field(&key, value),
                _ => mount.field(&key, value),
            };
            done.map_err(within)?;
        }
        Ok(mount)
    }

    /// Parses `--mount type=glob,…`: a bind, of which the source is a pattern and the target a directory
    /// for all that it names. `None` if it is of another type.
    pub fn parse_glob(text: &str) -> Result<Option<Self>> {
        let mut fields = fields(text)?;
        let Some(kind) = fields.iter_mut().find(|field| *field == "type=glob") else {
            return Ok(None);
        };
        "type=bind".clone_into(kind);
        Self::of_fields(text, &fields).map(Some)
    }

    /// Parses `--tmpfs`: `TARGET[:OPTIONS]`.
    pub fn parse_tmpfs(text: &str) -> Result<Self> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let mut mount = Self::new(MountSource::Tmpfs { size: None, mode: None }, target)?;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            mount
                .tmpfs_option(option)
                .map_err(|error| error.within(format!("invalid tmpfs `{text}`")))?;
        }
        Ok(mount)
    }

    /// Makes a mount without options at an absolute path of the container.
    pub fn new(source: MountSource, target: &str) -> Result<Self> {
        let path = Path::new(target);
        if !path.is_absolute() {
            return Err(Error::new(
                Kind::Invalid,
                format!("invalid container path \"{target}\", must be an absolute path"),
            ));
        }
        let (target_text, target) = (target, cleaned(path));
        let is_the_kernel_s = target.strip_prefix("/proc").is_ok_and(|below| {
            !below.as_os_str().is_empty() && !COVERABLE.iter().any(|path| below == Path::new(path))
        });
        if is_the_kernel_s {
            return Err(Error::new(
                Kind::Invalid,
                format!(
                    "invalid container path \"{target_text}\": nothing can be mounted inside /proc"
                ),
            )
            .hint(format!("but over these: {}", COVERABLE.join(", "))));
        }
        if target == Path::new("/") {
            return Err(Error::new(
                Kind::Invalid,
                "invalid container path \"/\": nothing can be mounted over the root",
            ));
        }
        Ok(Self {
            source,
            target,
            read_only: false,
            options: Vec::new(),
            subpath: None,
            chown: false,
            idmap: false,
            overlay: None,
        })
    }

    /// Applies one option of `-v`.
    fn option(&mut self, option: &str) -> Result<()> {
        match option {
            // With what is mounted below, as Docker does since 25.0.
            "ro" | "rro" | "readonly" => self.read_only = true,
            "rw" => self.read_only = false,
            "copy" | "nocopy" => {
                // Binds show what they show.
                if let MountSource::Volume { copy, .. } = &mut self.source {
                    *copy = option == "copy";
                }
            }
            // Labels of SELinux, and hints for other systems: nothing is to be done.
            "z" | "Z" | "cached" | "delegated" | "consistent" => {}
            "U" => self.chown = true,
            "idmap" if !self.is_fresh() => self.idmap = true,
            "O" if !self.is_fresh() => {
                self.overlay.get_or_insert(OverlayOf::Discarded);
            }
            option if option.starts_with("upperdir=") || option.starts_with("workdir=") => {
                self.overlay_dir(option)?;
            }
            option if option.starts_with("idmap=") => {
                return Err(Error::new(
                    Kind::Unsupported,
                    format!("unsupported mount option `{option}`"),
                )
                .hint("idmap without more maps owners as --userns or --uidmap say"));
            }
            option if OPTIONS.contains(&option) => self.options.push(option.to_owned()),
            option => {
                return Err(Error::new(Kind::Invalid, format!("invalid mount option `{option}`")));
            }
        }
        Ok(())
    }

    /// Applies one `KEY[=VALUE]` of `--mount`.
    fn field(&mut self, key: &str, value: Option<&str>) -> Result<()> {
        let is_bind = matches!(self.source, MountSource::Bind { .. });
        let is_tmpfs = matches!(self.source, MountSource::Tmpfs { .. });
        let invalid = || {
            let shown = value.map_or(key.to_owned(), |value| format!("{key}={value}"));
            Error::new(Kind::Invalid, format!("invalid mount option `{shown}`"))
        };
        let flag = match value {
            None => Some(true),
            Some(value) => parse_bool(value),
        };
        match (key, value) {
            ("ro" | "readonly", _) => self.read_only = flag.ok_or_else(invalid)?,
            ("rw", _) => self.read_only = !flag.ok_or_else(invalid)?,
            ("bind-propagation", Some(value)) if is_bind && OPTIONS[13..].contains(&value) => {
                self.options.push(value.to_owned());
            }
            ("bind-nonrecursive", _) if is_bind => {
                if flag.ok_or_else(invalid)? {
                    self.options.push("bind".to_owned());
                }
            }
            ("bind-recursive", Some(how)) if is_bind => self.recursive(how).ok_or_else(invalid)?,
            ("relabel", Some("shared" | "private")) | ("consistency", Some(_)) => {}
            ("chown" | "U" | "u", _) => self.chown = flag.ok_or_else(invalid)?,
            ("uid" | "gid" | "mode" | "max", Some(value))
                if self.source == MountSource::Devpts && value.parse::<u32>().is_ok() =>
            {
                self.options.push(format!("{key}={value}"));
            }
            ("tmpfs-size", Some(value)) if is_tmpfs => {
                self.tmpfs_option(&format!("size={value}"))?;
            }
            ("tmpfs-mode", Some(value)) if is_tmpfs => {
                self.tmpfs_option(&format!("mode={value}"))?;
            }
            ("mode" | "ramfs-mode" | "tmpfs-mode", Some(value)) if self.is_ramfs() => {
                let bits = u32::from_str_radix(value, 8).ok().filter(|bits| *bits <= 0o7777);
                self.source = MountSource::Ramfs { mode: Some(bits.ok_or_else(invalid)?) };
            }
            ("subpath" | "volume-subpath" | "image-subpath", Some(value)) if !self.is_fresh() => {
                self.subpath = Some(subpath(value)?);
            }
            (key, value) if key.starts_with("volume-") => {
                let done = self.volume_field(key, value, flag)?;
                done.then_some(()).ok_or_else(invalid)?;
            }
            ("tmpcopyup" | "notmpcopyup", None) if is_tmpfs => self.tmpfs_option(key)?,
            (key, None) => self.option(key)?,
            _ => return Err(invalid()),
        }
        Ok(())
    }

    /// Applies `bind-recursive`; `None` if it has no such value.
    fn recursive(&mut self, how: &str) -> Option<()> {
        match how {
            "enabled" => {}
            "disabled" => self.options.push("bind".to_owned()),
            // Only together with `readonly` they say something.
            "writable" => self.options.push(ALONE.to_owned()),
            "readonly" => {}
            _ => return None,
        }
        Some(())
    }

    /// Tells whether it shows a file system that begins empty.
    fn is_fresh(&self) -> bool {
        matches!(self.source, MountSource::Tmpfs { .. } | MountSource::Devpts) || self.is_ramfs()
    }

    fn is_ramfs(&self) -> bool {
        matches!(self.source, MountSource::Ramfs { .. })
    }

    /// Applies `upperdir=PATH` or `workdir=PATH`.
    fn overlay_dir(&mut self, option: &str) -> Result<()> {
        let (key, path) = option.split_once('=').unwrap_or((option, ""));
        let (mut upper, mut work) = match self.overlay.take() {
            Some(OverlayOf::Kept { upper, work }) => (upper, work),
            _ => (PathBuf::new(), PathBuf::new()),
        };
        if !path.starts_with('/') {
            return Err(Error::new(
                Kind::Invalid,
                format!("{key} `{path}` is not an absolute path"),
            ));
        }
        *(if key == "workdir" { &mut work } else { &mut upper }) = PathBuf::from(path);
        self.overlay = Some(OverlayOf::Kept { upper, work });
        Ok(())
    }

    /// Finds out whether the directories of an overlay were given both.
    fn complete_overlay(&self) -> Result<()> {
        match &self.overlay {
            Some(OverlayOf::Kept { upper, work })
                if upper.as_os_str().is_empty() || work.as_os_str().is_empty() =>
            {
                Err(Error::new(Kind::Invalid, "must specify both upperdir and workdir"))
            }
            _ => Ok(()),
        }
    }

    /// Applies what concerns volumes only; `false` if it is not known.
    fn volume_field(&mut self, key: &str, value: Option<&str>, flag: Option<bool>) -> Result<bool> {
        let MountSource::Volume { copy, new, .. } = &mut self.source else { return Ok(false) };
        match (key, value, flag) {
            ("volume-nocopy", _, Some(flag)) => *copy = !flag,
            ("volume-driver", Some(driver), _) => new.set_driver(driver),
            ("volume-opt", Some(option), _) => new.add_option(option),
            ("volume-label", Some(label), _) => {
                let (key, value) = label.split_once('=').unwrap_or((label, ""));
                new.labels.insert(key.to_owned(), value.to_owned());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Applies one option of `--tmpfs`.
    fn tmpfs_option(&mut self, option: &str) -> Result<()> {
        let invalid = || Error::new(Kind::Invalid, format!("invalid tmpfs option `{option}`"));
        let MountSource::Tmpfs { size, mode } = &mut self.source else { return Err(invalid()) };
        match option.split_once('=') {
            // The kernel knows how to take a part of the memory.
            Some(("size", value)) if value.ends_with('%') => {
                let percent = value.trim_end_matches('%').parse::<u32>().map_err(|_| invalid())?;
                self.options.push(format!("size={percent}%"));
            }
            Some(("size", value)) => *size = Some(value.parse::<Size>()?.0),
            Some(("mode", value)) => {
                let bits = u32::from_str_radix(value, 8).ok().filter(|bits| *bits <= 0o7777);
                *mode = Some(bits.ok_or_else(invalid)?);
            }
            Some(("uid" | "gid" | "nr_inodes" | "nr_blocks", value)) => {
                let digits = value.trim_end_matches(['k', 'm', 'g']);
                digits.parse::<u64>().map_err(|_| invalid())?;
                self.options.push(option.to_owned());
            }
            Some(_) => return Err(invalid()),
            // Whether it begins with what the image has there. By default it is empty, as in Docker.
            None if matches!(option, "tmpcopyup" | "notmpcopyup") => {
                self.options.push(option.to_owned());
            }
            None => return self.option(option),
        }
        Ok(())
    }
}

/// Tells whether a source is below somebody's home directory.
fn is_at_home(source: &str) -> bool {
    source == "~" || source.starts_with("~/")
}

/// Resolves `.` and `..` without a look at what is there, as Docker does with paths in containers.
fn cleaned(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// Splits a text at its commas. A field may stand in double quotes, in which two stand for one.
fn fields(text: &str) -> Result<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let Some(mut quoted) = rest.strip_prefix('"') else {
            match rest.split_once(',') {
                Some((field, after)) => {
                    fields.push(field.to_owned());
                    rest = after;
                    continue;
                }
                None => {
                    fields.push(rest.to_owned());
                    return Ok(fields);
                }
            }
        };
        let mut field = String::new();
        loop {
            let unclosed = || {
                Error::new(Kind::Invalid, format!("invalid mount `{text}`: a quote has no end"))
                    .hint("write \"KEY=A,B\", and two quotes for one in it")
            };
            let (part, after) = quoted.split_once('"').ok_or_else(unclosed)?;
            field.push_str(part);
            match (after.strip_prefix('"'), after.strip_prefix(',')) {
                (Some(after), _) => {
                    field.push('"');
                    quoted = after;
                }
                (None, Some(after)) => {
                    rest = after;
                    break;
                }
                (None, None) if after.is_empty() => {
                    fields.push(field);
                    return Ok(fields);
                }
                (None, None) => return Err(unclosed()),
            }
        }
        fields.push(field);
    }
}

impl MountSource {
    /// Applies a field of a mount of an artifact.
    fn artifact_field(&mut self, key: &str, value: Option<&str>) -> Result<()> {
        let invalid = || Error::new(Kind::Invalid, format!("invalid mount option `{key}`"));
        let Self::Artifact { title, digest, file_name, .. } = self else { return Err(invalid()) };
        let value = value.filter(|value| !value.is_empty()).ok_or_else(invalid)?;
        let field = match key {
            "title" => &mut *title,
            "digest" => &mut *digest,
            "name" if value.contains('/') || matches!(value, "." | "..") => {
                return Err(Error::new(Kind::Invalid, format!("`{value}` is no file name")));
            }
            "name" => &mut *file_name,
            _ => return Err(invalid().hint("an artifact has title, digest and name")),
        };
        *field = Some(value.to_owned());
        if title.is_some() && digest.is_some() {
            let message = "the title and the digest of an artifact's file cannot be set together";
            return Err(Error::new(Kind::Invalid, message));
        }
        Ok(())
    }

    fn named(name: &str) -> Result<Self> {
        let name = Some(volume::parse_name(name)?);
        Ok(Self::Volume { name, anonymous: false, copy: true, new: VolumeSpec::default() })
    }
}

/// Checks a path below the source of a mount: it must not lead out of it.
fn subpath(text: &str) -> Result<PathBuf> {
    use std::path::Component;
    let path: PathBuf = Path::new(text).components().collect();
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_));
    if path.as_os_str().is_empty() || !path.components().all(inside) {
        return Err(Error::new(Kind::Invalid, format!("invalid subpath `{text}`"))
            .hint("write a path below the source, without .. and a leading /"));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mount: &Mount) -> String {
        let source = match &mount.source {
            MountSource::Bind { path, create } => {
                format!("{}{}", path.display(), if *create { "+" } else { "" })
            }
            MountSource::Volume { name, copy, new, .. } => {
                let name = name.as_deref().unwrap_or("?");
                let copy = if *copy { "" } else { "!" };
                let new: Vec<&str> = new.options.values().map(String::as_str).collect();
                format!("vol {name}{copy}{}", new.join("+"))
            }
            MountSource::Devpts => "devpts".to_owned(),
            MountSource::Image { name, .. } => format!("image {name}"),
            MountSource::Artifact { name, title, digest, file_name, .. } => {
                let words = [title, digest, file_name].map(|it| it.as_deref().unwrap_or("-"));
                format!("artifact {name} {}", words.join(" "))
            }
            MountSource::Ramfs { mode } => {
                format!("ramfs {}", mode.map_or("-".to_owned(), |mode| format!("{mode:o}")))
            }
            MountSource::Tmpfs { size, mode } => {
                let size = size.map_or("-".to_owned(), |size| size.to_string());
                let mode = mode.map_or("-".to_owned(), |mode| format!("{mode:o}"));
                format!("tmpfs {size} {mode}")
            }
        };
        let access = if mount.read_only { "ro" } else { "rw" };
        let subpath = mount.subpath.as_deref().unwrap_or(Path::new("")).display();
        let options = mount.options.join(",");
        let flags = [(mount.chown, "U"), (mount.idmap, "I"), (mount.overlay.is_some(), "O")];
        let flags: String = flags.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
        format!("{source} {} {access} {options}{subpath}{flags}", mount.target.display())
    }

    #[test]
    fn parses_volumes() {
        use Kind::{Invalid, Unsupported};
        for (text, want) in [
            ("/a:/b", Ok("/a+ /b rw ")),
            ("/a:/b:ro", Ok("/a+ /b ro ")),
            ("/a:/b:ro,Z,noexec", Ok("/a+ /b ro noexec")),
            ("./a:/b//c/:rshared", Ok("./a+ /b/c rw rshared")),
            ("../a:/b", Ok("../a+ /b rw ")),
            (".:/b", Ok(".+ /b rw ")),
            ("/a:/b:", Ok("/a+ /b rw ")),
            ("data:/b", Ok("vol data /b rw ")),
            ("data:/b:ro,nocopy", Ok("vol data! /b ro ")),
            ("/b", Ok("vol ? /b rw ")),
            ("b", Err(Invalid)),
            ("~data:/b", Err(Invalid)),
            ("~/a:/b", Ok("~/a+ /b rw ")),
            ("~:/b", Ok("~+ /b rw ")),
            ("/a:/b:rro", Ok("/a+ /b ro ")),
            ("/a:/b:U", Ok("/a+ /b rw U")),
            ("/a:/b:O,idmap", Ok("/a+ /b rw IO")),
            ("/a:/b:O,upperdir=/u,workdir=/w", Ok("/a+ /b rw O")),
            ("/a:/b:O,upperdir=/u", Err(Invalid)),
            ("/a:/b:O,upperdir=u,workdir=/w", Err(Invalid)),
            ("/a:/b:idmap=uids=0-1-10", Err(Unsupported)),
            ("/a:", Err(Invalid)),
            (":/b", Err(Invalid)),
            ("/a:b", Err(Invalid)),
            ("/a:/", Err(Invalid)),
            ("/a:/b/../c", Ok("/a+ /c rw ")),
            ("/a:/b/..", Err(Invalid)),
            ("/a:/proc/cpuinfo", Ok("/a+ /proc/cpuinfo rw ")),
            ("/a:/proc/sys", Err(Invalid)),
            ("/a:/x/../proc/self/attr", Err(Invalid)),
            ("/a:/b:nonsense", Err(Invalid)),
            ("/a:/b:ro:rw", Err(Invalid)),
            ("", Err(Invalid)),
        ] {
            let got = Mount::parse_volume(text).map(|mount| shown(&mount));
            assert_eq!(got.as_deref().map_err(Error::kind), want, "{text}");
        }
    }

    #[test]
    fn parses_mounts() {
        use Kind::{Invalid, Unsupported};
        for (text, want) in [
            ("type=bind,source=/a,target=/b", Ok("/a /b rw ")),
            ("type=bind,src=/a,dst=/b,ro", Ok("/a /b ro ")),
            ("src=/a,destination=/b,type=bind,readonly=false", Ok("/a /b rw ")),
            ("type=bind,src=/a,dst=/b,bind-propagation=rslave", Ok("/a /b rw rslave")),
            ("type=bind,src=/a,dst=/b,bind-nonrecursive", Ok("/a /b rw bind")),
            ("type=bind,src=/a,dst=/b,rw=false,noexec", Ok("/a /b ro noexec")),
            ("type=tmpfs,dst=/b", Ok("tmpfs - - /b rw ")),
            ("type=tmpfs,dst=/b,tmpfs-size=1m,tmpfs-mode=1777", Ok("tmpfs 1048576 1777 /b rw ")),
            ("type=tmpfs,src=/a,dst=/b", Err(Invalid)),
            ("type=devpts,dst=/b,uid=5,max=3", Ok("devpts /b rw uid=5,max=3")),
            ("type=tmpfs,dst=/b,chown", Ok("tmpfs - - /b rw U")),
            ("type=bind,src=/a,dst=/b,U=true,idmap", Ok("/a /b rw UI")),
            ("type=tmpfs,dst=/b,idmap", Err(Invalid)),
            ("type=bind,dst=/b", Err(Invalid)),
            ("type=bind,src=/a", Err(Invalid)),
            ("type=bind,src=/a,dst=/b,tmpfs-size=1m", Err(Invalid)),
            ("type=bind,src=/a,dst=/b,ro=maybe", Err(Invalid)),
            ("type=bind,src=/a,dst=/b,bind-propagation=ro", Err(Invalid)),
            ("type=bind,src=/a,dst=/b,x=y", Err(Invalid)),
            ("type=volume,src=a,dst=/b", Ok("vol a /b rw ")),
            ("dst=/b", Ok("vol ? /b rw ")),
            ("src=a,dst=/b,volume-nocopy,ro", Ok("vol a! /b ro ")),
            ("src=a,dst=/b,volume-subpath=x//y", Ok("vol a /b rw x/y")),
            ("src=a,dst=/b,volume-opt=type=tmpfs,volume-label=x=y", Ok("vol atmpfs /b rw ")),
            ("src=a,dst=/b,volume-subpath=../y", Err(Invalid)),
            ("src=a,dst=/b,volume-subpath=/y", Err(Invalid)),
            ("src=a,dst=/b,volume-driver=nosuch", Ok("vol a /b rw ")),
            ("src=../a,dst=/b", Err(Invalid)),
            ("type=bind,src=/a,dst=/b,volume-nocopy", Err(Invalid)),
            ("src=a,dst=/b,tmpfs-size=1m", Err(Invalid)),
            ("type=image,src=a,dst=/b", Ok("image a /b ro ")),
            ("type=image,src=a,dst=/b,rw=true,subpath=x", Ok("image a /b rw x")),
            ("type=image,dst=/b", Err(Invalid)),
            ("type=artifact,src=a,dst=/b", Ok("artifact a - - - /b ro ")),
            ("type=artifact,src=a,dst=/b,title=t,name=n", Ok("artifact a t - n /b ro ")),
            ("type=artifact,src=a,dst=/b,digest=sha256:0", Ok("artifact a - sha256:0 - /b ro ")),
            ("type=artifact,src=a,dst=/b,title=t,digest=sha256:0", Err(Invalid)),
            ("type=artifact,src=a,dst=/b,name=x/y", Err(Invalid)),
            ("type=artifact,src=a,dst=/b,rw=true", Err(Invalid)),
            ("type=artifact,dst=/b", Err(Invalid)),
            ("type=ramfs,dst=/b", Ok("ramfs - /b rw ")),
            ("type=ramfs,dst=/b,mode=700", Ok("ramfs 700 /b rw ")),
            ("type=ramfs,dst=/b,tmpfs-size=1m", Err(Invalid)),
            ("type=ramfs,src=a,dst=/b", Err(Invalid)),
            ("type=glob,src=/a*,dst=/b", Err(Unsupported)),
            ("TYPE=bind,Source=/a,Target=/b,ReadOnly=1", Ok("/a /b ro ")),
            ("type=bind,\"src=/a,\"\"b\"\"\",dst=/b", Ok("/a,\"b\" /b rw ")),
            ("src=a,dst=/b,\"volume-opt=o=size=1m,mode=700\"", Ok("vol asize=1m,mode=700 /b rw ")),
            ("type=bind,\"src=/a,dst=/b", Err(Invalid)),
            ("type=bind,\"src=/a\"x,dst=/b", Err(Invalid)),
            ("type=bind,src=/a,dst=/b,ro,bind-recursive=writable", Ok("/a /b ro ro")),
            ("type=bind,src=/a,dst=/b,bind-recursive=disabled", Ok("/a /b rw bind")),
            ("type=bind,src=/a,dst=/b,bind-recursive=maybe", Err(Invalid)),
            ("type=bind,src=/a,dst=/b,relabel=shared", Ok("/a /b rw ")),
            ("type=bind,src=/a,dst=/b,relabel=maybe", Err(Invalid)),
            ("type=tmpfs,dst=/b,tmpcopyup", Ok("tmpfs - - /b rw tmpcopyup")),
            ("type=bind,src=/a,dst=/b,tmpcopyup", Err(Invalid)),
            ("", Err(Invalid)),
        ] {
            let got = Mount::parse_mount(text).map(|mount| shown(&mount));
            assert_eq!(got.as_deref().map_err(Error::kind), want, "{text}");
        }
    }

    #[test]
    fn parses_tmpfs() {
        for (text, want) in [
            ("/x", Some("tmpfs - - /x rw ")),
            ("/x:size=64m,mode=700,ro,noexec", Some("tmpfs 67108864 700 /x ro noexec")),
            ("/x:size=50%,uid=5", Some("tmpfs - - /x rw size=50%,uid=5")),
            ("/x:size=%", None),
            ("/x:mode=999", None),
            ("/x:mode=17777", None),
            ("/x:size=big", None),
            ("/x:lowerdir=/", None),
            ("/x:bogus", None),
            ("x", None),
            ("", None),
        ] {
            let got = Mount::parse_tmpfs(text).ok().map(|mount| shown(&mount));
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }
}
