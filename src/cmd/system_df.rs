//! `barge system df`

use clap::Args;
use serde_json::{Value, json};

use super::World;
use super::answers::{self, RemoteName, bytes, list, text};
use super::exit::Status;
use super::listing::{self, Columns, Row};
use super::ps::elapsed;
use super::tree::Act;
use crate::api::model::container::command;
use crate::build::{self, CacheRecord, CacheUse};
use crate::engine::images::Usage;
use crate::engine::volumes::VolumeUse;
use crate::engine::{DiskUsage, Total};
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request};
use crate::spec::reference::Reference;
use crate::spec::size::LongSize;
use crate::store::container::Container;
use crate::store::image::NamedImage;

/// Show what takes how much space
#[derive(Args, Debug)]
pub(crate) struct SystemDf {
    /// Print each with a Go template, or all as json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Show each image, container and volume
    #[arg(short, long)]
    verbose: bool,
}

const SUMMARY: Columns = Columns {
    shown: &[
        ("Type", "TYPE"),
        ("Total", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
    others: &[("TotalCount", "TOTAL")],
};

const IMAGES: Columns = Columns {
    shown: &[
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("ImageID", "IMAGE ID"),
        ("Created", "CREATED"),
        ("Size", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("Containers", "CONTAINERS"),
    ],
    others: &[],
};

const CONTAINERS: Columns = Columns {
    shown: &[
        ("ContainerID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Size", "SIZE"),
        ("Created", "CREATED"),
        ("Status", "STATUS"),
        ("Names", "NAMES"),
    ],
    others: &[],
};

const VOLUMES: Columns = Columns {
    shown: &[("VolumeName", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")],
    others: &[],
};

const CACHE: Columns = Columns {
    shown: &[
        ("ID", "CACHE ID"),
        ("Size", "SIZE"),
        ("Created", "CREATED"),
        ("Shared", "SHARED"),
        ("Step", "STEP"),
    ],
    others: &[],
};

impl Act for SystemDf {
    fn act(self, world: &mut World) -> Result<Status> {
        self.check()?;
        let engine = world.power()?;
        let usage = engine.disk_usage()?;
        let cache = build::cache_use(&engine)?;
        if self.verbose {
            return verbose(world, &usage, &cache);
        }
        let totals = [usage.images, usage.containers, usage.volumes, of_cache(&cache)];
        self.print(world, totals)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        self.check()?;
        let usage = host.document(Request::get("/system/df"))?;
        if self.verbose {
            return verbose_on(world, &usage);
        }
        self.print(world, totals(&usage))
    }
}

impl SystemDf {
    fn check(&self) -> Result<()> {
        match self.verbose && self.format.is_some() {
            true => Err(Error::new(Kind::Invalid, "cannot combine --format and --verbose flags")),
            false => Ok(()),
        }
    }

    fn print(&self, world: &mut World, totals: [Total; 4]) -> Result<Status> {
        let kinds = ["Images", "Containers", "Local Volumes", "Build Cache"];
        let rows = kinds.iter().zip(totals).map(|(kind, total)| summary(kind, total)).collect();
        listing::print(&mut world.out, &SUMMARY, rows, self.format.as_deref(), true)?;
        Ok(Status::SUCCESS)
    }
}

/// Adds up what another host says takes space: images, containers, volumes, what builds have left.
fn totals(usage: &Value) -> [Total; 4] {
    let sum = |all: &[Value], size: &dyn Fn(&Value) -> u64, active: &dyn Fn(&Value) -> bool| {
        let mut total = Total { count: all.len(), active: 0, bytes: 0, reclaimable: 0 };
        for it in all {
            total.bytes += size(it);
            match active(it) {
                true => total.active += 1,
                false => total.reclaimable += size(it),
            }
        }
        total
    };
    let own = |image: &Value| bytes(image, "Size").saturating_sub(bytes(image, "SharedSize"));
    let is_used = |image: &Value| bytes(image, "Containers") > 0;
    let mut images = sum(list(usage, "Images"), &own, &is_used);
    // Layers that several have are counted once, and are needed as long as anything of them is.
    let needed = images.bytes - images.reclaimable;
    images.bytes = bytes(usage, "LayersSize");
    images.reclaimable = images.bytes.saturating_sub(needed);
    let runs = |it: &Value| matches!(text(it, "State"), "running" | "paused" | "restarting");
    let containers = sum(list(usage, "Containers"), &|it| bytes(it, "SizeRw"), &runs);
    let volumes = sum(list(usage, "Volumes"), &|it| bytes(&it["UsageData"], "Size"), &|it| {
        bytes(&it["UsageData"], "RefCount") > 0
    });
    let step = |it: &Value| if it["Shared"] == true { 0 } else { bytes(it, "Size") };
    let cache = sum(list(usage, "BuildCache"), &step, &|it| it["InUse"] == true);
    [images, containers, volumes, cache]
}

fn summary(kind: &str, total: Total) -> Row {
    let percent = match total.bytes {
        0 => 0,
        bytes => (u128::from(total.reclaimable) * 100 + u128::from(bytes) / 2) / u128::from(bytes),
    };
    let document = json!({
        "Type": kind,
        "Total": total.count,
        "Active": total.active,
        "RawSize": total.bytes,
        "RawReclaimable": total.reclaimable,
        "TotalCount": total.count,
        "Size": LongSize(total.bytes).to_string(),
        "Reclaimable": format!("{} ({percent}%)", LongSize(total.reclaimable)),
    });
    Row { fields: document.clone(), document }
}

/// What builds have left: what an image has, too, takes no space of its own.
fn of_cache(cache: &CacheUse) -> Total {
    let own = cache.records.iter().filter(|record| !record.shared);
    let bytes = own.map(|record| record.size).sum::<u64>() + cache.mounts;
    Total { count: cache.records.len(), active: 0, bytes, reclaimable: bytes }
}

fn verbose(world: &mut World, usage: &DiskUsage, cache: &CacheUse) -> Result<Status> {
    let now = super::now();
    let mut images = Vec::new();
    for (named, usage) in &usage.each_image {
        images.extend(named.names.iter().map(|name| image(named, Some(name), *usage, now)));
        if named.names.is_empty() {
            images.push(image(named, named.digests.first(), *usage, now));
        }
    }
    let containers = usage.each_container.iter();
    let containers = containers.map(|(it, bytes)| container(it, *bytes, now)).collect();
    let volumes = usage.each_volume.iter();
    let volumes = volumes.map(|(it, bytes)| volume(it, *bytes)).collect();
    let steps = cache.records.iter().map(step).collect();
    print_all(world, [images, containers, volumes, steps])
}

/// As [`verbose`], of what another host says.
fn verbose_on(world: &mut World, usage: &Value) -> Result<Status> {
    let now = super::now();
    let rows = |name: &str, row: &dyn Fn(&Value) -> Vec<Value>| -> Vec<Row> {
        let documents = list(usage, name).iter().flat_map(row);
        documents.map(|document| Row { fields: document.clone(), document }).collect()
    };
    let rows = [
        rows("Images", &|it| images_on(it, now)),
        rows("Containers", &|it| vec![container_on(it, now)]),
        rows("Volumes", &|it| vec![volume_on(it)]),
        rows("BuildCache", &|it| vec![step_on(it)]),
    ];
    print_all(world, rows)
}

/// Prints images, containers, volumes and what builds have left.
fn print_all(
    world: &mut World,
    [images, containers, volumes, steps]: [Vec<Row>; 4],
) -> Result<Status> {
    for (heading, columns, rows) in [
        ("Images space usage:\n", &IMAGES, images),
        ("\nContainers space usage:\n", &CONTAINERS, containers),
        ("\nLocal Volumes space usage:\n", &VOLUMES, volumes),
        ("\nBuild cache usage:\n", &CACHE, steps),
    ] {
        world.out.line(heading)?;
        listing::print(&mut world.out, columns, rows, None, true)?;
    }
    Ok(Status::SUCCESS)
}

fn image(named: &NamedImage, name: Option<&Reference>, usage: Usage, now: i64) -> Row {
    let image = &named.image;
    const NONE: &str = "<none>";
    let document = json!({
        "Repository": name.map_or(NONE.to_owned(), Reference::repository),
        "Tag": name.and_then(Reference::tag).unwrap_or(NONE),
        "ImageID": image.id.short(),
        "Created": if image.created == 0 { "N/A".to_owned() } else { elapsed(image.created, now) },
        "Size": LongSize(image.size).to_string(),
        "SharedSize": LongSize(usage.shared).to_string(),
        "UniqueSize": LongSize(image.size.saturating_sub(usage.shared)).to_string(),
        "Containers": usage.containers,
    });
    Row { fields: document.clone(), document }
}

fn volume(volume: &VolumeUse, bytes: u64) -> Row {
    let document = json!({
        "VolumeName": volume.volume.name,
        "Links": volume.users.len(),
        "Size": LongSize(bytes).to_string(),
    });
    Row { fields: document.clone(), document }
}

fn step(record: &CacheRecord) -> Row {
    let document = json!({
        "ID": &record.id.hex()[..12],
        "Size": LongSize(record.size).to_string(),
        "Created": record.created,
        "Shared": record.shared,
        "Step": record.step.lines().next().unwrap_or_default(),
    });
    Row { fields: document.clone(), document }
}

fn container(container: &Container, bytes: u64, now: i64) -> Row {
    let Container { config, state, .. } = container;
    let document = json!({
        "ContainerID": config.id.short(),
        "Image": config.image_hex().get(..12).unwrap_or_default(),
        "Command": command(config).join(" "),
        "LocalVolumes": config.volumes().len(),
        "Size": LongSize(bytes).to_string(),
        "Created": elapsed(config.created, now),
        "Status": state.word(),
        "Names": state.name,
    });
    Row { fields: document.clone(), document }
}

/// Returns how long ago something was made, of which the second is told.
fn age_on(document: &Value, now: i64) -> String {
    match answers::number(document, "Created") {
        0 => "N/A".to_owned(),
        seconds => elapsed(seconds.saturating_mul(1_000_000_000), now),
    }
}

/// Makes a row of each name of an image of another host.
fn images_on(image: &Value, now: i64) -> Vec<Value> {
    const NONE: &str = "<none>";
    let (size, shared) = (bytes(image, "Size"), bytes(image, "SharedSize"));
    let row = |(repository, tag): (&str, &str)| {
        json!({
            "Repository": repository,
            "Tag": tag,
            "ImageID": answers::id(text(image, "Id"), false),
            "Created": age_on(image, now),
            "Size": LongSize(size).to_string(),
            "SharedSize": LongSize(shared).to_string(),
            "UniqueSize": LongSize(size.saturating_sub(shared)).to_string(),
            "Containers": bytes(image, "Containers"),
        })
    };
    let names = answers::words(image, "RepoTags");
    let parts = |name: &str| {
        let name = RemoteName::new(name);
        row((name.repository, name.tag.unwrap_or(NONE)))
    };
    if !names.is_empty() {
        return names.into_iter().map(parts).collect();
    }
    let digests = answers::words(image, "RepoDigests");
    let name = digests.first().map_or(NONE, |name| RemoteName::new(name).repository);
    vec![row((name, NONE))]
}

fn container_on(container: &Value, now: i64) -> Value {
    let volumes = list(container, "Mounts").iter().filter(|mount| mount["Type"] == "volume");
    let names = answers::words(container, "Names");
    let names: Vec<&str> = names.iter().map(|name| name.trim_start_matches('/')).collect();
    json!({
        "ContainerID": answers::id(text(container, "Id"), false),
        "Image": answers::id(text(container, "ImageID"), false),
        "Command": text(container, "Command"),
        "LocalVolumes": volumes.count(),
        "Size": LongSize(bytes(container, "SizeRw")).to_string(),
        "Created": age_on(container, now),
        "Status": text(container, "State"),
        "Names": names.join(","),
    })
}

fn volume_on(volume: &Value) -> Value {
    let usage = &volume["UsageData"];
    json!({
        "VolumeName": text(volume, "Name"),
        "Links": bytes(usage, "RefCount"),
        "Size": LongSize(bytes(usage, "Size")).to_string(),
    })
}

fn step_on(record: &Value) -> Value {
    json!({
        "ID": answers::id(text(record, "ID"), false),
        "Size": LongSize(bytes(record, "Size")).to_string(),
        "Created": text(record, "CreatedAt"),
        "Shared": record["Shared"] == true,
        "Step": text(record, "Description").lines().next().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_what_other_hosts_have() {
        let usage = json!({
            "LayersSize": 100,
            "Images": [
                { "Size": 60, "SharedSize": 10, "Containers": 1 },
                { "Size": 50, "SharedSize": 10, "Containers": 0 },
            ],
            "Containers": [{ "State": "running", "SizeRw": 3 }, { "State": "exited", "SizeRw": 4 }],
            "Volumes": [{ "UsageData": { "Size": 5, "RefCount": 0 } }],
            "BuildCache": null,
        });
        let shown: Vec<_> = totals(&usage)
            .iter()
            .map(|it| (it.count, it.active, it.bytes, it.reclaimable))
            .collect();
        assert_eq!(shown, [(2, 1, 100, 50), (2, 1, 7, 4), (1, 0, 5, 5), (0, 0, 0, 0)]);
    }
}
