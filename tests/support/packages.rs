//! Images of real programs, made from Debian packages on top of a Debian root file system.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::layout::{Layout, Packing, Tar, architecture};
use super::tool;

/// Directories that are links into /usr in the root file system; a layer must not replace them.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// What an image is made of.
pub(super) struct Recipe {
    /// The packages that are installed.
    pub(super) packages: &'static [&'static str],
    /// How the names of packages begin that get a layer of their own, for each such layer; what the root
    /// file system and they need besides is in a layer below.
    pub(super) layers: &'static [&'static [&'static str]],
    /// The uppermost layer.
    pub(super) own: Tar,
    /// The configuration of the image, without a search path.
    pub(super) config: Value,
}

/// Makes an OCI layout with the image `1`: Debian, the layers of packages, the uppermost layer.
///
/// The packages are those that are missing in the root file system; their scripts do not run.
pub(super) fn layout(debian: &Path, directory: &Path, recipe: Recipe) {
    let scratch = tempfile::tempdir().expect("there is space");
    let packages = download(debian, scratch.path(), recipe.packages);
    let mut layout = Layout::new(directory);
    let mut layers = vec![layout.layer_file(debian)];
    let layer_of = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let begins = |starts: &&[&str]| starts.iter().any(|start| name.starts_with(start));
        recipe.layers.iter().position(begins).map_or(0, |position| position + 1)
    };
    for number in 0..=recipe.layers.len() {
        let chosen: Vec<&PathBuf> =
            packages.iter().filter(|path| layer_of(path) == number).collect();
        assert!(!chosen.is_empty(), "no packages for layer {number}");
        let tar = unpack(&chosen, &scratch.path().join(format!("layer-{number}")));
        layers.push(layout.layer_file(&tar));
    }
    layers.push(layout.layer(&recipe.own.bytes(), Packing::Gzip));
    let mut config = recipe.config;
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    match config["Env"].as_array_mut() {
        Some(environment) => environment.push(json!(path)),
        None => config["Env"] = json!([path]),
    }
    let image = layout.image(&layers, &config, architecture());
    layout.name(&image, "1");
}

/// Downloads packages and what they need in that root file system.
fn download(debian: &Path, scratch: &Path, names: &[&str]) -> Vec<PathBuf> {
    let root = scratch.join("root");
    fs::create_dir(&root).expect("there is space");
    let root_text = root.to_string_lossy().into_owned();
    tool("tar", ["-C", &root_text, "-xf", &debian.to_string_lossy()]);
    fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf")).expect("the host has one");
    tool("chroot", [&root_text, "apt-get", "-qq", "update"]);
    let install = ["-qq", "-y", "--no-install-recommends", "--download-only", "install"];
    let mut line = vec![root_text.as_str(), "apt-get"];
    line.extend(install);
    line.extend(names);
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
