//! What a build needs of the client's files: the Dockerfile, what is left out, and the contexts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::builds::Build;
use super::session::{Session, Sessions, Wanted};
use super::worker::ContextPlace;
use crate::error::{Context, Error, Kind, Result};
use crate::store::builds::Cache;
use crate::store::draft::Draft;
use crate::store::{Store, file};

/// Where a client has the archive that it got on its standard input.
const UPLOADED: &str = "http://buildkit-session";

/// More than any sensible Dockerfile.
const LARGEST: u64 = 16 << 20;

/// Gathers the client's files for a build.
pub(super) struct Gatherer<'a> {
    pub(super) store: &'a Store,
    pub(super) sessions: &'a Sessions,
    pub(super) build: &'a Build,
    /// The words of the frontend.
    pub(super) attributes: &'a HashMap<String, String>,
}

/// What was gathered; it is gone when this is dropped, but for copies that are kept for the next build.
#[derive(Default)]
pub(super) struct Gathered {
    /// The Dockerfile's name and text, if it is not in the context.
    pub(super) file: Option<(String, String)>,
    pub(super) context: ContextPlace,
    /// Directories of contexts, by what the client calls them.
    pub(super) contexts: Vec<(String, PathBuf)>,
    drafts: Vec<Draft>,
    kept: Vec<Cache>,
}

impl Gatherer<'_> {
    /// Gathers all.
    pub(super) async fn gather(&self) -> Result<Gathered> {
        let mut all = Gathered::default();
        let context_key = self.word("contextkey").unwrap_or("context");
        let address = self.word(context_key).filter(|it| it.contains("://") || it.contains('@'));
        let mut ignored = None;
        if address.is_none() || self.word("dockerfilekey").is_some() {
            let (file, own) = self.dockerfile(&mut all).await?;
            all.file = Some(file);
            ignored = own;
        }
        all.context = match address {
            Some(address) => match address.strip_prefix(UPLOADED) {
                Some(path) => ContextPlace::Archive(self.uploaded(path, &mut all).await?),
                None => ContextPlace::Remote(address.to_owned()),
            },
            None => {
                let name = "[internal] load build context";
                let path = self.context(context_key, ignored, name, &mut all).await?;
                ContextPlace::Directory(path)
            }
        };
        for (name, place) in self.attributes {
            let Some(name) = name.strip_prefix("context:") else { continue };
            let Some(local) = place.strip_prefix("local:") else { continue };
            let shown = format!("[context {name}] load from client");
            let path = self.context(local, None, &shown, &mut all).await?;
            all.contexts.push((local.to_owned(), path));
        }
        Ok(all)
    }

    /// Returns what the frontend is told under a name.
    fn word(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str).filter(|it| !it.is_empty())
    }

    /// Finds the session that has a directory.
    async fn session(&self, directory: &str) -> Result<Arc<Session>> {
        let other = self.word(&format!("local-sessionid:{directory}")).map(str::to_owned);
        self.sessions.find(other.as_deref().unwrap_or(&self.build.session)).await
    }

    /// Gets the Dockerfile, and the patterns that lie beside it.
    async fn dockerfile(
        &self,
        all: &mut Gathered,
    ) -> Result<((String, String), Option<Vec<String>>)> {
        let name = self.word("filename").unwrap_or("Dockerfile");
        let directory = self.word("dockerfilekey").unwrap_or("dockerfile");
        let own = format!("{name}.dockerignore");
        let mut paths = vec![name.to_owned(), own.clone()];
        // Docker has always taken this one, too.
        let small = name.strip_suffix("Dockerfile").map(|above| format!("{above}dockerfile"));
        paths.extend(small.clone());
        let draft = self.store.draft_dir()?;
        let shown = format!("[internal] load build definition from {name}");
        let wanted = Wanted { directory, paths, exclude: Vec::new() };
        self.fetch(&shown, &wanted, draft.path()).await?;
        let mut text = read(draft.path(), name)?;
        if let (None, Some(small)) = (&text, small) {
            text = read(draft.path(), &small)?;
        }
        let missing = || {
            let text = format!("failed to read dockerfile: open {name}: no such file or directory");
            Error::new(Kind::NotFound, text)
        };
        let text = text.ok_or_else(missing)?;
        let ignored = read(draft.path(), &own)?.map(|text| patterns(&text));
        all.drafts.push(draft);
        let shown = name.rsplit('/').next().unwrap_or(name).to_owned();
        Ok(((shown, text), ignored))
    }

    /// Gets a directory of the client's, without what its ignore file names.
    async fn context(
        &self,
        directory: &str,
        ignored: Option<Vec<String>>,
        shown: &str,
        all: &mut Gathered,
    ) -> Result<PathBuf> {
        let exclude = match ignored {
            Some(ignored) => ignored,
            None => {
                let draft = self.store.draft_dir()?;
                let name = ".dockerignore";
                let paths = vec![name.to_owned()];
                let wanted = Wanted { directory, paths, exclude: Vec::new() };
                let shown = match directory {
                    "context" => "[internal] load .dockerignore".to_owned(),
                    _ => format!("[context {directory}] load .dockerignore"),
                };
                self.fetch(&shown, &wanted, draft.path()).await?;
                read(draft.path(), name)?.map(|text| patterns(&text)).unwrap_or_default()
            }
        };
        let wanted = Wanted { directory, paths: Vec::new(), exclude };
        let key = self.shared_key(directory).await?;
        let kept = match key.as_str() {
            "" => None,
            // No cache of a command is called so.
            key => {
                let name = format!("\0context {directory} {key}");
                self.store.builds().take_cache(&name, 0, true)?
            }
        };
        let path = match kept {
            Some(kept) => {
                let path = kept.path.clone();
                file::create_dirs(&path, 0o755)?;
                all.kept.push(kept);
                path
            }
            // Nothing is kept of it, or somebody else builds from it just now.
            None => {
                let draft = self.store.draft_dir()?;
                let path = draft.path().join("files");
                file::create_dirs(&path, 0o755)?;
                all.drafts.push(draft);
                path
            }
        };
        self.fetch(shown, &wanted, &path).await?;
        Ok(path)
    }

    /// What builds of the same directory of the same client have in common.
    async fn shared_key(&self, directory: &str) -> Result<String> {
        match self.word(&format!("sharedkey:localdir:{directory}")) {
            Some(key) => Ok(key.to_owned()),
            None => Ok(self.session(directory).await?.shared_key.clone()),
        }
    }

    /// Gets an archive that the client has on its standard input.
    async fn uploaded(&self, path: &str, all: &mut Gathered) -> Result<PathBuf> {
        let draft = self.store.draft_file()?;
        let file = draft.file().try_clone().context(|| "cannot copy a descriptor")?;
        let key = self.key("upload");
        let progress = &self.build.progress;
        progress.begin(&key, "[internal] load remote build context");
        let session = self.sessions.find(&self.build.session).await?;
        let loaded = session.upload(path, file).await;
        progress.end(&key, false, loaded.as_ref().err().map(ToString::to_string));
        loaded?;
        let path = draft.path().to_owned();
        all.drafts.push(draft);
        Ok(path)
    }

    /// Takes files, and tells of it.
    async fn fetch(&self, shown: &str, wanted: &Wanted<'_>, target: &Path) -> Result<()> {
        let key = self.key(shown);
        let progress = &self.build.progress;
        progress.begin(&key, shown);
        let session = self.session(wanted.directory).await;
        let fetched = match session {
            Ok(session) => session.fetch(wanted, target).await,
            Err(error) => Err(error),
        };
        if let Ok(received) = fetched {
            let what = match shown.contains("context") {
                true => "transferring context:",
                false => "transferring dockerfile:",
            };
            progress.part(&key, what, received, received, true);
        }
        progress.end(&key, false, fetched.as_ref().err().map(ToString::to_string));
        fetched.map(drop)
    }

    fn key(&self, name: &str) -> String {
        format!("{} {name}", self.build.reference)
    }
}

/// Reads a file that a client has sent; `None` if there is none. What it names elsewhere is not read.
fn read(directory: &Path, name: &str) -> Result<Option<String>> {
    use std::io::Read;
    let context = || format!("cannot read {name}");
    let root = crate::sys::root::Root::open(directory).context(context)?;
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
    let opened = root.file(name.as_bytes(), flags, rustix::fs::Mode::empty());
    let file = match opened {
        Ok(file) => std::fs::File::from(file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(context),
    };
    if !file.metadata().context(context)?.is_file() {
        return Err(Error::new(Kind::Invalid, format!("{name} is no file")));
    }
    let mut data = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut data).context(context)?;
    if data.len() as u64 > LARGEST {
        return Err(Error::new(Kind::Invalid, format!("{name} is larger than 16 MiB")));
    }
    Ok(Some(String::from_utf8_lossy(&data).into_owned()))
}

/// Reads the patterns of an ignore file, in the form that clients take: no comments, no slash in front.
fn patterns(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(str::trim);
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (mark, path) = match line.strip_prefix('!') {
                Some(path) => ("!", path.trim()),
                None => ("", line),
            };
            format!("{mark}{}", clean(path))
        })
        .collect()
}

/// Writes a path without what leads nowhere.
fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => drop(names.pop()),
            ".." if path.starts_with('/') => {}
            name => names.push(name),
        }
    }
    if names.is_empty() { ".".to_owned() } else { names.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ignore_files_as_docker_does() {
        let text =
            "\u{feff}# comment\n*.o\n\n  /build/ \n!/build/keep\n! spaced\na/./b/../c\n #no\n.\n";
        assert_eq!(patterns(text), ["*.o", "build", "!build/keep", "!spaced", "a/c", "#no", "."]);
    }

    #[test]
    fn reads_no_file_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("Dockerfile")).unwrap();
        assert_eq!(read(dir.path(), "Dockerfile").unwrap(), None, "its root is the directory");
        std::fs::create_dir(dir.path().join("d")).unwrap();
        assert!(read(dir.path(), "d").is_err());
        assert_eq!(read(dir.path(), "missing").unwrap(), None);
        std::fs::write(dir.path().join("file"), "FROM x").unwrap();
        std::os::unix::fs::symlink("/file", dir.path().join("link")).unwrap();
        assert_eq!(read(dir.path(), "link").unwrap().unwrap(), "FROM x");
    }
}
