//! Databases of installed packages, as Debian, Alpine and users of RPM keep them.

/// Which database a package is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PackageKind {
    /// Debian's.
    Deb,
    /// Alpine's.
    Apk,
    /// That of RPM.
    Rpm,
}

impl PackageKind {
    /// Returns the word for it in the addresses of packages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Apk => "apk",
            Self::Rpm => "rpm",
        }
    }
}

/// A package that is installed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Package {
    /// Which database it is in.
    pub kind: PackageKind,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What counts before the version, where that is not in it.
    pub epoch: Option<u32>,
    /// For which processor, in the database's words.
    pub architecture: String,
    /// Who keeps it, if that is said.
    pub maintainer: Option<String>,
    /// Which organization it comes from, if that is said.
    pub vendor: Option<String>,
    /// Its licenses, if they are said.
    pub license: Option<String>,
}

/// Reads dpkg's `status`, or one file of `status.d`: paragraphs of `Name: value`.
pub fn of_dpkg(text: &str) -> Vec<Package> {
    let paragraphs = text.split("\n\n");
    let package = |paragraph: &str| {
        let field = |name: &str| {
            paragraph.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key == name).then(|| value.trim().to_owned())
            })
        };
        // In `status.d` nothing is said of that.
        let status = field("Status");
        if status.is_some_and(|status| !status.ends_with(" installed")) {
            return None;
        }
        Some(Package {
            kind: PackageKind::Deb,
            name: field("Package")?,
            version: field("Version")?,
            epoch: None,
            architecture: field("Architecture").unwrap_or_default(),
            maintainer: field("Maintainer"),
            vendor: None,
            license: None,
        })
    };
    paragraphs.filter_map(package).collect()
}

/// Reads apk's `installed`: paragraphs of `N:value`.
pub fn of_apk(text: &str) -> Vec<Package> {
    let package = |paragraph: &str| {
        let field = |name: char| {
            let line = paragraph
                .lines()
                .find(|line| line.starts_with(name) && line.get(1..2) == Some(":"))?;
            line.get(2..).map(str::to_owned)
        };
        Some(Package {
            kind: PackageKind::Apk,
            name: field('P')?,
            version: field('V')?,
            epoch: None,
            architecture: field('A').unwrap_or_default(),
            maintainer: field('m'),
            vendor: None,
            license: field('L').filter(|text| !text.is_empty()),
        })
    };
    text.split("\n\n").filter_map(package).collect()
}

/// Reads what RPM keeps of a package: numbered fields, an index of them before their data. Keys are kept
/// as packages, too; they and what is damaged are none.
pub fn of_rpm(header: &[u8]) -> Option<Package> {
    /// Bytes of an entry of the index: number, type, place, count.
    const ENTRY: usize = 16;
    const NUMBER: u32 = 4;
    const TEXTS: [u32; 3] = [6, 8, 9];
    let long = |at: usize| {
        let bytes = header.get(at..at.checked_add(4)?)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    let count = usize::try_from(long(0)?).ok()?;
    let data = count.checked_mul(ENTRY)?.checked_add(8)?;
    let index = header.get(8..data)?;
    let find = |number: u32| -> Option<(u32, usize)> {
        let position =
            index.chunks_exact(ENTRY).position(|entry| entry.starts_with(&number.to_be_bytes()))?;
        let at = 8 + position * ENTRY;
        let place = data.checked_add(usize::try_from(long(at + 8)?).ok()?)?;
        Some((long(at + 4)?, place))
    };
    let text = |number: u32| -> Option<String> {
        let (kind, place) = find(number)?;
        let rest = header.get(place..).filter(|_| TEXTS.contains(&kind))?;
        let text = rest.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    let epoch = find(1003).filter(|(kind, _)| *kind == NUMBER).and_then(|(_, place)| long(place));
    let name = text(1000)?;
    if name == "gpg-pubkey" {
        return None;
    }
    let said = |number| text(number).filter(|text: &String| !matches!(&**text, "" | "(none)"));
    Some(Package {
        kind: PackageKind::Rpm,
        name,
        version: format!("{}-{}", text(1001)?, text(1002)?),
        epoch,
        architecture: text(1022).unwrap_or_default(),
        maintainer: said(1015),
        vendor: said(1011),
        license: said(1014),
    })
}

/// Returns what `/etc/os-release` says under a name.
pub fn os_release(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_databases() {
        let dpkg = "Package: a\nStatus: install ok installed\nMaintainer: M <m@x>\nArchitecture: amd64\nVersion: 1:2-3\nDescription: x\n more: y\n\n\
            Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: b\nVersion: 2\nArchitecture: all\n";
        let found = of_dpkg(dpkg);
        let names: Vec<_> = found.iter().map(|it| (&*it.name, &*it.version)).collect();
        assert_eq!(names, [("a", "1:2-3"), ("b", "2")]);
        assert_eq!(found[0].maintainer.as_deref(), Some("M <m@x>"));
        let apk = "C:Q1\nP:musl\nV:1.2-r0\nA:x86_64\nL:MIT\nm:T <t@x>\n\nP:b\nV:2\n\nbroken\n";
        let found = of_apk(apk);
        let names: Vec<_> = found.iter().map(|it| (&*it.name, &*it.version)).collect();
        assert_eq!(names, [("musl", "1.2-r0"), ("b", "2")]);
        assert_eq!(found[0].license.as_deref(), Some("MIT"));
        let release = "NAME=\"X Y\"\nID=debian\nVERSION_ID='12'\n";
        assert_eq!(os_release(release, "ID").as_deref(), Some("debian"));
        assert_eq!(os_release(release, "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(os_release(release, "NOPE"), None);
    }
}
