//! `COPY` and `ADD`: where files come from.

use super::copy::{Item, Job, Tree};
use super::layers::Key;
use super::remote::{self, Remote};
use super::stage::{Image, Place};
use super::{Builder, NamedContext};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::dockerfile::{Copy, word};

impl Builder<'_> {
    /// Copies files into an image.
    pub(super) fn copy(
        &self,
        stage: usize,
        image: &mut Image,
        place: Place<'_>,
        copy: &Copy,
        is_add: bool,
    ) -> Result<()> {
        let name = if is_add { "ADD" } else { "COPY" };
        let expand = |text: &String| place.expand(image, text);
        let flags = &copy.flags;
        let sources = copy.sources.iter().map(expand).collect::<Result<Vec<_>>>()?;
        let target = expand(&copy.target)?;
        let chown = flags.chown.as_ref().map(expand).transpose()?;
        let chmod = flags.chmod.as_ref().map(expand).transpose()?;
        let exclude = flags.exclude.iter().map(expand).collect::<Result<Vec<_>>>()?;
        let checksum = flags.checksum.as_ref().map(expand).transpose()?;
        let mut items = Vec::new();
        // What was fetched lies there until all is done.
        let mut held = Vec::new();
        for path in &sources {
            let remote = if is_add { Remote::parse(path) } else { None };
            let tree = match remote {
                Some(remote) => {
                    let fetched = remote::get(
                        self.engine.store(),
                        &remote,
                        checksum.as_deref(),
                        flags.keep_git_dir,
                    )
                    .map_err(|error| place.within(error))?;
                    let (tree, path) = fetched.tree();
                    held.push(fetched);
                    let unpack = flags.unpack == Some(true);
                    items.push(Item::Files { tree, path, unpack });
                    continue;
                }
                None => {
                    self.tree(stage, flags.from.as_deref()).map_err(|error| place.within(error))?
                }
            };
            if checksum.is_some() {
                return Err(place.problem("--checksum is for files that are fetched"));
            }
            let unpack = is_add && flags.unpack.unwrap_or(true);
            items.push(Item::Files { tree, path: path.clone(), unpack });
        }
        for document in &copy.documents {
            let text = document.text();
            let text = match document.expand {
                true => word::expand_document(&text, &|name| image.lookup(name))
                    .map_err(|why| place.problem(&why))?,
                false => text,
            };
            items.push(Item::Text { name: document.name.clone(), text });
        }
        let ends = target.ends_with('/') || target.ends_with("/.") || matches!(&*target, "." | "");
        let mut absolute = image.absolute(&target);
        if ends && !absolute.ends_with('/') {
            absolute.push('/');
        }
        let job = Job {
            items,
            target: absolute.clone(),
            chown: chown.clone(),
            chmod: chmod.clone(),
            parents: flags.parents,
            exclude,
        };
        // What is linked lies on whatever is below, as long as nothing is looked up there.
        let is_number = |text: &String| text.split(':').all(|id| id.parse::<u32>().is_ok());
        let alone = flags.link && chown.as_ref().is_none_or(is_number);
        let mut key = if alone { Key::alone() } else { Key::of(image) };
        key.add("instruction", format!("{name} to {absolute}"));
        key.add("owner", chown.unwrap_or_default());
        key.add("mode", chmod.unwrap_or_default());
        key.add("exclude", format!("{:?} {}", job.exclude, flags.parents));
        let content = job.digest().map_err(|error| place.within(error))?;
        key.add("content", content.hex().to_owned());
        let history = format!("{name} {} {target} # buildkit", sources.join(" "));
        let lower = if alone { Vec::new() } else { image.lower() };
        let made = self.layer(image, &key, place, history, |_, draft| {
            let warnings = job.write(draft.diff(), &lower)?;
            warnings.iter().for_each(|warning| self.listener.warning(warning));
            Ok(())
        });
        drop(held);
        made.map_err(|error| place.within(error))
    }

    /// Finds what files are copied or mounted from: the context, another one, a stage, or an image.
    pub(super) fn tree(&self, stage: usize, from: Option<&str>) -> Result<Tree> {
        let Some(from) = from.filter(|from| !from.is_empty()) else {
            return match &self.options.context {
                Some(path) => Ok(Tree::Context(path.clone(), self.options.ignored.clone())),
                None => Err(Error::new(Kind::NotFound, "there is no build context")
                    .hint("name a directory after the flags, as in `barge build .`")),
            };
        };
        match self.options.contexts.get(from) {
            Some(NamedContext::Directory(path)) => {
                return Ok(Tree::Context(path.clone(), crate::spec::ignore::Patterns::default()));
            }
            Some(NamedContext::Image(name)) => {
                return Ok(Tree::Layers(self.pulled(name, None)?.lower()));
            }
            None => {}
        }
        if let Some(other) = self.file.stage(from, stage) {
            return Ok(Tree::Layers(self.need(other)?.lower()));
        }
        if from.parse::<usize>().is_ok() || from.contains('$') {
            return Err(Error::new(
                Kind::NotFound,
                format!("no stage before this one is called `{from}`"),
            ));
        }
        let image = self
            .pulled(from, None)
            .context(|| format!("`{from}` is no stage before this one, and no image"))?;
        Ok(Tree::Layers(image.lower()))
    }
}
