//! `barge images`

mod remote;

use std::str::FromStr;

use clap::Args;
use serde_json::{Map, Value as Json, json};

use super::World;
use super::exit::Status;
use super::listing::{self, Columns, Row};
use super::output;
use super::ps::elapsed;
use super::tree::Act;
use crate::engine::images::{self, ListOptions, Listing};
use crate::error::{Error, Kind, Result};
use crate::remote::Host;
use crate::spec::digest::Digest;
use crate::spec::filter::Filter;
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
    /// Show all names of each
    #[arg(long)]
    history: bool,
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
    #[arg(long, value_name = "KEY", default_value = "created")]
    sort: Sort,
    /// Show those with this name only
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// What a listing can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl FromStr for Sort {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "created" => Ok(Self::Created),
            "id" => Ok(Self::Id),
            "repository" => Ok(Self::Repository),
            "size" => Ok(Self::Size),
            "tag" => Ok(Self::Tag),
            _ => Err(Error::new(
                Kind::Invalid,
                format!(
                    "\"{text}\" is not a valid field for sorting. Choose from: created, id, repository, size, tag"
                ),
            )),
        }
    }
}

/// Fields that say how an image is used.
const USAGE: [&str; 3] = [".Containers", ".SharedSize", ".UniqueSize"];

const REPOSITORY: (&str, &str) = ("Repository", "REPOSITORY");
const TAG: (&str, &str) = ("Tag", "TAG");
const DIGEST: (&str, &str) = ("Digest", "DIGEST");
const ID: (&str, &str) = ("ID", "IMAGE ID");
const CREATED: (&str, &str) = ("CreatedSince", "CREATED");
const SIZE: (&str, &str) = ("Size", "SIZE");
const HISTORY: (&str, &str) = ("History", "HISTORY");

const PLAIN: Columns = Columns {
    shown: &[REPOSITORY, TAG, ID, CREATED, SIZE],
    others: &[("Created", "CREATED"), ("Id", "IMAGE ID")],
};

const WITH_DIGESTS: Columns =
    Columns { shown: &[REPOSITORY, TAG, DIGEST, ID, CREATED, SIZE], ..PLAIN };

const WITH_HISTORY: Columns =
    Columns { shown: &[REPOSITORY, TAG, ID, CREATED, SIZE, HISTORY], ..PLAIN };

const WITH_BOTH: Columns =
    Columns { shown: &[REPOSITORY, TAG, DIGEST, ID, CREATED, SIZE, HISTORY], ..PLAIN };

/// Parses a filter, and complains about one as Podman does.
pub(super) fn image_filter(text: &str) -> Result<Filter> {
    text.parse().map_err(|_| {
        Error::new(
            Kind::Invalid,
            format!(
                "invalid image filter \"{text}\": must be in the format \"filter=value or filter!=value\""
            ),
        )
    })
}

impl Images {
    /// Tells whether anything is shown of how images are used: it costs time, and few ask for it.
    fn shows_usage(&self) -> bool {
        let format = self.format.as_deref().map(str::trim);
        format.is_some_and(|text| text == "json" || USAGE.iter().any(|it| text.contains(it)))
    }

    /// Prints rows, wherever their images are.
    fn print(&self, world: &mut World, rows: Vec<Row>) -> Result<Status> {
        let columns = match (self.digests, self.history) {
            (false, false) => &PLAIN,
            (true, false) => &WITH_DIGESTS,
            (false, true) => &WITH_HISTORY,
            (true, true) => &WITH_BOTH,
        };
        listing::print(&mut world.out, columns, rows, self.format.as_deref(), !self.noheading)?;
        Ok(Status::SUCCESS)
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
        let format = self.format.as_deref().map(str::trim);
        let options = ListOptions {
            filters: self.filter.clone(),
            name: self.name.clone(),
            usage: self.shows_usage(),
        };
        let listing = images::list(engine.store(), &options)?;
        for error in &listing.damaged {
            let hint = error.hint_text().map(|hint| format!("; {hint}")).unwrap_or_default();
            output::warning(&format!("{error}{hint}"));
        }
        let mut entries = Vec::new();
        for image in &listing.images {
            entries.extend(image.names.iter().map(|name| Entry { image, name: Some(name) }));
            if image.names.is_empty() {
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
        if format == Some("json") {
            // An image with several names is one object.
            entries.dedup_by(|one, other| one.image.image.id == other.image.image.id);
        }
        let view = View {
            now: super::now(),
            whole: self.no_trunc,
            for_template: format.is_some_and(|text| !matches!(text, "" | "table" | "json")),
            for_json: format == Some("json"),
            listing: &listing,
        };
        let rows = entries.iter().map(|entry| view.row(entry)).collect();
        self.print(world, rows)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        self.list_on(host, world)
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

/// How rows are made.
struct View<'a> {
    now: i64,
    /// Whether nothing is shortened.
    whole: bool,
    /// Whether a template sees the rows, or JSON is made of them: more is known of an image than a table
    /// shows, and to tell all of it takes most of the time.
    for_template: bool,
    for_json: bool,
    listing: &'a Listing,
}

impl View<'_> {
    fn row(&self, entry: &Entry<'_>) -> Row {
        let mut fields = self.columns(entry);
        if self.for_template {
            self.add_fields(entry.image, &mut fields);
        }
        let document = if self.for_json { self.document(entry.image) } else { Json::Null };
        Row { fields: fields.into(), document }
    }

    /// Returns what a table shows.
    fn columns(&self, entry: &Entry<'_>) -> Map<String, Json> {
        let NamedImage { image, names, .. } = entry.image;
        const NONE: &str = "<none>";
        let id = if self.whole { image.id.to_string() } else { image.id.short().to_owned() };
        let since = match image.created {
            0 => "N/A".to_owned(),
            created => format!("{} ago", elapsed(created, self.now)),
        };
        let digest = image.manifest_digest.as_ref().map_or(NONE, Digest::as_str);
        let history: Vec<String> = names.iter().map(Reference::to_string).collect();
        let columns: [(&str, Json); 7] = [
            ("Repository", entry.name.map_or(NONE.to_owned(), Reference::repository).into()),
            ("Tag", entry.name.and_then(Reference::tag).unwrap_or(NONE).into()),
            ("ID", id.into()),
            ("Digest", digest.into()),
            ("CreatedSince", since.into()),
            ("Size", HumanSize(image.size).to_string().into()),
            ("History", history.join(", ").into()),
        ];
        columns.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Adds what only templates ask for.
    fn add_fields(&self, named: &NamedImage, fields: &mut Map<String, Json>) {
        let NamedImage { image, names, digests } = named;
        let usage = self.listing.usage.get(&image.id);
        let size = |bytes: Option<u64>| bytes.map_or("N/A".into(), |it| HumanSize(it).to_string());
        let more = json!({
            "Id": image.id.hex(),
            "Created": fields["CreatedSince"],
            "CreatedAt": time::go_style(image.created),
            "CreatedTime": time::go_style(image.created),
            "VirtualSize": fields["Size"],
            "SharedSize": size(usage.map(|usage| usage.shared)),
            "UniqueSize": size(usage.map(|usage| image.size.saturating_sub(usage.shared))),
            "Labels": image.config.labels,
            "Containers": usage.map(|usage| usage.containers),
            "Names": names,
            "RepoTags": names,
            "RepoDigests": digests,
            "ReadOnly": false,
            "Dangling": names.is_empty(),
            "ParentId": "",
            "Arch": image.architecture,
            "Os": image.os,
            "IsManifestList": image.is_list(),
        });
        if let Json::Object(more) = more {
            fields.extend(more);
        }
    }

    /// Makes the document of an image.
    fn document(&self, named: &NamedImage) -> Json {
        let NamedImage { image, names, digests } = named;
        let usage = self.listing.usage.get(&image.id).copied().unwrap_or_default();
        let seconds = image.created.div_euclid(1_000_000_000);
        json!({
            "Id": image.id.hex(),
            "ParentId": "",
            "RepoTags": names,
            "RepoDigests": digests,
            "Names": names,
            "Digest": image.manifest_digest,
            "Created": seconds,
            "CreatedAt": time::rfc3339_short(seconds * 1_000_000_000),
            "Size": image.size,
            "SharedSize": usage.shared,
            "VirtualSize": image.size,
            "Labels": image.config.labels,
            "Containers": usage.containers,
            "Arch": image.architecture,
            "Os": image.os,
            "IsManifestList": image.is_list(),
            "Dangling": names.is_empty(),
            "History": names,
        })
    }
}
