//! Mounts as they were asked for, in the forms that Docker has for them: `Binds`, `Tmpfs` and `Mounts` of
//! its `HostConfig`.

use serde_json::{Map, Value, json};

use crate::error::{Error, Kind, Result};
use crate::spec::mount::{ALONE, Mount, MountSource, OverlayOf, PROPAGATIONS};

/// Makes `Binds`.
pub(super) fn binds<'a>(mounts: impl Iterator<Item = &'a Mount>) -> Value {
    mounts.filter_map(bind).collect()
}

/// Makes an entry of `Binds`, which says all about a mount that `-v` can say; none if it is nothing for
/// `Binds`.
pub(super) fn bind(mount: &Mount) -> Option<String> {
    let source = match &mount.source {
        MountSource::Bind { path, .. } => path.display().to_string(),
        MountSource::Volume { name, anonymous: false, .. } => name.clone()?,
        _ => return None,
    };
    Some(format!("{source}:{}:{}", mount.target.display(), mode(mount)))
}

/// Returns a mount's options as they stand after the second colon of `-v`.
pub(super) fn mode(mount: &Mount) -> String {
    let access = if mount.read_only { "ro" } else { "rw" };
    let options = mount.options.iter().map(String::as_str).filter(|option| *option != ALONE);
    let mut words: Vec<String> =
        std::iter::once(access).chain(options).map(str::to_owned).collect();
    let is_bare = matches!(mount.source, MountSource::Volume { copy: false, .. });
    for (word, is_given) in [("nocopy", is_bare), ("U", mount.chown), ("idmap", mount.idmap)] {
        words.extend(is_given.then(|| word.to_owned()));
    }
    match &mount.overlay {
        None => {}
        Some(OverlayOf::Discarded) => words.push("O".to_owned()),
        Some(OverlayOf::Kept { upper, work }) => words.extend([
            "O".to_owned(),
            format!("upperdir={}", upper.display()),
            format!("workdir={}", work.display()),
        ]),
    }
    words.join(",")
}

/// Makes `Tmpfs`: what is in memory, by target.
pub(super) fn tmpfs<'a>(mounts: impl Iterator<Item = &'a Mount>) -> Value {
    let entries = mounts.filter_map(|mount| {
        let MountSource::Tmpfs { size, mode: bits } = &mount.source else { return None };
        let mut options = mode(mount);
        if let Some(size) = size {
            options.push_str(&format!(",size={size}"));
        }
        if let Some(bits) = bits {
            options.push_str(&format!(",mode={bits:o}"));
        }
        Some((mount.target.display().to_string(), options))
    });
    entries.collect()
}

/// Makes an entry of `Mounts`, without what is as usual. Fails for kinds of mounts that Docker does not
/// know.
pub(super) fn mount(mount: &Mount) -> Result<Value> {
    let target = mount.target.display().to_string();
    let (kind, source, field, options) = match &mount.source {
        MountSource::Bind { path, create } => {
            ("bind", path.display().to_string(), "BindOptions", bind_options(mount, *create))
        }
        MountSource::Volume { name, anonymous, copy, new } => {
            let mut options = Map::new();
            if !copy {
                options.insert("NoCopy".to_owned(), true.into());
            }
            if !new.labels.is_empty() {
                options.insert("Labels".to_owned(), json!(new.labels));
            }
            if *new != Default::default() {
                let driver = json!({ "Name": new.driver(), "Options": new.options });
                options.insert("DriverConfig".to_owned(), driver);
            }
            let name = name.as_ref().filter(|_| !anonymous).cloned().unwrap_or_default();
            ("volume", name, "VolumeOptions", options)
        }
        MountSource::Image { name, .. } => ("image", name.clone(), "ImageOptions", Map::new()),
        MountSource::Tmpfs { size, mode } => {
            ("tmpfs", String::new(), "TmpfsOptions", tmpfs_options(mount, *size, *mode))
        }
        MountSource::Artifact { .. } | MountSource::Devpts | MountSource::Ramfs { .. } => {
            let text = format!(
                "this kind of mount, at {target}, is not there on other hosts: Docker's API has \
                 nothing like it"
            );
            return Err(Error::new(Kind::Unsupported, text));
        }
    };
    let mut options = options;
    if let Some(subpath) = &mount.subpath {
        options.insert("Subpath".to_owned(), json!(subpath));
    }
    let mut document = json!({ "Type": kind, "Source": source, "Target": target });
    if source.is_empty()
        && let Value::Object(document) = &mut document
    {
        document.shift_remove("Source");
    }
    if mount.read_only {
        document["ReadOnly"] = true.into();
    }
    if !options.is_empty() {
        document[field] = options.into();
    }
    Ok(document)
}

fn bind_options(mount: &Mount, create: bool) -> Map<String, Value> {
    let has = |word: &str| mount.options.iter().any(|option| option == word);
    let propagation = mount.options.iter().find(|option| PROPAGATIONS.contains(&option.as_str()));
    let mut options = Map::new();
    options.extend(propagation.map(|word| ("Propagation".to_owned(), json!(word))));
    for (name, is_given) in [
        ("NonRecursive", has("bind")),
        ("CreateMountpoint", create),
        ("ReadOnlyNonRecursive", has(ALONE)),
    ] {
        options.extend(is_given.then(|| (name.to_owned(), true.into())));
    }
    options
}

fn tmpfs_options(mount: &Mount, size: Option<u64>, mode: Option<u32>) -> Map<String, Value> {
    let mut options = Map::new();
    options.extend(size.map(|size| ("SizeBytes".to_owned(), json!(size))));
    options.extend(mode.map(|mode| ("Mode".to_owned(), json!(mode))));
    let words: Vec<Vec<&str>> =
        mount.options.iter().map(|option| option.splitn(2, '=').collect()).collect();
    if !words.is_empty() {
        options.insert("Options".to_owned(), json!(words));
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_mounts_as_they_are_asked_for() {
        for (text, want) in [
            (
                "type=bind,src=/srv,dst=/x,ro,bind-propagation=rslave,bind-nonrecursive",
                json!({"Type": "bind", "Source": "/srv", "Target": "/x", "ReadOnly": true,
                       "BindOptions": {"Propagation": "rslave", "NonRecursive": true}}),
            ),
            (
                "src=v,dst=/x,volume-nocopy,volume-label=a=b,volume-subpath=d",
                json!({"Type": "volume", "Source": "v", "Target": "/x", "VolumeOptions": {
                    "NoCopy": true, "Labels": {"a": "b"}, "Subpath": "d",
                    "DriverConfig": {"Name": "local", "Options": {}}}}),
            ),
            ("dst=/x", json!({"Type": "volume", "Target": "/x"})),
            (
                "type=tmpfs,dst=/x,tmpfs-size=1m,tmpfs-mode=700,exec",
                json!({"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {
                    "SizeBytes": 1 << 20, "Mode": 0o700, "Options": [["exec"]]}}),
            ),
        ] {
            assert_eq!(mount(&Mount::parse_mount(text).unwrap()).unwrap(), want, "{text}");
        }
        assert!(mount(&Mount::parse_mount("type=ramfs,dst=/x").unwrap()).is_err());
    }
}
