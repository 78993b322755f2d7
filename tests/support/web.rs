//! An image of nginx and redis, made from Debian packages on top of a Debian root file system.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::layout::{Layout, Packing, Tar, architecture};
use super::tool;

/// What starts in the image: redis in the background, nginx in the foreground.
const START: &str = "#!/bin/sh
set -e
redis-server --daemonize yes --save '' --dir /tmp --bind 127.0.0.1
exec nginx -g 'daemon off;'
";

const PAGE: &str = "<html><body>served from a container</body></html>\n";

/// Directories that are links into /usr in the root file system; a layer must not replace them.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Makes an OCI layout with the image `1`: Debian, what both need, nginx, redis, the configuration.
///
/// The packages are those that are missing in the root file system; their scripts do not run.
pub(super) fn layout(debian: &Path, directory: &Path) {
    let scratch = tempfile::tempdir().expect("there is space");
    let packages = download(debian, scratch.path());
    let mut layout = Layout::new(directory);
    let mut layers = vec![layout.layer_file(debian)];
    type Choice = fn(&str) -> bool;
    let choices: [(&str, Choice); 3] = [
        ("base", |name| !name.starts_with("nginx") && !name.starts_with("redis")),
        ("nginx", |name| name.starts_with("nginx")),
        ("redis", |name| name.starts_with("redis")),
    ];
    for (name, choice) in choices {
        let chosen: Vec<&PathBuf> = packages
            .iter()
            .filter(|path| choice(&path.file_name().unwrap_or_default().to_string_lossy()))
            .collect();
        assert!(!chosen.is_empty(), "no packages for the layer {name}");
        let tar = unpack(&chosen, &scratch.path().join(name));
        layers.push(layout.layer_file(&tar));
    }
    let own = Tar::new()
        .directory("srv/", 0o755)
        .file("srv/start", 0o755, START)
        .file("etc/nginx/conf.d/page.conf", 0o644, "server { listen 80; root /srv/page; }\n")
        .directory("srv/page/", 0o755)
        .file("srv/page/index.html", 0o644, PAGE)
        .file("usr/share/.wh.doc", 0o644, "")
        .bytes();
    layers.push(layout.layer(&own, Packing::Gzip));
    let config = json!({
        "Cmd": ["/srv/start"],
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "ExposedPorts": { "80/tcp": {}, "6379/tcp": {} },
        "StopSignal": "SIGQUIT",
    });
    let image = layout.image(&layers, &config, architecture());
    layout.name(&image, "1");
}

/// Downloads nginx, redis and what they need in that root file system.
fn download(debian: &Path, scratch: &Path) -> Vec<PathBuf> {
    let root = scratch.join("root");
    fs::create_dir(&root).expect("there is space");
    let root_text = root.to_string_lossy().into_owned();
    tool("tar", ["-C", &root_text, "-xf", &debian.to_string_lossy()]);
    fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf")).expect("the host has one");
    tool("chroot", [&root_text, "apt-get", "-qq", "update"]);
    let install = ["-qq", "-y", "--no-install-recommends", "--download-only", "install"];
    let mut line = vec![root_text.as_str(), "apt-get"];
    line.extend(install);
    line.extend(["nginx", "redis-server", "redis-tools"]);
    tool("chroot", line);
    let archives = root.join("var/cache/apt/archives");
    let packages: Vec<PathBuf> = super::leaks::entries(&archives)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    assert!(!packages.is_empty(), "apt-get downloaded nothing");
    packages
}

/// Unpacks packages into a directory and returns a tar file of what they added.
fn unpack(packages: &[&PathBuf], directory: &Path) -> PathBuf {
    for name in MERGED {
        fs::create_dir_all(directory.join("usr").join(name)).expect("there is space");
        std::os::unix::fs::symlink(format!("usr/{name}"), directory.join(name)).expect("it is new");
    }
    for package in packages {
        let line = "dpkg-deb --fsys-tarfile \"$1\" | tar -C \"$2\" --keep-directory-symlink -x";
        let package = package.to_string_lossy();
        tool("sh", ["-ec", line, "unpack", &package, &directory.to_string_lossy()]);
    }
    for name in MERGED {
        fs::remove_file(directory.join(name)).expect("it is a link of ours");
    }
    let tar = directory.with_extension("tar");
    let directory = directory.to_string_lossy();
    let tar_text = tar.to_string_lossy();
    tool("tar", ["-C", &directory, "--numeric-owner", "--sort=name", "-cf", &tar_text, "."]);
    tar
}
