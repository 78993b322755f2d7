//! A bill of materials: the packages that the databases in an image name, as a document of SPDX 2.3.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::build::copy::read_file;
use crate::error::Result;
use crate::spec::packages::{Package, of_apk, of_dpkg, os_release};
use crate::store::blob::digest_of;

/// What the documents of in-toto call it.
pub(super) const KIND: &str = "https://spdx.dev/Document";

/// Where databases are that are not read: an image that has one has packages that are not named.
const UNREAD: [&str; 3] =
    ["var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite", "var/lib/rpm/Packages"];

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
    for file in crate::build::copy::names_in(layers, "var/lib/dpkg/status.d")? {
        found.extend(of_dpkg(&read(&format!("var/lib/dpkg/status.d/{file}"))?));
    }
    found.extend(of_apk(&read("lib/apk/db/installed")?));
    let mut unread = None;
    for path in UNREAD {
        if read_file(layers, path)?.is_some() {
            unread = Some(format!("the packages in /{path} are not in the bill of materials"));
        }
    }
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

fn entry(package: &Package, release: &str) -> Value {
    let Package { kind, name, version, architecture, maintainer, license } = package;
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
    let address =
        format!("pkg:{kind}/{system}/{name}@{coded}?arch={architecture}&distro={system}-{number}");
    let digest = digest_of(address.as_bytes());
    json!({
        "name": name,
        "SPDXID": format!("SPDXRef-Package-{kind}-{}-{}", name.replace(['_', '+'], "-"), &digest.hex()[..16]),
        "versionInfo": version,
        "supplier": maintainer.as_ref().map_or(unknown.to_owned(), |who| format!("Person: {who}")),
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
