//! `images` on other hosts: rows of what their lists say.

use serde_json::{Value, json};

use super::{Images, Sort, elapsed};
use crate::cmd::World;
use crate::cmd::answers::{self, bytes, entries, number, text, words};
use crate::cmd::exit::Status;
use crate::cmd::listing::Row;
use crate::error::Result;
use crate::remote::{Host, Request};
use crate::spec::filter::Filter;
use crate::spec::size::HumanSize;
use crate::spec::time;

const NONE: &str = "<none>";

/// One name of an image, or an image without one.
struct Entry<'a> {
    image: &'a Value,
    repository: String,
    tag: String,
    digest: String,
}

impl Images {
    /// Does it on another host.
    pub(super) fn list_on(&self, host: &Host, world: &mut World) -> Result<Status> {
        let format = self.format.as_deref().map(str::trim);
        let mut filters = self.filter.clone();
        filters.extend(self.name.as_ref().map(|name| Filter {
            key: "reference".to_owned(),
            value: name.clone(),
            negated: false,
        }));
        let request = Request::get("/images/json")
            .flag("all", self.all)
            .flag("digests", self.digests)
            .flag("shared-size", self.shows_usage())
            .maybe("filters", answers::filters(&filters)?);
        let images = entries(host.document(request)?);
        let mut rows: Vec<Entry<'_>> = images.iter().flat_map(of_image).collect();
        match self.sort {
            Sort::Created => {}
            Sort::Id => rows.sort_by_key(|row| text(row.image, "Id").to_owned()),
            Sort::Repository => rows.sort_by_key(|row| row.repository.clone()),
            Sort::Size => rows.sort_by_key(|row| bytes(row.image, "Size")),
            Sort::Tag => rows.sort_by_key(|row| row.tag.clone()),
        }
        if self.quiet || format == Some("json") {
            // An image with several names is one image.
            rows.dedup_by_key(|row| text(row.image, "Id"));
        }
        if self.quiet {
            for row in rows {
                let id = text(row.image, "Id");
                world.out.line(if self.no_trunc { id } else { answers::id(id, false) })?;
            }
            return Ok(Status::SUCCESS);
        }
        let now = crate::cmd::now();
        let rows = rows
            .iter()
            .map(|row| Row { fields: fields(row, now, self.no_trunc), document: row.image.clone() })
            .collect();
        self.print(world, rows)
    }
}

/// Lists the names of an image.
fn of_image(image: &Value) -> Vec<Entry<'_>> {
    let digests: Vec<(&str, &str)> =
        words(image, "RepoDigests").into_iter().filter_map(|it| it.split_once('@')).collect();
    let digest_of = |repository: &str| {
        let found = digests.iter().find(|(name, _)| *name == repository);
        found.map_or(NONE, |(_, digest)| digest).to_owned()
    };
    let names = words(image, "RepoTags").into_iter().filter(|name| *name != "<none>:<none>");
    let mut all: Vec<Entry<'_>> = names
        .map(|name| {
            let (repository, tag) = name.rsplit_once(':').unwrap_or((name, NONE));
            let digest = digest_of(repository);
            Entry { image, repository: repository.to_owned(), tag: tag.to_owned(), digest }
        })
        .collect();
    if all.is_empty() {
        let (repository, digest) = digests.first().copied().unwrap_or((NONE, NONE));
        let (repository, digest) = (repository.to_owned(), digest.to_owned());
        all.push(Entry { image, repository, tag: NONE.to_owned(), digest });
    }
    all
}

fn fields(row: &Entry<'_>, now: i64, whole: bool) -> Value {
    let image = row.image;
    let created = number(image, "Created").saturating_mul(1_000_000_000);
    let since = match created {
        0 => "N/A".to_owned(),
        created => format!("{} ago", elapsed(created, now)),
    };
    let id = text(image, "Id");
    let size = HumanSize(bytes(image, "Size")).to_string();
    // Nobody has counted if it is below 0.
    let counted = |field: &str| match number(image, field) {
        ..0 => "N/A".to_owned(),
        bytes => HumanSize(bytes.unsigned_abs()).to_string(),
    };
    let unique = match number(image, "SharedSize") {
        ..0 => "N/A".to_owned(),
        shared => HumanSize(bytes(image, "Size").saturating_sub(shared.unsigned_abs())).to_string(),
    };
    let names: Vec<&str> =
        words(image, "RepoTags").into_iter().filter(|it| *it != "<none>:<none>").collect();
    json!({
        "Repository": row.repository,
        "Tag": row.tag,
        "ID": if whole { id } else { answers::id(id, false) },
        "Id": answers::hex(id),
        "Digest": row.digest,
        "Created": since,
        "CreatedSince": since,
        "CreatedAt": time::go_style(created),
        "CreatedTime": time::go_style(created),
        "Size": size,
        "VirtualSize": size,
        "SharedSize": counted("SharedSize"),
        "UniqueSize": unique,
        "Containers": image["Containers"],
        "Labels": image["Labels"],
        "History": names.join(", "),
        "Names": names,
        "RepoTags": names,
        "RepoDigests": image["RepoDigests"],
        "Dangling": names.is_empty(),
        "ParentId": text(image, "ParentId"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_a_row() {
        let image = json!({
            "Id": "sha256:0123456789abcdef", "Created": 90, "Size": 1000,
            "RepoTags": ["localhost:5000/a:1", "b:latest"],
            "RepoDigests": ["b@sha256:11"],
            "SharedSize": -1,
        });
        let rows = of_image(&image);
        let shown: Vec<_> =
            rows.iter().map(|row| (&*row.repository, &*row.tag, &*row.digest)).collect();
        assert_eq!(shown, [("localhost:5000/a", "1", "<none>"), ("b", "latest", "sha256:11")]);
        let fields = fields(&rows[0], 100_000_000_000, false);
        assert_eq!(fields["ID"], "0123456789ab");
        assert_eq!(fields["SharedSize"], "N/A");
        let nameless = json!({ "Id": "sha256:00", "RepoTags": ["<none>:<none>"],
            "RepoDigests": ["<none>@<none>"] });
        assert_eq!(of_image(&nameless)[0].repository, "<none>");
    }
}
