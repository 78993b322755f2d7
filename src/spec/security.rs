//! What a container may do: capabilities, seccomp, masks.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::mount::parse_bool;
use crate::error::{Error, Kind, Result};

/// What a container may do beyond the defaults, or not do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// Whether nearly all isolation of devices, capabilities, seccomp and masks is off.
    pub privileged: bool,
    /// Capabilities in place of the usual ones, likewise.
    pub capabilities: Option<Vec<String>>,
    /// Capabilities to add, without `CAP_`, upper case; `ALL` is all.
    pub cap_add: Vec<String>,
    /// Capabilities to drop, without `CAP_`, upper case; `ALL` is all.
    pub cap_drop: Vec<String>,
    /// Whether set-user-ID programs gain nothing.
    pub no_new_privileges: bool,
    /// System call filter.
    pub seccomp: Seccomp,
    /// Further options of the mount of /proc.
    pub proc_options: Vec<String>,
    /// Paths that are masked besides the default ones.
    pub mask: Vec<PathBuf>,
    /// Default masked or read-only paths that are left alone; `ALL` is all.
    pub unmask: Vec<PathBuf>,
}

/// Which system call filter a container gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// Docker's default profile.
    #[default]
    Default,
    /// No filter.
    Unconfined,
    /// The profile in this file, in Docker's or the OCI's form.
    File(PathBuf),
}

impl Security {
    /// Applies one `--security-opt`, as in `seccomp=unconfined` or `no-new-privileges`.
    pub fn apply(&mut self, text: &str) -> Result<()> {
        let invalid = || {
            Error::new(Kind::Invalid, format!("invalid --security-opt `{text}`")).hint(
                "use seccomp=PROFILE, no-new-privileges[=BOOL], mask=PATHS, unmask=PATHS, proc-opts=OPTIONS, apparmor=… or label=…",
            )
        };
        // Docker once had a colon here, and still takes it.
        let end = text.find(['=', ':']).unwrap_or(text.len());
        let value = text.get(end + 1..);
        let paths = |value: &str| -> Result<Vec<PathBuf>> {
            let paths = value
                .split(':')
                .map(|path| path.starts_with('/').then(|| PathBuf::from(path)).ok_or_else(invalid));
            paths.collect()
        };
        match (&text[..end], value) {
            ("no-new-privileges", value) => {
                self.no_new_privileges = parse_bool(value.unwrap_or("true")).ok_or_else(invalid)?;
            }
            ("seccomp", Some("unconfined")) => self.seccomp = Seccomp::Unconfined,
            ("seccomp", Some("" | "default" | "builtin")) => self.seccomp = Seccomp::Default,
            ("seccomp", Some(path)) => self.seccomp = Seccomp::File(PathBuf::from(path)),
            ("proc-opts", Some(value)) => {
                let words = value.split(',').filter(|word| !word.is_empty());
                self.proc_options.extend(words.map(str::to_owned));
            }
            ("mask", Some(value)) => self.mask.extend(paths(value)?),
            ("unmask", Some(value)) if value.eq_ignore_ascii_case("all") => {
                self.unmask.push(PathBuf::from("ALL"));
            }
            ("unmask", Some(value)) => self.unmask.extend(paths(value)?),
            // There are no SELinux labels to set or to leave out.
            ("label", Some(_)) => {}
            ("apparmor", Some("unconfined")) => {}
            ("systempaths", Some("unconfined")) => self.unmask.push(PathBuf::from("ALL")),
            ("apparmor", Some(_)) => {
                return Err(Error::new(
                    Kind::Unsupported,
                    format!("unsupported --security-opt `{text}`"),
                )
                .hint("only apparmor=unconfined is supported"));
            }
            _ => return Err(invalid()),
        }
        Ok(())
    }
}

/// Parses one capability as in `NET_ADMIN` or `cap_net_admin`, into upper case without `CAP_`.
pub fn parse_capability(text: &str) -> Result<String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
        return Err(Error::new(Kind::Invalid, format!("invalid capability `{text}`"))
            .hint("write a name as in NET_ADMIN, or ALL"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(options: &[&str]) -> Result<Security> {
        let mut security = Security::default();
        options.iter().try_for_each(|option| security.apply(option)).map(|()| security)
    }

    #[test]
    fn applies_options() {
        let default = Security::default;
        for (options, want) in [
            (vec!["no-new-privileges"], Some(Security { no_new_privileges: true, ..default() })),
            (
                vec!["no-new-privileges:true"],
                Some(Security { no_new_privileges: true, ..default() }),
            ),
            (vec!["no-new-privileges=true", "no-new-privileges=false"], Some(default())),
            (
                vec!["seccomp=unconfined"],
                Some(Security { seccomp: Seccomp::Unconfined, ..default() }),
            ),
            (
                vec!["seccomp=/p.json"],
                Some(Security { seccomp: Seccomp::File("/p.json".into()), ..default() }),
            ),
            (
                vec!["mask=/a:/b", "mask=/c"],
                Some(Security { mask: vec!["/a".into(), "/b".into(), "/c".into()], ..default() }),
            ),
            (vec!["unmask=all"], Some(Security { unmask: vec!["ALL".into()], ..default() })),
            (
                vec!["unmask=/proc/acpi"],
                Some(Security { unmask: vec!["/proc/acpi".into()], ..default() }),
            ),
            (vec!["label=disable", "apparmor=unconfined"], Some(default())),
            (vec!["apparmor=mine"], None),
            (vec!["no-new-privileges=perhaps"], None),
            (vec!["mask=relative"], None),
            (vec!["seccomp"], None),
            (vec!["bogus=1"], None),
            (vec![""], None),
        ] {
            assert_eq!(applied(&options).ok(), want, "{options:?}");
        }
    }

    #[test]
    fn parses_capabilities() {
        for (text, want) in [
            ("NET_ADMIN", Some("NET_ADMIN")),
            ("cap_sys_time", Some("SYS_TIME")),
            ("all", Some("ALL")),
            ("", None),
            ("CAP_", None),
            ("NET-ADMIN", None),
        ] {
            assert_eq!(parse_capability(text).ok().as_deref(), want, "{text}");
        }
    }
}
