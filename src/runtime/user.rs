//! Users and groups by the container's own /etc/passwd and /etc/group.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use oci_spec::runtime::User;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Kind, Result};
use crate::spec::account::{Account, Accounts, KEEP_GROUPS};

/// Who a process runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    /// User ID.
    pub(super) uid: u32,
    /// Group ID.
    pub(super) gid: u32,
    /// Further groups.
    pub(super) groups: Vec<u32>,
    /// Whether the caller's own groups are kept instead.
    pub(super) keep_groups: bool,
    /// Home directory.
    pub(super) home: String,
}

/// Finds out who `USER[:GROUP]` is by user databases, as a process in the container does; returns
/// that and the home directory.
pub fn who(asked: &str, more: &[String], passwd: &str, group: &str) -> Result<(User, String)> {
    let identity = resolve(asked, more, passwd, group)?;
    let mut user = User::default();
    user.set_uid(identity.uid).set_gid(identity.gid);
    user.set_additional_gids((!identity.keep_groups).then_some(identity.groups));
    Ok((user, identity.home))
}

/// More than any sensible user database; a larger file is not read to its end.
const LARGEST: u64 = 16 << 20;

/// Reads a file of the container that we are in. A file that is none, or is not there, is empty.
///
/// Links of the image are followed, but none into /proc that lead to what only looks like a file.
pub(super) fn read(path: &str) -> Result<String> {
    // A FIFO or device that the image put there must not make us wait.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let context = || format!("cannot read the container's {path}");
    let file = match open(path, flags, ResolveFlags::NO_MAGICLINKS) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(String::new()),
        Err(error) => return Err(error).context(context),
    };
    if !is_stored(&file) {
        return Ok(String::new());
    }
    let mut data = Vec::new();
    file.take(LARGEST).read_to_end(&mut data).context(context)?;
    Ok(String::from_utf8_lossy(&data).into_owned())
}

fn open(path: &str, flags: OFlags, resolve: ResolveFlags) -> rustix::io::Result<File> {
    let flags = flags | OFlags::CLOEXEC;
    rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve).map(File::from)
}

/// Tells whether a file has content of its own, and is none of those that the kernel makes up.
fn is_stored(file: &File) -> bool {
    const PROC: i64 = 0x9fa0;
    const SYS: i64 = 0x6265_6572;
    let made_up = rustix::fs::fstatfs(file).is_ok_and(|it| [PROC, SYS].contains(&it.f_type));
    !made_up && file.metadata().is_ok_and(|it| it.is_file())
}

/// Appends lines to a user database of the container, if it has one. A read-only root keeps its file
/// as it is, and a link is not followed: what it leads to is not known to be one.
fn append(path: &str, text: &str, lines: &str) {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK;
    if let Ok(mut file) = open(path, flags, resolve)
        && is_stored(&file)
    {
        // A full disk is no reason not to start: the user has a number, if no name.
        let _best_effort = file.write_all(format!("{end}{lines}").as_bytes());
    }
}

/// Adds lines of the host's /etc/passwd for users whose names the container does not know.
pub(super) fn add_host_users(users: &[String]) {
    if users.is_empty() {
        return;
    }
    let Ok(text) = read("/etc/passwd") else { return };
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    let unknown = |user: &&String| !text.lines().any(|line| name(line) == name(user));
    let new: String = users.iter().filter(unknown).map(|user| format!("{user}\n")).collect();
    if !new.is_empty() {
        append("/etc/passwd", &text, &new);
    }
}

/// Adds lines for a user and a group that the container does not know: many programs want one.
pub(super) fn add_lines(identity: &Identity, home: &Path, accounts: &Accounts) {
    let home = home.display().to_string();
    let account = Account { uid: identity.uid, gid: identity.gid, home: &home };
    let missing = |path: &str, id: u32, asked: bool| {
        let text = read(path).ok()?;
        let known = lines(&text, 3).any(|it| it[2].parse() == Ok(id));
        (!known && (asked || !text.is_empty())).then_some(text)
    };
    if let Some(text) = missing("/etc/passwd", identity.uid, accounts.passwd_entry.is_some()) {
        append("/etc/passwd", &text, &format!("{}\n", accounts.user_line(&account)));
    }
    if let Some(text) = missing("/etc/group", identity.gid, accounts.group_entry.is_some()) {
        append("/etc/group", &text, &format!("{}\n", accounts.group_line(&account)));
    }
}

/// Finds out who `USER[:GROUP]` is; both may be names or numbers.
///
/// A number that the files do not know is taken as it is. Without a group, the user's own is taken,
/// and the groups that list the user as a member; with one, that one alone (as Docker does).
pub(super) fn resolve(asked: &str, more: &[String], passwd: &str, group: &str) -> Result<Identity> {
    let (user, chosen) = match asked.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (asked, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let entry = lines(passwd, 6).find(|fields| fields[0] == user).or_else(|| {
        let number: u32 = user.parse().ok()?;
        lines(passwd, 6).find(|fields| fields[2].parse() == Ok(number))
    });
    let mut identity = match &entry {
        Some(fields) => Identity {
            uid: number(fields[2], "user", user)?,
            gid: number(fields[3], "group", user)?,
            groups: Vec::new(),
            keep_groups: false,
            home: fields[5].to_owned(),
        },
        None => Identity { uid: number(user, "user", user)?, ..Identity::default() },
    };
    match (chosen.filter(|chosen| !chosen.is_empty()), &entry) {
        (Some(chosen), _) => identity.gid = group_number(chosen, group)?,
        (None, Some(fields)) => identity.groups = memberships(fields[0], group),
        (None, None) => {}
    }
    identity.keep_groups = more.iter().any(|name| name == KEEP_GROUPS);
    for name in more.iter().filter(|name| *name != KEEP_GROUPS) {
        let gid = group_number(name, group)?;
        if !identity.groups.contains(&gid) {
            identity.groups.push(gid);
        }
    }
    // A process without its own group among the others could get at files that are closed to that
    // group and open to all (CVE-2022-2989).
    if !identity.groups.contains(&identity.gid) {
        identity.groups.insert(0, identity.gid);
    }
    if identity.home.is_empty() {
        "/".clone_into(&mut identity.home);
    }
    Ok(identity)
}

/// The lines of a user database that have at least `count` fields.
fn lines(text: &str, count: usize) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(':').collect::<Vec<_>>())
        .filter(move |fields| fields.len() >= count)
}

fn number(text: &str, what: &str, asked: &str) -> Result<u32> {
    // -1 means "leave it" to the kernel, so it can be nobody's ID.
    text.parse::<u32>().ok().filter(|id| *id != u32::MAX).ok_or_else(|| {
        Error::new(
            Kind::CommandNotExecutable,
            format!("unable to find {what} {asked}: no matching entries in passwd file"),
        )
        .hint("use a number, or a user that the image's /etc/passwd has")
    })
}

fn group_number(name: &str, group: &str) -> Result<u32> {
    if let Some(fields) = lines(group, 3).find(|fields| fields[0] == name) {
        return number(fields[2], "group", name);
    }
    name.parse::<u32>().ok().filter(|id| *id != u32::MAX).ok_or_else(|| {
        Error::new(
            Kind::CommandNotExecutable,
            format!("unable to find group {name}: no matching entries in group file"),
        )
        .hint("use a number, or a group that the image's /etc/group has")
    })
}

fn memberships(user: &str, group: &str) -> Vec<u32> {
    lines(group, 4)
        .filter(|fields| fields[3].split(',').any(|member| member.trim() == user))
        .filter_map(|fields| fields[2].parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        # comment\n\
        broken\n\
        www:x:33:34:www:/var/www:/bin/false\n\
        evil:x:4294967295:1::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nadm:x:4:syslog,www\ntape:x:26:www\n";

    fn identity(uid: u32, gid: u32, groups: &[u32], home: &str) -> Option<Identity> {
        Some(Identity {
            uid,
            gid,
            groups: groups.to_vec(),
            home: home.to_owned(),
            ..Identity::default()
        })
    }

    #[test]
    fn resolves_users() {
        for (asked, want) in [
            ("", identity(0, 0, &[0], "/root")),
            ("root", identity(0, 0, &[0], "/root")),
            ("www", identity(33, 34, &[34, 4, 26], "/var/www")),
            ("33", identity(33, 34, &[34, 4, 26], "/var/www")),
            ("www:adm", identity(33, 4, &[4], "/var/www")),
            ("www:77", identity(33, 77, &[77], "/var/www")),
            (":adm", identity(0, 4, &[4], "/root")),
            ("1234", identity(1234, 0, &[0], "/")),
            ("1234:5", identity(1234, 5, &[5], "/")),
            ("nobody", None),
            ("www:nobody", None),
            ("evil", None),
            ("4294967295", None),
            ("-1", None),
        ] {
            assert_eq!(resolve(asked, &[], PASSWD, GROUP).ok(), want, "{asked}");
        }
    }

    #[test]
    fn adds_groups() {
        let more = ["tape".to_owned(), "9".to_owned()];
        let found = resolve("www", &more, PASSWD, GROUP).unwrap();
        assert_eq!(found.groups, [34, 4, 26, 9]);
    }
}
