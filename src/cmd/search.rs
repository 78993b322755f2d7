//! `barge search`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::World;
use super::answers;
use super::exit::Status;
use super::host::refuse;
use super::listing::{self, Columns, Row};
use super::output;
use super::tree::Act;
use crate::engine::images::{self, RegistryOptions, SearchHit, SearchOptions};
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request};
use crate::spec::filter::Filter;
use crate::spec::mount::parse_bool;

/// Letters of a description that are shown.
const SHOWN: usize = 44;

/// Search registries for images
///
/// The term may begin with a registry, as in quay.io/podman; without one those are searched in which
/// short names are, or docker.io. A registry alone, as in localhost:5000/, lists all that it has.
#[derive(Args, Debug)]
pub(crate) struct Search {
    /// File with credentials of registries
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Directory with certificates for the registry
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Show stars, and what is official or automated
    #[arg(long)]
    compatible: bool,
    /// Credentials of the registry
    #[arg(long, value_name = "USER[:PASSWORD]")]
    creds: Option<String>,
    /// Show those of which this is true
    #[arg(short, long, value_name = "KEY=VALUE", value_delimiter = ',')]
    filter: Vec<String>,
    /// Print each with a Go template, or all as json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Show no more of each registry
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// List the tags of one repository
    #[arg(long)]
    list_tags: bool,
    /// Do not shorten anything
    #[arg(long)]
    no_trunc: bool,
    /// Insist on HTTPS with a valid certificate
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = super::parse::truth)]
    tls_verify: Option<bool>,
    /// What to search for
    #[arg(value_name = "TERM", required = true)]
    term: String,
}

const PLAIN: Columns = Columns {
    shown: &[("Name", "NAME"), ("Description", "DESCRIPTION")],
    others: &[
        ("Index", "INDEX"),
        ("Stars", "STARS"),
        ("Official", "OFFICIAL"),
        ("Automated", "AUTOMATED"),
        ("Tag", "TAG"),
    ],
};

const COMPATIBLE: Columns = Columns {
    shown: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("Stars", "STARS"),
        ("Official", "OFFICIAL"),
        ("Automated", "AUTOMATED"),
    ],
    ..PLAIN
};

const TAGS: Columns = Columns { shown: &[("Name", "NAME"), ("Tag", "TAG")], ..PLAIN };

impl Act for Search {
    fn act(self, world: &mut World) -> Result<Status> {
        let options = self.options()?;
        let format = self.format.as_deref();
        if self.list_tags {
            if !self.filter.is_empty() {
                return Err(Error::new(
                    Kind::Invalid,
                    "filters are not applicable to list tags result",
                ));
            }
            let (name, tags) = images::search_tags(&self.term, &options)?;
            if format.map(str::trim) == Some("json") && !tags.is_empty() {
                let document = json!([{ "Name": name, "Tags": tags }]);
                listing::print_json(&mut world.out, &document)?;
                return Ok(Status::SUCCESS);
            }
            let index = name.split('/').next().unwrap_or_default().to_owned();
            let repository = SearchHit { index, name, ..SearchHit::default() };
            let rows = tags.iter().map(|tag| row_of(&repository, "", tag));
            return print(world, &TAGS, rows.collect(), format);
        }
        let found = images::search(&self.term, &options)?;
        found.failures.iter().for_each(|failure| output::warning(&failure.to_string()));
        let columns = if self.compatible { &COMPATIBLE } else { &PLAIN };
        print(world, columns, found.hits.iter().map(|hit| self.row(hit)).collect(), format)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        refuse(&[
            ("--list-tags", self.list_tags),
            ("--creds", self.creds.is_some()),
            ("--cert-dir", self.cert_dir.is_some()),
            ("--tls-verify", self.tls_verify.is_some()),
        ])?;
        // What is wrong with filters is told before anything is asked.
        self.options()?;
        let filters = self.filter.iter().map(|text| match text.contains('=') {
            true => text.parse(),
            false => format!("{text}=true").parse(),
        });
        let filters: Vec<Filter> = filters.collect::<Result<_>>()?;
        let request = Request::get("/images/search")
            .with("term", &self.term)
            .maybe("limit", self.limit.filter(|limit| *limit > 0))
            .maybe("filters", answers::filters(&filters)?);
        let found = answers::entries(host.document(request)?);
        let hits = found.iter().map(|hit| SearchHit {
            index: String::new(),
            name: answers::text(hit, "name").to_owned(),
            description: answers::text(hit, "description").to_owned(),
            stars: answers::bytes(hit, "star_count"),
            official: hit["is_official"] == true,
            automated: hit["is_automated"] == true,
        });
        let columns = if self.compatible { &COMPATIBLE } else { &PLAIN };
        let rows = hits.map(|hit| self.row(&hit)).collect();
        print(world, columns, rows, self.format.as_deref())
    }
}

/// Prints rows; of none not even the headings.
fn print(
    world: &mut World,
    columns: &Columns,
    rows: Vec<Row>,
    format: Option<&str>,
) -> Result<Status> {
    if !rows.is_empty() {
        listing::print(&mut world.out, columns, rows, format, true)?;
    }
    Ok(Status::SUCCESS)
}

impl Search {
    fn options(&self) -> Result<SearchOptions> {
        let credentials = self.creds.as_ref().map(|text| match text.split_once(':') {
            Some((user, password)) => (user.to_owned(), password.to_owned()),
            None => (text.clone(), String::new()),
        });
        let registry = RegistryOptions {
            tls_verify: self.tls_verify,
            credentials,
            authfile: self.authfile.clone(),
            cert_dir: self.cert_dir.clone(),
            ..RegistryOptions::default()
        };
        let limit = self.limit.filter(|limit| *limit > 0);
        let mut options = SearchOptions { limit, registry, ..SearchOptions::default() };
        for filter in &self.filter {
            let (key, value) = filter.split_once('=').unwrap_or((filter, ""));
            let invalid =
                || Error::new(Kind::Invalid, format!("invalid value `{value}` of filter {key}"));
            let truth = || match value {
                "" => Ok(true),
                value => parse_bool(value).ok_or_else(invalid),
            };
            match key {
                "stars" => options.stars = value.parse().map_err(|_| invalid())?,
                "is-official" => options.official = Some(truth()?),
                "is-automated" => options.automated = Some(truth()?),
                _ => {
                    return Err(Error::new(
                        Kind::Invalid,
                        format!("invalid filter type \"{filter}\""),
                    )
                    .hint("known are stars, is-official and is-automated"));
                }
            }
        }
        Ok(options)
    }

    fn row(&self, hit: &SearchHit) -> Row {
        // Others write this, and it goes to a terminal.
        let plain = hit.description.replace(char::is_control, " ");
        let description = match plain.char_indices().nth(SHOWN) {
            Some((end, _)) if !self.no_trunc => format!("{}...", &plain[..end]),
            _ => plain,
        };
        row_of(hit, &description, "")
    }
}

/// Returns a row as templates and JSON have it.
fn row_of(hit: &SearchHit, description: &str, tag: &str) -> Row {
    let mark = |is_so| if is_so { "[OK]" } else { "" };
    let fields = json!({
        "Index": hit.index,
        "Name": hit.name.replace(char::is_control, " "),
        "Description": description,
        "Stars": hit.stars,
        "Official": mark(hit.official),
        "Automated": mark(hit.automated),
        "Tag": tag,
    });
    Row { document: fields.clone(), fields }
}
