//! Where a build comes from: a directory, an archive, the web, a repository, standard input.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::copy::unpack_archive;
use super::remote::{Fetched, Remote, fetch};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::ignore::Patterns;
use crate::store::draft::Draft;
use crate::store::{Store, file};
use crate::sys::root::Root;

/// More than any sensible Dockerfile.
const LARGEST: u64 = 16 << 20;

/// What Dockerfiles are called where nobody says.
const USUAL: [&str; 2] = ["Containerfile", "Dockerfile"];

/// What was said about where a build comes from.
#[derive(Debug, Default)]
pub struct Asked {
    /// The context, as it is written; `-` is standard input.
    pub context: String,
    /// The Dockerfile; `-` is standard input.
    pub file: Option<String>,
    /// The file of patterns that are left out.
    pub ignore_file: Option<PathBuf>,
}

/// A build's sources; what was made for it is gone when this is dropped.
#[derive(Debug, Default)]
pub struct Sources {
    /// The directory that files are copied from.
    pub context: Option<PathBuf>,
    /// What the Dockerfile is called.
    pub file_name: String,
    /// The Dockerfile.
    pub file: String,
    /// Where it is, if it is a file that the user has here.
    pub path: Option<PathBuf>,
    /// What is left out.
    pub ignored: Patterns,
    _held: Vec<Held>,
}

#[derive(Debug)]
enum Held {
    Draft { _draft: Draft },
    Fetched { _fetched: Fetched },
}

impl Sources {
    /// Gets everything together.
    pub fn get(store: &Store, asked: &Asked) -> Result<Self> {
        let mut held = Vec::new();
        let mut text = None;
        let from_input = asked.file.as_deref() == Some("-");
        let context = match Remote::parse(&asked.context) {
            _ if asked.context == "-" => {
                if from_input {
                    return Err(Error::new(
                        Kind::Invalid,
                        "invalid argument: can't use stdin for both build context and dockerfile",
                    ));
                }
                let draft = store.draft_file()?;
                let mut spooled =
                    draft.file().try_clone().context(|| "cannot copy a descriptor")?;
                io::copy(&mut io::stdin().lock(), &mut spooled)
                    .context(|| "cannot read the context from standard input")?;
                let found = archive_or_text(store, &spooled, &mut held)?;
                text = found.1;
                found.0
            }
            Some(remote @ Remote::Git { .. }) => {
                let fetched = fetch(store, &remote)?;
                let path = fetched.directory().join(fetched.path());
                held.push(Held::Fetched { _fetched: fetched });
                Some(path)
            }
            Some(remote @ Remote::Web(_)) => {
                let fetched = fetch(store, &remote)?;
                let path = fetched.directory().join(fetched.path());
                let file =
                    File::open(&path).context(|| format!("cannot open {}", path.display()))?;
                let found = archive_or_text(store, &file, &mut held)?;
                held.push(Held::Fetched { _fetched: fetched });
                text = found.1;
                found.0
            }
            None => Some(directory(&asked.context)?),
        };
        let read_web = |remote: &Remote| {
            let fetched = fetch(store, remote)?;
            read_file(&fetched.directory().join(fetched.path()))
        };
        Self::settled(context, text, asked, &read_web, held)
    }

    /// As [`Sources::get`], for a directory of this machine, and a Dockerfile that is here, too.
    pub fn of_directory(asked: &Asked) -> Result<Self> {
        let read_web = |_: &Remote| {
            Err(Error::new(Kind::Unsupported, "the Dockerfile cannot come from the web here"))
        };
        Self::settled(Some(directory(&asked.context)?), None, asked, &read_web, Vec::new())
    }

    /// Finds the Dockerfile, and what is left out of the context.
    fn settled(
        context: Option<PathBuf>,
        text: Option<String>,
        asked: &Asked,
        read_web: &dyn Fn(&Remote) -> Result<String>,
        held: Vec<Held>,
    ) -> Result<Self> {
        let from_input = asked.file.as_deref() == Some("-");
        let mut ignore_files = Vec::new();
        let mut place = None;
        let (file_name, file) = match (text, &asked.file) {
            (Some(text), _) => ("Dockerfile".to_owned(), text),
            (None, Some(_)) if from_input => {
                ("Dockerfile".to_owned(), read(io::stdin().lock(), "standard input")?)
            }
            (None, Some(name)) => match Remote::parse(name) {
                Some(remote @ Remote::Web(_)) => (name.clone(), read_web(&remote)?),
                _ => {
                    let path = found(context.as_deref(), name);
                    let beside = format!("{}.dockerignore", path.display());
                    ignore_files.push(PathBuf::from(beside));
                    let shown = name.rsplit('/').next().unwrap_or(name).to_owned();
                    let text = read_file(&path)?;
                    place = Some(path);
                    (shown, text)
                }
            },
            (None, None) => {
                let dir = context.clone().unwrap_or_default();
                let name = USUAL.iter().find(|name| dir.join(name).exists()).ok_or_else(|| {
                    let message = format!(
                        "no Containerfile or Dockerfile specified or found in context directory, {}",
                        dir.display()
                    );
                    Error::new(Kind::NotFound, message)
                        .caused_by(io::Error::other("no such file or directory"))
                })?;
                ignore_files.push(dir.join(format!("{name}.dockerignore")));
                place = Some(dir.join(name));
                ((*name).to_owned(), read_file(&dir.join(name))?)
            }
        };
        if let Some(dir) = &context {
            ignore_files.extend([".containerignore", ".dockerignore"].map(|name| dir.join(name)));
        }
        if let Some(asked) = &asked.ignore_file {
            ignore_files = vec![asked.clone()];
        }
        let used =
            ignore_files.into_iter().find(|path| path.exists() || asked.ignore_file.is_some());
        let ignored = match used {
            Some(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Patterns::parse(&name, &read_file(&path)?)?
            }
            None => Patterns::default(),
        };
        Ok(Self { context, file_name, file, path: place, ignored, _held: held })
    }
}

impl Sources {
    /// Gets a context that a client sends: an archive with a Dockerfile in it, or nothing else.
    ///
    /// What is in it was chosen by somebody else: its paths and links lead nowhere but in it.
    pub fn receive(store: &Store, input: &mut dyn Read, file: &str) -> Result<Self> {
        let draft = store.draft_file()?;
        let mut spooled = draft.file().try_clone().context(|| "cannot copy a descriptor")?;
        io::copy(input, &mut spooled).context(|| "cannot receive the context")?;
        let mut held = Vec::new();
        let (context, text) = archive_or_text(store, &spooled, &mut held)?;
        Self::within(context, text, file, held)
    }

    /// Gets a context that a client knows the address of. The rules are those of [`Sources::receive`].
    pub fn remote(store: &Store, address: &str, file: &str) -> Result<Self> {
        let remote = Remote::parse(address).ok_or_else(|| {
            Error::new(Kind::Invalid, format!("`{address}` is no address of a context"))
                .hint("write one of a repository, as in https://host/repo.git, or of an archive")
        })?;
        let fetched = fetch(store, &remote)?;
        let path = fetched.directory().join(fetched.path());
        let mut held = Vec::new();
        let (context, text) = match remote {
            Remote::Git { .. } => (Some(path), None),
            Remote::Web(_) => {
                let file =
                    File::open(&path).context(|| format!("cannot open {}", path.display()))?;
                archive_or_text(store, &file, &mut held)?
            }
        };
        held.push(Held::Fetched { _fetched: fetched });
        Self::within(context, text, file, held)
    }

    /// Finds the Dockerfile in a context, and what is left out of it.
    fn within(
        context: Option<PathBuf>,
        text: Option<String>,
        file: &str,
        held: Vec<Held>,
    ) -> Result<Self> {
        let file_name = file.rsplit('/').next().unwrap_or(file).to_owned();
        let Some(dir) = context else {
            let file = text.unwrap_or_default();
            let ignored = Patterns::default();
            return Ok(Self { context: None, file_name, file, path: None, ignored, _held: held });
        };
        let root = Root::open(&dir).context(|| "cannot open the context")?;
        let missing = || {
            let text = format!("Cannot locate specified Dockerfile: {file}");
            Error::new(Kind::NotFound, text).hint("its path is seen from the top of the context")
        };
        let text = read_in(&root, file)?.ok_or_else(missing)?;
        let own = format!("{file}.dockerignore");
        let mut ignored = Patterns::default();
        for name in [own.as_str(), ".containerignore", ".dockerignore"] {
            if let Some(text) = read_in(&root, name)? {
                ignored = Patterns::parse(name, &text)?;
                break;
            }
        }
        let path = None;
        Ok(Self { context: Some(dir), file_name, file: text, path, ignored, _held: held })
    }
}

/// Reads a file of a context that somebody else has chosen; `None` if there is none.
fn read_in(root: &Root, name: &str) -> Result<Option<String>> {
    let context = || format!("cannot read {name} in the context");
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = match root.file(name.as_bytes(), flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(context),
    };
    if !file.metadata().context(context)?.is_file() {
        return Err(Error::new(Kind::Invalid, format!("{name} in the context is no file")));
    }
    read(file, name).map(Some)
}

/// Finds a context that is a directory of this machine.
fn directory(context: &str) -> Result<PathBuf> {
    let path = fs::canonicalize(context).context(|| format!("cannot use context {context}"))?;
    if !path.is_dir() {
        return Err(Error::new(
            Kind::Invalid,
            format!("the context must be a directory: {}", path.display()),
        ));
    }
    Ok(path)
}

/// A file that is named is where we are, or in the context.
fn found(context: Option<&Path>, name: &str) -> PathBuf {
    let here = PathBuf::from(name);
    match context {
        Some(dir) if !here.exists() => dir.join(name),
        _ => here,
    }
}

fn read_file(path: &Path) -> Result<String> {
    let context = || format!("cannot read {}", path.display());
    let file = File::open(path).context(context)?;
    if file.metadata().context(context)?.is_dir() {
        return Err(Error::new(Kind::Invalid, format!("{}: it is a directory", context())));
    }
    read(file, &path.display().to_string())
}

fn read(input: impl Read, name: &str) -> Result<String> {
    let mut data = Vec::new();
    input.take(LARGEST + 1).read_to_end(&mut data).context(|| format!("cannot read {name}"))?;
    if data.len() as u64 > LARGEST {
        return Err(Error::new(Kind::Invalid, format!("{name} is larger than 16 MiB")));
    }
    Ok(String::from_utf8_lossy(&data).into_owned())
}

/// Unpacks a file that is an archive; any other is a Dockerfile.
fn archive_or_text(
    store: &Store,
    file: &File,
    held: &mut Vec<Held>,
) -> Result<(Option<PathBuf>, Option<String>)> {
    let draft = store.draft_dir()?;
    let files = draft.path().join("files");
    file::create_dirs(&files, 0o755)?;
    let copy = file.try_clone().context(|| "cannot copy a descriptor")?;
    if unpack_archive(copy, &files)? {
        held.push(Held::Draft { _draft: draft });
        return Ok((Some(files), None));
    }
    let mut copy = file.try_clone().context(|| "cannot copy a descriptor")?;
    io::Seek::rewind(&mut copy).context(|| "cannot read the context")?;
    Ok((None, Some(read(copy, "the context")?)))
}

/// Writes an ID to a file.
pub fn write_id(path: &Path, id: &str) -> Result<()> {
    let context = || format!("cannot write the image's ID to {}", path.display());
    File::create(path).and_then(|mut file| file.write_all(id.as_bytes())).context(context)
}
