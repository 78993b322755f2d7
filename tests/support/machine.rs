//! A whole machine, as a process: User Mode Linux with Debian's systemd, control groups of version 2
//! alone with all their controllers, and a user whose systemd lingers.
//!
//! The kernel is that of Debian's unstable branch: older ones cannot keep the registers of today's
//! processors. It brings its own libraries, in a directory that becomes its root.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Barge, fixture, tool, unstable};

/// What the machine has beside a minimal Debian.
const PACKAGES: [&str; 6] =
    ["systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "uidmap"];

/// Makes the root file system.
const MAKE: &str = r#"
debian=$1 new=$2; shift 2
mkdir -p "$new/base"
root=$(mktemp -d); trap 'rm -rf "$root"' EXIT
tar -C "$root" -xf "$debian"
cp /etc/resolv.conf "$root/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
export DEBIAN_FRONTEND=noninteractive
chroot "$root" apt-get -qq update
chroot "$root" apt-get -qq -y --no-install-recommends install "$@" >/dev/null

rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*
echo machine > "$root/etc/hostname"
: > "$root/etc/fstab"
echo 0123456789abcdef0123456789abcdef > "$root/etc/machine-id"
chroot "$root" useradd -m -s /bin/sh -u 1000 tester
mkdir -p "$root/var/lib/systemd/linger" "$root/etc/systemd/system/user@.service.d"
touch "$root/var/lib/systemd/linger/tester"
printf '[Service]\nDelegate=cpu io memory pids\n' > "$root/etc/systemd/system/user@.service.d/all.conf"
cat > "$root/etc/systemd/system/test.service" <<'UNIT'
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'mkdir -p /t; tar -C /t -xf /dev/ubdb; exec sh /t/all.sh > /dev/ttyS0 2>&1'
ExecStopPost=/bin/systemctl poweroff --force --force
UNIT
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s ../test.service "$root/etc/systemd/system/multi-user.target.wants/test.service"
for unit in serial-getty@.service getty@.service apt-daily.timer apt-daily-upgrade.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
truncate -s 1500M "$new/base/root.ext4"
mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1 -d "$root" "$new/base/root.ext4"
"#;

/// Runs the kernel in its directory; nothing of the mounts stays.
const BOOT: &str = r#"
kernel=$1/kernel
mount --make-rprivate /
mount --bind /proc "$kernel/proc"
mount --bind /dev "$kernel/dev"
mount --bind "$1/base" "$kernel/base"
mount --bind "$2" "$kernel/own"
mount -t tmpfs -o exec none "$kernel/tmp"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp TMPDIR=/tmp \
    LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu chroot "$kernel" /usr/bin/linux.uml mem=512M \
    ubd0=/own/cow,/base/root.ext4 ubd1r=/own/files.tar root=/dev/ubda rw rootfstype=ext4 seccomp=on con=null con0=null,fd:2 ssl=null ssl0=null,fd:1 systemd.show_status=0 loglevel=3 net.ifnames=0
"#;

fn made() -> PathBuf {
    fixture::made("machine", |new| {
        let kernel = new.join("kernel");
        unstable::unpack(&["user-mode-linux"], &kernel);
        for name in ["proc", "dev", "tmp", "base", "own"] {
            fs::create_dir(kernel.join(name)).expect("there is space");
        }
        let mut line = vec!["-ec", MAKE, "make"];
        let (debian, new) = (fixture::debian(), new.to_string_lossy());
        let debian = debian.to_string_lossy();
        line.extend([&*debian, &*new]);
        line.extend(PACKAGES);
        tool("sh", line);
    })
}

/// Boots a machine that has the files of a directory at `/t`, and runs `/t/all.sh` there. Returns what
/// that has written.
pub(crate) fn run(barge: &Barge, files: &Path) -> String {
    let machine = made();
    let own = barge.path("machine");
    fs::create_dir(&own).expect("there is space");
    let tar = own.join("files.tar");
    tool("tar", ["-C", &files.to_string_lossy(), "-cf", &tar.to_string_lossy(), "."]);
    let (machine, own) = (machine.to_string_lossy(), own.to_string_lossy());
    let line = ["-m", "sh", "-ec", BOOT, "boot", &machine, &own];
    let output = barge.other_command("unshare", line).limit(Duration::from_secs(300)).run();
    fs::remove_dir_all(&*own).expect("it is ours");
    let text = output.text();
    assert!(
        text.contains("end="),
        "the machine did not come to an end: {text}\n{}",
        output.errors()
    );
    // It is a terminal that this has come through.
    text.replace('\r', "")
}
