//! `barge images`

use clap::{Args, ValueEnum};
use serde_json::json;

use super::World;
use super::exit::Status;
use super::listing::{self, Columns, Row};
use super::ps::elapsed;
use super::tree::Act;
use crate::engine::{Engine, images};
use crate::error::{Error, Kind, Result};
use crate::spec::filter::{self, Filter};
use crate::spec::reference::Reference;
use crate::spec::size::HumanSize;
use crate::spec::time;
use crate::store::image::NamedImage;

/// List images
#[derive(Args, Debug)]
pub(crate) struct Images {
    /// Show all images
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Show those of which this is true
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = image_filter)]
    filter: Vec<Filter>,
    /// Print each with a Go template, or all as json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Do not shorten anything
    #[arg(long)]
    no_trunc: bool,
    /// Leave out the headings
    #[arg(short, long)]
    noheading: bool,
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
    /// Sort by this
    #[arg(long, value_enum, value_name = "KEY", default_value = "created")]
    sort: Sort,
    /// Show those with this name only
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// What a listing can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// When it was made, the newest first.
    Created,
    /// ID.
    Id,
    /// Name.
    Repository,
    /// Bytes.
    Size,
    /// Tag.
    Tag,
}

const PLAIN: Columns = Columns {
    shown: &[
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("ID", "IMAGE ID"),
        ("CreatedSince", "CREATED"),
        ("Size", "SIZE"),
    ],
    others: &[("Created", "CREATED"), ("Digest", "DIGEST")],
};

const WITH_DIGESTS: Columns = Columns {
    shown: &[
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("ID", "IMAGE ID"),
        ("CreatedSince", "CREATED"),
        ("Size", "SIZE"),
    ],
    ..PLAIN
};

/// What images can be filtered by.
const KEYS: [&str; 11] = [
    "after",
    "before",
    "dangling",
    "id",
    "intermediate",
    "label",
    "manifest",
    "readonly",
    "reference",
    "since",
    "until",
];

fn image_filter(text: &str) -> Result<Filter> {
    let invalid =
        |why: &str| Error::new(Kind::Invalid, format!("invalid image filter \"{text}\": {why}"));
    let filter: Filter = text
        .parse()
        .map_err(|_| invalid("must be in the format \"filter=value or filter!=value\""))?;
    match KEYS.contains(&&*filter.key) {
        true => Ok(filter),
        false => {
            Err(invalid("there is no such filter").hint(format!("known are {}", KEYS.join(", "))))
        }
    }
}

/// One name of an image, or an image without one.
struct Entry<'a> {
    image: &'a NamedImage,
    name: Option<&'a Reference>,
}

impl Act for Images {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        let all = images::list(engine.store())?;
        let mut entries = Vec::new();
        for image in &all {
            if !matches(&engine, image, &self.filter, &all)? {
                continue;
            }
            let wanted = |name: &&Reference| {
                self.name.as_deref().is_none_or(|wanted| name_matches(name, wanted))
            };
            let named = entries.len();
            entries.extend(
                image.names.iter().filter(wanted).map(|name| Entry { image, name: Some(name) }),
            );
            if entries.len() == named && self.name.is_none() {
                entries.push(Entry { image, name: image.digests.first() });
            }
        }
        sort(&mut entries, self.sort);
        if self.quiet {
            let mut last = None;
            for entry in entries {
                let id = &entry.image.image.id;
                // An image with several names is one image.
                if last.replace(id) != Some(id) {
                    let text = if self.no_trunc { id.to_string() } else { id.short().to_owned() };
                    world.out.line(&text)?;
                }
            }
            return Ok(Status::SUCCESS);
        }
        let now = super::now();
        let columns = if self.digests { &WITH_DIGESTS } else { &PLAIN };
        let rows = if self.format.as_deref().map(str::trim) == Some("json") {
            // An image with several names is one object.
            entries.dedup_by(|one, other| one.image.image.id == other.image.image.id);
            entries.iter().map(|entry| row(entry, now, true)).collect()
        } else {
            entries.iter().map(|entry| row(entry, now, self.no_trunc)).collect()
        };
        listing::print(&mut world.out, columns, rows, self.format.as_deref(), !self.noheading)?;
        Ok(Status::SUCCESS)
    }
}

fn sort(entries: &mut [Entry<'_>], by: Sort) {
    match by {
        // They come so.
        Sort::Created => {}
        Sort::Id => entries.sort_by_key(|entry| entry.image.image.id.clone()),
        Sort::Repository => entries.sort_by_key(|entry| entry.name.cloned()),
        Sort::Size => entries.sort_by_key(|entry| entry.image.image.size),
        Sort::Tag => entries.sort_by_key(|entry| {
            entry.name.and_then(Reference::tag).unwrap_or_default().to_owned()
        }),
    }
}

fn row(entry: &Entry<'_>, now: i64, whole: bool) -> Row {
    let NamedImage { image, names, digests } = entry.image;
    const NONE: &str = "<none>";
    let repository = entry.name.map_or(NONE.to_owned(), Reference::repository);
    let tag = entry.name.and_then(Reference::tag).unwrap_or(NONE);
    let digest = match &image.manifest_digest {
        Some(digest) => digest.as_str(),
        None => NONE,
    };
    let since = match image.created {
        0 => "N/A".to_owned(),
        created => format!("{} ago", elapsed(created, now)),
    };
    Row {
        fields: json!({
            "Repository": repository,
            "Tag": tag,
            "ID": if whole { image.id.to_string() } else { image.id.short().to_owned() },
            "Id": if whole { image.id.to_string() } else { image.id.short().to_owned() },
            "Digest": digest,
            "Created": since,
            "CreatedSince": since,
            "CreatedAt": time::go_style(image.created),
            "CreatedTime": time::go_style(image.created),
            "Size": HumanSize(image.size).to_string(),
            "VirtualSize": HumanSize(image.size).to_string(),
            "Labels": image.config.labels,
            "Containers": "N/A",
        }),
        document: json!({
            "Id": image.id.hex(),
            "ParentId": "",
            "RepoTags": names,
            "RepoDigests": digests,
            "Names": names,
            "Digest": image.manifest_digest,
            "Created": image.created / 1_000_000_000,
            "CreatedAt": time::rfc3339_short(image.created),
            "Size": image.size,
            "SharedSize": 0,
            "VirtualSize": image.size,
            "Labels": image.config.labels,
            "Containers": 0,
            "Dangling": names.is_empty(),
            "History": names,
        }),
    }
}

/// Tells whether an image passes the filters.
fn matches(
    engine: &Engine,
    image: &NamedImage,
    filters: &[Filter],
    all: &[NamedImage],
) -> Result<bool> {
    filter::passes(filters, |key, value| test(engine, image, key, value, all))
}

fn test(
    engine: &Engine,
    image: &NamedImage,
    key: &str,
    value: &str,
    all: &[NamedImage],
) -> Result<bool> {
    let NamedImage { image, names, .. } = image;
    Ok(match key {
        "id" => image.id.hex().starts_with(value.strip_prefix("sha256:").unwrap_or(value)),
        "label" => filter::label_matches(&image.config.labels, value),
        "reference" => names.iter().any(|name| name_matches(name, value)),
        "dangling" => {
            let wanted = crate::spec::mount::parse_bool(value).ok_or_else(|| {
                Error::new(Kind::Invalid, format!("invalid value `{value}` of filter dangling"))
            })?;
            names.is_empty() == wanted
        }
        "until" => image.created < time::parse(value, super::now())?,
        "before" | "since" | "after" => {
            let other = engine.store().images().lookup(value)?;
            let other =
                all.iter().find(|it| it.image.id == other.id).map_or(0, |it| it.image.created);
            if key == "before" { image.created < other } else { image.created > other }
        }
        "readonly" | "intermediate" | "manifest" => !matches!(value, "true" | "1"),
        _ => {
            return Err(Error::new(Kind::Invalid, format!("unsupported image filter \"{key}\"")));
        }
    })
}

/// Tells whether a name is what is written: in full or short, with or without a tag; `*` is anything.
fn name_matches(name: &Reference, wanted: &str) -> bool {
    let last = wanted.rfind('/').map_or(0, |slash| slash + 1);
    let has_tag = wanted[last..].contains(':');
    let (long, short) = if has_tag {
        (name.to_string(), name.familiar())
    } else {
        (name.repository(), name.familiar_repository())
    };
    let ends = |whole: &str| {
        whole
            .char_indices()
            .filter(|(index, _)| *index == 0 || whole[..*index].ends_with('/'))
            .any(|(index, _)| glob(wanted.as_bytes(), &whole.as_bytes()[index..]))
    };
    glob(wanted.as_bytes(), short.as_bytes()) || ends(&long)
}

/// Matches a pattern in which `*` is any text without a slash, and `?` any one character.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) if glob(rest, text) => true,
        (Some((b'*', _)), Some((letter, text))) => *letter != b'/' && glob(pattern, text),
        (Some((b'?', pattern)), Some((letter, text))) => *letter != b'/' && glob(pattern, text),
        (Some((wanted, pattern)), Some((letter, text))) => wanted == letter && glob(pattern, text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_names() {
        let name = Reference::candidates("docker.io/library/nginx:1.27").unwrap().remove(0);
        for (wanted, want) in [
            ("nginx", true),
            ("nginx:1.27", true),
            ("nginx:1.*", true),
            ("library/nginx", true),
            ("docker.io/library/nginx", true),
            ("ngin*", true),
            ("*/nginx", true),
            ("ngin", false),
            ("nginx:1", false),
            ("ginx", false),
            ("*/*/*/nginx", false),
        ] {
            assert_eq!(name_matches(&name, wanted), want, "{wanted}");
        }
    }
}
