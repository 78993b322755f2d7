//! Databases of installed packages, as Debian and Alpine keep them.

/// Which database a package is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageKind {
    /// Debian's.
    Deb,
    /// Alpine's.
    Apk,
}

impl PackageKind {
    /// Returns the word for it in the addresses of packages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Apk => "apk",
        }
    }
}

/// A package that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Which database it is in.
    pub kind: PackageKind,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// For which processor, in the database's words.
    pub architecture: String,
    /// Who keeps it, if that is said.
    pub maintainer: Option<String>,
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
            architecture: field("Architecture").unwrap_or_default(),
            maintainer: field("Maintainer"),
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
            architecture: field('A').unwrap_or_default(),
            maintainer: field('m'),
            license: field('L').filter(|text| !text.is_empty()),
        })
    };
    text.split("\n\n").filter_map(package).collect()
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
