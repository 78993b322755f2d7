//! The variables that a container's program finds.

use crate::spec::container::ContainerSpec;

/// Where programs are looked for in an image that does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Usual variables, then the image's, then the user's: later ones win, in their first one's place.
pub(super) fn environment(spec: &ContainerSpec, image: &[String], hostname: &str) -> Vec<String> {
    let mut entries: Vec<(String, String)> = Vec::new();
    let mut set =
        |name: &str, value: &str| match entries.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => entries.push((name.to_owned(), value.to_owned())),
        };
    for (name, value) in &spec.env_below {
        set(name, value);
    }
    if !spec.unset_env_all {
        set("PATH", DEFAULT_PATH);
        set("container", "barge");
    }
    set("HOSTNAME", hostname);
    if spec.settings.tty {
        set("TERM", "xterm");
    }
    for (name, value) in &spec.env_usual {
        set(name, value);
    }
    for entry in image.iter().filter(|_| !spec.unset_env_all) {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        set(name, value);
    }
    for (name, value) in &spec.env {
        set(name, value);
    }
    for (name, template) in &spec.env_merge {
        let value = merged(template, &entries);
        match entries.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => entries.push((name.clone(), value)),
        }
    }
    entries
        .into_iter()
        .filter(|(name, _)| !spec.unset_env.contains(name))
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// Puts the values of variables in place of `${NAME}`; one that is not set is empty.
fn merged(template: &str, entries: &[(String, String)]) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else { break };
        text.push_str(before);
        text.extend(entries.iter().filter(|(known, _)| known == name).map(|(_, it)| it.as_str()));
        rest = after;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_variables_win() {
        let spec = ContainerSpec {
            env: vec![("A".into(), "3".into()), ("N".into(), "new".into())],
            unset_env: vec!["GONE".into()],
            ..ContainerSpec::default()
        };
        let env =
            environment(&spec, &["A=1", "B=2", "PATH=/bin", "GONE=x"].map(str::to_owned), "box");
        let want = ["PATH=/bin", "container=barge", "HOSTNAME=box", "A=3", "B=2", "N=new"];
        assert_eq!(env, want);
    }
}
