//! A bill of materials: the packages that the databases in an image name, as a document of SPDX 2.3.

use std::collections::HashSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::sqlite::{Database, Value as Field};
use crate::build::copy::{names_in, open_file, read_file};
use crate::error::{Context, Result};
use crate::spec::packages::{Package, of_apk, of_dpkg, of_rpm, os_release};
use crate::store::blob::digest_of;

/// What the documents of in-toto call it.
pub(super) const KIND: &str = "https://spdx.dev/Document";

/// Where RPM keeps its database of today. One of these may be a link to another.
const RPM: [&str; 2] = ["usr/lib/sysimage/rpm", "var/lib/rpm"];

/// Its databases of other kinds, which are not read: an image that has one has packages that are not named.
const UNREAD: [(&str, &str); 2] = [("Packages", "Berkeley DB"), ("Packages.db", "NDB")];

/// Makes the document for layers, the uppermost first. Returns it, and what the user should know.
pub(super) fn document(
    layers: &[PathBuf],
    name: &str,
    created: &str,
) -> Result<(Value, Option<String>)> {
    let read = |path: &str| -> Result<String> {
        Ok(read_file(layers, path)?
            .map(|data| String::from_utf8_lossy(&data).into_owned())
            .unwrap_or_default())
    };
    let release = match read("etc/os-release")? {
        text if text.is_empty() => read("usr/lib/os-release")?,
        text => text,
    };
    let mut found = of_dpkg(&read("var/lib/dpkg/status")?);
    for file in names_in(layers, "var/lib/dpkg/status.d")? {
        // Sums of a package's files lie there, too.
        if !file.ends_with(".md5sums") {
            found.extend(of_dpkg(&read(&format!("var/lib/dpkg/status.d/{file}"))?));
        }
    }
    for path in ["lib/apk/db/installed", "usr/lib/apk/db/installed"] {
        found.extend(of_apk(&read(path)?));
    }
    let mut unread = None;
    for directory in RPM {
        let path = format!("{directory}/rpmdb.sqlite");
        if let Err(error) = of_rpm_in(layers, &path, &mut found) {
            unread = Some(format!("the packages in /{path} are not all named: {error}"));
        }
        for (name, kind) in UNREAD {
            let path = format!("{directory}/{name}");
            if open_file(layers, &path)?.is_some() {
                unread = Some(format!(
                    "the packages in /{path} are not in the bill of materials: databases of RPM are read that are of SQLite, and this one is of {kind}"
                ));
            }
        }
    }
    // Two paths may lead to one database.
    let mut seen = HashSet::new();
    found.retain(|it| seen.insert(it.clone()));
    let packages: Vec<Value> = found.iter().map(|it| entry(it, &release)).collect();
    let mut relations: Vec<Value> = packages
        .iter()
        .map(|package| {
            json!({
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": package["SPDXID"],
            })
        })
        .collect();
    relations.dedup();
    let content = serde_json::to_vec(&packages).unwrap_or_default();
    let space = digest_of(&[name.as_bytes(), &content].concat());
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": format!("https://spdx.org/spdxdocs/{}", space.hex()),
        "creationInfo": {
            "creators": [format!("Tool: barge-{}", env!("CARGO_PKG_VERSION"))],
            "created": created,
        },
        "packages": packages,
        "relationships": relations,
    });
    Ok((document, unread))
}

/// Reads a database of RPM, if it is there.
fn of_rpm_in(layers: &[PathBuf], path: &str, found: &mut Vec<Package>) -> Result<()> {
    let Some(file) = open_file(layers, path)? else { return Ok(()) };
    let log = open_file(layers, &format!("{path}-wal"))?;
    let read = Database::open(file, log).and_then(|database| {
        database.rows("Packages", &mut |row| {
            if let Some(Field::Bytes(header)) = row.get(1) {
                found.extend(of_rpm(header));
            }
            Ok(())
        })
    });
    read.context(|| format!("cannot read /{path} of the image"))
}

fn entry(package: &Package, release: &str) -> Value {
    let Package { kind, name, version, epoch, architecture, maintainer, vendor, license } = package;
    let kind = kind.word();
    let of_release = |name| os_release(release, name).unwrap_or_default();
    let (system, number) = (of_release("ID"), of_release("VERSION_ID"));
    let unknown = "NOASSERTION";
    // As the addresses of packages are written: colons and the like by number.
    let coded: String = version
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect();
    let mut address = format!("pkg:{kind}/");
    if !system.is_empty() {
        address.push_str(&format!("{system}/"));
    }
    address.push_str(&format!("{name}@{coded}?arch={architecture}"));
    if !system.is_empty() {
        address.push_str(&format!("&distro={system}-{number}"));
    }
    if let Some(epoch) = epoch {
        address.push_str(&format!("&epoch={epoch}"));
    }
    let supplier = match (vendor, maintainer) {
        (Some(vendor), _) => format!("Organization: {vendor}"),
        (None, Some(who)) => format!("Person: {who}"),
        (None, None) => unknown.to_owned(),
    };
    let digest = digest_of(address.as_bytes());
    json!({
        "name": name,
        "SPDXID": format!("SPDXRef-Package-{kind}-{}-{}", name.replace(['_', '+'], "-"), &digest.hex()[..16]),
        "versionInfo": epoch.map_or_else(|| version.clone(), |it| format!("{it}:{version}")),
        "supplier": supplier,
        "downloadLocation": unknown,
        "filesAnalyzed": false,
        "licenseConcluded": unknown,
        "licenseDeclared": license.as_deref().filter(|it| !it.contains(' ')).unwrap_or(unknown),
        "copyrightText": unknown,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": address,
        }],
    })
}
