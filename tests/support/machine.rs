//! A whole machine, as a process: User Mode Linux with Debian's systemd, control groups of version 2
//! alone with all their controllers, and a user whose systemd lingers.
//!
//! The kernel is that of Debian's unstable branch: older ones cannot keep the registers of today's
//! processors. It brings its own libraries, in a directory that becomes its root.
//!
//! A [`plain`] machine has nothing but that kernel and, to be read only, the files of this one: it is
//! there in two seconds.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Barge, fixture, tool, unstable};

/// What the machine has beside a minimal Debian.
const PACKAGES: [&str; 6] =
    ["systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "uidmap"];

/// Makes the root file system.
const MAKE: &str = r#"
debian=$1 new=$2; shift 2
mkdir -p "$new"
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
truncate -s 1500M "$new/root.ext4"
mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1 -d "$root" "$new/root.ext4"
"#;

/// Runs the kernel in its directory; nothing of the mounts stays.
const BOOT: &str = r#"
kernel=$1
mount --make-rprivate /
mount --bind /proc "$kernel/proc"
mount --bind /dev "$kernel/dev"
mount --bind "$2" "$kernel/base"
mount --bind "$3" "$kernel/own"
mount -t tmpfs -o exec none "$kernel/tmp"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp TMPDIR=/tmp \
    LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu chroot "$kernel" /usr/bin/linux.uml mem=512M \
    ubd0=/own/cow,/base/root.ext4 ubd1r=/own/files.tar root=/dev/ubda rw rootfstype=ext4 seccomp=on con=null con0=null,fd:2 ssl=null ssl0=null,fd:1 systemd.show_status=0 loglevel=3 net.ifnames=0
"#;

/// Runs the kernel in its directory, on the files of this machine; nothing of the mounts stays.
const PLAIN: &str = r#"
kernel=$1
mount --make-rprivate /
mount --bind /proc "$kernel/proc"
mount --bind /dev "$kernel/dev"
mount --rbind / "$kernel/own"
mount -t tmpfs -o exec none "$kernel/tmp"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp TMPDIR=/tmp \
    LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu chroot "$kernel" /usr/bin/linux.uml mem=512M seccomp=on \
    root=/dev/root rootfstype=hostfs rootflags=/own ro init="$2/begin" con=null loglevel=0
"#;

/// What a plain machine begins with: `FILES` is where its files are, to which it can write.
const BEGIN: &str = r#"export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc none /proc; mount -t sysfs none /sys
mount -t tmpfs none /run; mount -t cgroup2 none /sys/fs/cgroup
mkdir /run/files; mount -t hostfs -o "/own$FILES" none /run/files
exec > /run/files/told 2>&1 < /dev/null
for module in $MODULES; do busybox insmod "$module"; done
ip link set lo up
sh /run/files/script
echo end=
sync
echo o > /proc/sysrq-trigger
while :; do sleep 1; done
"#;

/// Modules of the kernel that a plain machine has, each behind those that it needs.
const MODULES: [&str; 13] = [
    "fs/overlayfs/overlay",
    "drivers/block/loop",
    "drivers/net/dummy",
    "drivers/net/veth",
    "drivers/net/macvlan",
    "drivers/net/ipvlan/ipvlan",
    "net/llc/llc",
    "net/802/stp",
    "net/802/mrp",
    "net/802/garp",
    "net/8021q/8021q",
    "net/bridge/bridge",
    "net/netfilter/nf_tables",
];

/// The kernel, with what it needs of Debian's unstable branch.
fn kernel() -> PathBuf {
    fixture::made("uml", |kernel| {
        unstable::unpack(&["user-mode-linux"], kernel);
        for name in ["proc", "dev", "tmp", "base", "own"] {
            fs::create_dir(kernel.join(name)).expect("there is space");
        }
        // All others take much space.
        let version = fs::read_dir(kernel.join("usr/lib/uml/modules")).expect("it has modules");
        let version = version.flatten().next().expect("of one version").path();
        fs::create_dir(kernel.join("modules")).expect("there is space");
        for (number, name) in MODULES.iter().enumerate() {
            let from = version.join("kernel").join(name).with_extension("ko");
            let to = kernel.join(format!("modules/{number:02}.ko"));
            fs::copy(&from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        }
        fs::remove_dir_all(kernel.join("usr/lib/uml")).expect("it is ours");
    })
}

/// Boots a plain machine that runs a script: with the files that a directory has, as `/run/files`.
/// Returns what that has written.
pub(crate) fn plain(barge: &Barge, files: &Path, script: &str) -> String {
    let kernel = kernel();
    let modules = super::leaks::entries(&kernel.join("modules"));
    let modules: Vec<_> = modules.iter().map(|path| path.to_string_lossy()).collect();
    let told = files.join("told");
    let (own, modules) = (files.display(), modules.join(" "));
    let begin = format!("#!/bin/sh\nFILES='{own}'\nMODULES='{modules}'\n{BEGIN}");
    fs::write(files.join("begin"), begin).expect("there is space");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(files.join("begin"), mode).expect("it is ours");
    fs::write(files.join("script"), script).expect("there is space");
    let (kernel, files) = (kernel.to_string_lossy(), files.to_string_lossy());
    let line = ["-m", "sh", "-ec", PLAIN, "boot", &kernel, &files];
    let output = barge.other_command("unshare", line).limit(Duration::from_secs(120)).run();
    let told = fs::read_to_string(told).unwrap_or_default();
    assert!(told.ends_with("end=\n"), "it did not come to an end: {told}\n{}", output.story());
    told
}

fn base() -> PathBuf {
    fixture::made("machine-base", |new| {
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
    let (kernel, base) = (kernel(), base());
    let own = barge.path("machine");
    fs::create_dir(&own).expect("there is space");
    let tar = own.join("files.tar");
    tool("tar", ["-C", &files.to_string_lossy(), "-cf", &tar.to_string_lossy(), "."]);
    let (kernel, base) = (kernel.to_string_lossy(), base.to_string_lossy());
    let own = own.to_string_lossy();
    let line = ["-m", "sh", "-ec", BOOT, "boot", &kernel, &base, &own];
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
