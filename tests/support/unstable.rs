//! Programs of Debian's unstable branch, where those of the stable one are too old: unpacked into a
//! directory with all that they need, and run from there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::{fixture, tool};

const UNPACK: &str = r#"
debian=$1 new=$2; shift 2
apt=$(mktemp -d); trap 'rm -rf "$apt"' EXIT
mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$new"
: > "$apt/state/status"
tar -xOf "$debian" ./etc/apt/sources.list | sed -n 's/bookworm /sid /p' > "$apt/sources"
get() {
    apt-get -qq -o Dir::State="$apt/state" -o Dir::State::status="$apt/state/status" -o Dir::Cache="$apt/cache" \
        -o Dir::Etc::sourcelist="$apt/sources" -o Dir::Etc::sourceparts=- -o APT::Sandbox::User=root "$@"
}
get update
get -y --no-install-recommends --download-only install "$@"
for package in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$package" "$new"; done
rm -rf "$new/usr/share"
"#;

/// Unpacks packages into a directory; nothing of them is run.
pub(super) fn unpack(names: &[&str], new: &Path) {
    let debian = fixture::debian();
    let (debian, directory) = (debian.to_string_lossy(), new.to_string_lossy());
    let mut line = vec!["-ec", UNPACK, "unpack", &debian, &directory];
    line.extend(names);
    tool("sh", line);
    for name in ["lib", "lib64"] {
        if !new.join(name).exists() {
            symlink(format!("usr/{name}"), new.join(name)).expect("it is new");
        }
    }
}

/// Returns a directory with the program `criu`. That of Debian 12 fails on newer kernels.
pub(crate) fn criu() -> PathBuf {
    let made = fixture::made("criu", |new| {
        unpack(&["criu"], new);
        let bin = new.join("bin-here");
        fs::create_dir(&bin).expect("there is space");
        let program = bin.join("criu");
        let script = "#!/bin/sh\nd=$(dirname \"$(dirname \"$(readlink -f \"$0\")\")\")\n\
             exec \"$d/lib64/ld-linux-x86-64.so.2\" --library-path \"$d/usr/lib/x86_64-linux-gnu\" \
             \"$d/usr/sbin/criu\" \"$@\"\n";
        fs::write(&program, script).expect("there is space");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    });
    made.join("bin-here")
}
