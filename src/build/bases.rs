//! Which images a Dockerfile names: for who has to know, before a build goes on elsewhere, what it asks for.

use std::collections::BTreeMap;

use super::scope::Arguments;
use crate::error::Result;
use crate::spec::dockerfile::{Dockerfile, Instruction, word};
use crate::spec::platform::Platform;

/// Returns the images that the stages of a Dockerfile begin with and take files from, with the values of
/// variables in their names.
pub fn images(
    file: &Dockerfile,
    name: &str,
    args: BTreeMap<String, String>,
    platform: &Platform,
) -> Result<Vec<String>> {
    let arguments = Arguments::of_file(args, platform, file, name)?;
    let mut images = Vec::new();
    let mut add = |index: usize, text: &str| {
        let lookup = |name: &str| arguments.global(name);
        // One that makes no sense is told of by the build.
        let Ok(image) = word::expand(text, file.directives.escape, &lookup) else { return };
        let is_own = file.stage(&image, index).is_some() || matches!(&*image, "" | "scratch");
        if !is_own && !images.contains(&image) {
            images.push(image);
        }
    };
    for (index, stage) in file.stages.iter().enumerate() {
        add(index, &stage.base);
        for step in &stage.steps {
            match &step.instruction {
                Instruction::Copy(copy) => {
                    copy.flags.from.iter().for_each(|from| add(index, from));
                }
                Instruction::Run(run) => {
                    let from = run.mounts.iter().filter_map(|mount| mount.from.as_ref());
                    from.for_each(|from| add(index, from));
                }
                _ => {}
            }
        }
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_registries_are_asked_for() {
        let text = "ARG HOST=a.example\nARG TAG\nFROM $HOST/base:${TAG:-1} AS one\n\
            COPY --from=b.example/tools /t /t\nRUN --mount=from=c.example/more,target=/m true\n\
            FROM scratch\nCOPY --from=one /t /t\nFROM one\nCOPY --from=0 /t /t\n\
            FROM $HOST/base:${TAG:-1}\n";
        let file = Dockerfile::parse("Dockerfile", text).unwrap();
        for (args, first) in [
            (vec![], "a.example/base:1"),
            (vec![("HOST", "d.example:5000"), ("TAG", "2")], "d.example:5000/base:2"),
        ] {
            let args = args.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            let found = images(&file, "Dockerfile", args.collect(), &Platform::host()).unwrap();
            assert_eq!(found, [first, "b.example/tools", "c.example/more"]);
        }
    }
}
