//! Which requirements hold for an image: those of the most exact scope that it is in.

use std::path::Path;

use crate::spec::reference::Reference;

/// Tells whether a scope can be one of a transport. Of transports that we do not know all can.
pub(super) fn is_valid(transport: &str, scope: &str) -> bool {
    match transport {
        _ if scope.is_empty() => true,
        "dir" | "oci" | "oci-archive" => {
            let names = scope.strip_prefix('/').map(|names| names.split('/'));
            names.is_some_and(|mut names| names.all(|name| !matches!(name, "" | "." | "..")))
        }
        "docker-archive" | "tarball" => false,
        _ => true,
    }
}

/// Returns the scopes of an image of a registry, the most exact first.
pub(super) fn of_reference(reference: &Reference) -> Vec<String> {
    let repository = reference.repository();
    let exact = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => format!("{repository}@{digest}"),
        (None, Some(tag)) => format!("{repository}:{tag}"),
        (None, None) => repository.clone(),
    };
    let mut scopes = vec![exact];
    let mut name = repository.as_str();
    loop {
        scopes.push(name.to_owned());
        match name.rfind('/') {
            Some(slash) => name = &name[..slash],
            None => break,
        }
    }
    let mut host = name.split(':').next().unwrap_or(name);
    while let Some((_, domain)) = host.split_once('.') {
        scopes.push(format!("*.{domain}"));
        host = domain;
    }
    scopes
}

/// Returns the scopes of a file or directory, the most exact first.
pub(super) fn of_path(path: &Path) -> Vec<String> {
    path.ancestors()
        .filter_map(Path::to_str)
        .filter(|path| !matches!(*path, "/" | ""))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_from_the_exact_to_the_general() {
        let hex = "0123456789abcdef".repeat(4);
        let by_digest = format!("quay.io/a@sha256:{hex}");
        for (name, want) in [
            (
                "nginx",
                &[
                    "docker.io/library/nginx:latest",
                    "docker.io/library/nginx",
                    "docker.io/library",
                    "docker.io",
                    "*.io",
                ][..],
            ),
            (
                "a.b.example.com:8443/ns/app:1",
                &[
                    "a.b.example.com:8443/ns/app:1",
                    "a.b.example.com:8443/ns/app",
                    "a.b.example.com:8443/ns",
                    "a.b.example.com:8443",
                    "*.b.example.com",
                    "*.example.com",
                    "*.com",
                ],
            ),
            (
                "localhost:5000/x",
                &["localhost:5000/x:latest", "localhost:5000/x", "localhost:5000"],
            ),
            (&by_digest, &[&by_digest, "quay.io/a", "quay.io", "*.io"]),
        ] {
            assert_eq!(of_reference(&name.parse().unwrap()), want, "{name}");
        }
        assert_eq!(of_path(Path::new("/a/b/c")), ["/a/b/c", "/a/b", "/a"]);
    }

    #[test]
    fn knows_which_scopes_there_are() {
        for (transport, scope, want) in [
            ("docker", "quay.io", true),
            ("dir", "/a", true),
            ("dir", "/", false),
            ("dir", "/a/../b", false),
            ("dir", "/a/", false),
            ("dir", "a", false),
            ("dir", "é", false),
            ("oci", "/a/b", true),
            ("docker-archive", "", true),
            ("docker-archive", "/a", false),
            ("atomic", "x", true),
        ] {
            assert_eq!(is_valid(transport, scope), want, "{transport} {scope}");
        }
    }
}
