//! Lines that a container's user databases, /etc/passwd and /etc/group, get.

use serde::{Deserialize, Serialize};

/// The word that stands for the caller's own groups in a list of groups.
pub const KEEP_GROUPS: &str = "keep-groups";

/// Lines that a container's /etc/passwd and /etc/group get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Accounts {
    /// Whether both files are left alone.
    pub untouched: bool,
    /// Line for a user that is not known, with `$USERNAME` and the like in it.
    pub passwd_entry: Option<String>,
    /// Line for a group that is not known, with `$GROUPNAME` and the like in it.
    pub group_entry: Option<String>,
    /// Lines of users of the host.
    pub host_users: Vec<String>,
}

/// A user or group that a line is written for.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// User ID.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
    /// Home directory.
    pub home: &'a str,
}

impl Accounts {
    /// Writes the line for a user that /etc/passwd does not know.
    pub fn user_line(&self, account: &Account<'_>) -> String {
        let Account { uid, gid, home } = account;
        match &self.passwd_entry {
            Some(template) => fill(template, account),
            None => format!("{uid}:*:{uid}:{gid}:container user:{home}:/bin/sh"),
        }
    }

    /// Writes the line for a group that /etc/group does not know.
    pub fn group_line(&self, account: &Account<'_>) -> String {
        match &self.group_entry {
            Some(template) => fill(template, account),
            None => format!("{0}:x:{0}:{1}", account.gid, account.uid),
        }
    }
}

/// Puts values into a template. Nothing in it may begin a further line.
fn fill(template: &str, account: &Account<'_>) -> String {
    let (uid, gid) = (account.uid.to_string(), account.gid.to_string());
    template
        .replace("$USERNAME", &uid)
        .replace("$USERLIST", &uid)
        .replace("$GROUPNAME", &gid)
        .replace("$NAME", "container user")
        .replace("$HOME", account.home)
        .replace("$UID", &uid)
        .replace("$GID", &gid)
        .replace(['\n', '\r', '\0'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_lines() {
        let account = Account { uid: 7, gid: 8, home: "/h" };
        let usual = Accounts::default();
        assert_eq!(usual.user_line(&account), "7:*:7:8:container user:/h:/bin/sh");
        assert_eq!(usual.group_line(&account), "8:x:8:7");
        let own = Accounts {
            passwd_entry: Some("u$UID:x:$UID:$GID:$NAME:$HOME:/bin/zsh\nroot::0:0:::".to_owned()),
            group_entry: Some("g$GROUPNAME:x:$GID:$USERLIST".to_owned()),
            ..Accounts::default()
        };
        let line = own.user_line(&account);
        assert_eq!(line, "u7:x:7:8:container user:/h:/bin/zshroot::0:0:::");
        assert_eq!(own.group_line(&account), "g8:x:8:7");
    }
}
