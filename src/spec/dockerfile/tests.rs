//! Tables of Dockerfiles.

use super::*;

fn parse(text: &str) -> Result<Dockerfile> {
    Dockerfile::parse("Dockerfile", text)
}

/// Parses one instruction after `FROM x`.
fn step(text: &str) -> Result<Instruction, String> {
    let file = parse(&format!("FROM x\n{text}\n")).map_err(|error| error.to_string())?;
    Ok(file.stages[0].steps[0].instruction.clone())
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn shell(line: &str) -> Command {
    Command::Shell(line.to_owned())
}

fn exec(words: &[&str]) -> Command {
    Command::Exec(strings(words))
}

#[test]
fn joins_lines() {
    for (text, want) in [
        ("RUN a \\\n b", "a  b"),
        ("RUN a \\   \n b", "a  b"),
        ("RUN a && \\\n\n\n   b", "a &&    b"),
        ("RUN a \\\n# note\n   # more\n b", "a  b"),
        ("RUN a \\", "a"),
        ("RUN a \\\\\nRUN b", "a \\\\"),
        ("  run a", "a"),
        ("RUN a # b", "a # b"),
        ("RUN a \\\r\n b\r\n", "a  b"),
        ("RUN a \\\nENV x", "a ENV x"),
    ] {
        let Ok(Instruction::Run(run)) = step(text) else { panic!("{text}") };
        assert_eq!(run.command, shell(want), "{text}");
    }
}

#[test]
fn knows_directives() {
    for (head, escape) in [
        ("# escape=`\n", '`'),
        ("#   ESCAPE  =   `\n", '`'),
        ("# escape=\\\n", '\\'),
        ("# plain\n# escape=`\n", '\\'),
        ("\n# escape=`\n", '\\'),
        ("# foo=bar\n# escape=`\n", '`'),
        ("# syntax=docker/dockerfile:1\n# escape=`\n", '`'),
        ("\u{feff}# escape=`\n", '`'),
        ("", '\\'),
    ] {
        let file = parse(&format!("{head}FROM x\n")).unwrap();
        assert_eq!(file.directives.escape, escape, "{head}");
    }
    let file = parse("# syntax = a/b:1\n# check=skip=all\nFROM x\n").unwrap();
    assert_eq!(file.directives.syntax.as_deref(), Some("a/b:1"));
    assert_eq!(file.directives.check.as_deref(), Some("skip=all"));
    for head in ["# escape=x\n", "# escape=`\n# escape=`\n"] {
        assert!(parse(&format!("{head}FROM x\n")).is_err(), "{head}");
    }
}

#[test]
fn parses_stages() {
    let file = parse("ARG A=1\nFROM x AS One\nFROM --platform=linux/$A one as two\n").unwrap();
    assert_eq!(file.global_args.len(), 1);
    assert_eq!(file.stages[0].name.as_deref(), Some("one"));
    assert_eq!(file.stages[1].platform.as_deref(), Some("linux/$A"));
    for (name, before, want) in [
        ("ONE", 2, Some(0)),
        ("two", 2, Some(1)),
        ("two", 1, None),
        ("0", 1, Some(0)),
        ("1", 1, None),
        ("x", 2, None),
    ] {
        assert_eq!(file.stage(name, before), want, "{name}");
    }
}

#[test]
fn parses_pairs() {
    for (text, want) in [
        ("A=1", Some(vec![("A", "1")])),
        ("A=1 B=\"two words\"", Some(vec![("A", "1"), ("B", "\"two words\"")])),
        (
            "A='x y' B=a\\ b C= D=\"\"",
            Some(vec![("A", "'x y'"), ("B", "a\\ b"), ("C", ""), ("D", "\"\"")]),
        ),
        ("A  one two   three", Some(vec![("A", "one two   three")])),
        ("A b=c", Some(vec![("A", "b=c")])),
        ("C = 3", Some(vec![("C", "= 3")])),
        ("\"c d\"=x", Some(vec![("\"c d\"", "x")])),
        ("A=a=b", Some(vec![("A", "a=b")])),
        ("A", None),
        ("A=1 B", None),
        ("=x", None),
        ("", None),
    ] {
        let want = want.map(|pairs| {
            let pair = |(key, value): &(&str, &str)| Pair {
                key: (*key).to_owned(),
                value: (*value).to_owned(),
            };
            pairs.iter().map(pair).collect::<Vec<_>>()
        });
        assert_eq!(step(&format!("ENV {text}")).ok(), want.clone().map(Instruction::Env), "{text}");
        assert_eq!(step(&format!("LABEL {text}")).ok(), want.map(Instruction::Label), "{text}");
    }
}

#[test]
fn parses_args() {
    for (text, want) in [
        ("A", Some(vec![("A", None)])),
        ("A=1 B", Some(vec![("A", Some("1")), ("B", None)])),
        ("A=", Some(vec![("A", Some(""))])),
        ("=1", None),
        ("", None),
    ] {
        let want = want.map(|args| {
            let arg =
                |(key, value): &(&str, Option<&str>)| ((*key).to_owned(), value.map(str::to_owned));
            Instruction::Arg(args.iter().map(arg).collect())
        });
        assert_eq!(step(&format!("ARG {text}")).ok(), want, "{text}");
    }
}

#[test]
fn parses_commands() {
    for (text, want) in [
        ("echo a", shell("echo a")),
        ("[\"a\",\"b c\"]", exec(&["a", "b c"])),
        ("[\"a\", \\\n \"b\"]", exec(&["a", "b"])),
        ("['a']", shell("['a']")),
        ("[\"a\",]", shell("[\"a\",]")),
        ("[\"a\"", shell("[\"a\"")),
        ("[\"a\"] b", shell("[\"a\"] b")),
        ("[]", exec(&[])),
        ("", shell("")),
    ] {
        assert_eq!(step(&format!("CMD {text}")), Ok(Instruction::Cmd(want.clone())), "{text}");
        assert_eq!(
            step(&format!("entrypoint {text}")),
            Ok(Instruction::Entrypoint(want)),
            "{text}"
        );
    }
}

#[test]
fn refuses_lists_of_other_things() {
    for text in [
        "CMD [\"a\",1]",
        "ENTRYPOINT [\"a\",[\"b\"]]",
        "RUN [1]",
        "VOLUME [{}]",
        "COPY [\"a\",null]",
    ] {
        assert!(step(text).unwrap_err().contains("strings only"), "{text}");
    }
}

#[test]
fn parses_copies() {
    for (text, sources, target) in [
        ("a b", vec!["a"], "b"),
        ("a b c/", vec!["a", "b"], "c/"),
        ("[\"a b\",\"c d\"]", vec!["a b"], "c d"),
        ("\"a b\" c", vec!["\"a", "b\""], "c"),
    ] {
        let Ok(Instruction::Copy(copy)) = step(&format!("COPY {text}")) else { panic!("{text}") };
        assert_eq!((copy.sources, copy.target.as_str()), (strings(&sources), target), "{text}");
    }
    let text =
        "COPY --from=x --chown=1:2 --chmod=755 --link --parents --exclude=*.a --exclude=b a b";
    let Ok(Instruction::Copy(copy)) = step(text) else { panic!() };
    let want = CopyFlags {
        from: Some("x".to_owned()),
        chown: Some("1:2".to_owned()),
        chmod: Some("755".to_owned()),
        link: true,
        parents: true,
        exclude: strings(&["*.a", "b"]),
        ..CopyFlags::default()
    };
    assert_eq!(copy.flags, want);
    let Ok(Instruction::Add(add)) =
        step("ADD --keep-git-dir=true --checksum=sha256:1 --link=false a b")
    else {
        panic!()
    };
    assert!(add.flags.keep_git_dir && !add.flags.link);
    for text in [
        "COPY a",
        "COPY",
        "COPY --nope=1 a b",
        "COPY --from a b",
        "COPY --link=x a b",
        "ADD --from=x a b",
        "COPY [\"a\",1]",
        "COPY a <<EOF\nEOF",
    ] {
        assert!(step(text).is_err(), "{text}");
    }
}

#[test]
fn parses_documents() {
    let Ok(Instruction::Copy(copy)) = step("COPY <<a <<-'b' c /d/\nA $x\na\n\tB\n\tb") else {
        panic!()
    };
    assert_eq!(copy.sources, ["c"]);
    let texts: Vec<_> = copy.documents.iter().map(|it| (it.text(), it.expand)).collect();
    assert_eq!(texts, [("A $x\n".to_owned(), true), ("B\n".to_owned(), false)]);
    let Ok(Instruction::Run(run)) = step("RUN cat <<E_O-F1 > /o\nEOF\nFROM y\nE_O-F1") else {
        panic!()
    };
    assert_eq!(run.heredocs[0].content, "EOF\nFROM y\n");
    for (text, count) in [
        ("RUN echo \"<<EOF\"", 0),
        ("RUN echo $((1<<3))", 0),
        ("RUN cat << EOF\nx\nEOF", 1),
        ("RUN cat <<- E >/a\n\tx\n\tE", 1),
        ("RUN cat <<", 0),
        ("RUN cat 3<<EOF\nx\nEOF", 1),
        ("RUN cat <<A && cat <<B\na\nA\nb\nB", 2),
        ("RUN cat <<<x", 0),
    ] {
        let Ok(Instruction::Run(run)) = step(text) else { panic!("{text}") };
        assert_eq!(run.heredocs.len(), count, "{text}");
    }
    assert!(step("RUN <<EOF\nx").unwrap_err().contains("unterminated heredoc"));
    assert!(step("RUN --network=none --network=host x").unwrap_err().contains("duplicate flag"));
}

#[test]
fn parses_run_flags() {
    let text = "RUN --mount=type=cache,target=/c,id=x,sharing=locked,uid=1,gid=2,mode=0750 --network=none --security=insecure a --b";
    let Ok(Instruction::Run(run)) = step(text) else { panic!() };
    assert_eq!(
        (run.network, run.insecure, &run.command),
        (RunNetwork::None, true, &shell("a --b"))
    );
    let mount = &run.mounts[0];
    assert_eq!(
        (mount.kind, mount.access, mount.mode),
        (RunMountKind::Cache, Access::Locked, Some(0o750))
    );
    assert!(!mount.read_only);
    for (text, good) in [
        ("target=/m", true),
        ("type=bind,from=a,source=/s,dst=/m,rw", true),
        ("type=bind,target=/m,ro=false", true),
        ("type=tmpfs,target=/t,size=1m", true),
        ("type=secret,id=x", true),
        ("type=secret,id=x,env=X,required", true),
        ("type=ssh", true),
        ("type=nope,target=/x", false),
        ("type=tmpfs", false),
        ("type=cache,target=/c,foo=1", false),
        ("type=cache,target=/c,sharing=x", false),
        ("type=cache", false),
        ("type=secret", false),
        ("type=bind,target=/m,mode=9", false),
        ("target=/m,uid=x", false),
        ("target", false),
        ("type=tmpfs,target=/t,from=x", false),
    ] {
        assert_eq!(step(&format!("RUN --mount={text} true")).is_ok(), good, "{text}");
    }
    for text in
        ["RUN", "RUN []", "RUN --network=x true", "RUN --security=x true", "RUN --nope true"]
    {
        assert!(step(text).is_err(), "{text}");
    }
}

#[test]
fn parses_health_checks() {
    let Ok(Instruction::Healthcheck(check)) =
        step("HEALTHCHECK --interval=1.5s --timeout=300ms --retries=2 CMD curl x")
    else {
        panic!()
    };
    assert_eq!((check.interval, check.timeout, check.retries), (1_500_000_000, 300_000_000, 2));
    assert_eq!(check.test, ["CMD-SHELL", "curl x"]);
    for (text, want) in [
        ("NONE", Some(vec!["NONE"])),
        ("none", Some(vec!["NONE"])),
        ("CMD [\"a\",\"b\"]", Some(vec!["CMD", "a", "b"])),
        ("NONE x", None),
        ("CMD", None),
        ("CMD []", None),
        ("HTTP /", None),
        ("", None),
        ("--interval=5s", None),
        ("--interval=5 CMD x", None),
        ("--retries=-1 CMD x", None),
        ("--interval=1ns CMD x", None),
        ("--interval=x CMD x", None),
        ("--bogus=1 CMD x", None),
    ] {
        let got = match step(&format!("HEALTHCHECK {text}")) {
            Ok(Instruction::Healthcheck(check)) => Some(check.test),
            _ => None,
        };
        assert_eq!(got, want.map(|words| strings(&words)), "{text}");
    }
}

#[test]
fn parses_the_rest() {
    for (text, want) in [
        ("EXPOSE 80 $P/udp", Instruction::Expose(strings(&["80", "$P/udp"]))),
        ("VOLUME /a /b", Instruction::Volume(strings(&["/a", "/b"]))),
        ("VOLUME [\"/a b\"]", Instruction::Volume(strings(&["/a b"]))),
        ("USER a:b", Instruction::User("a:b".to_owned())),
        ("WORKDIR /a b", Instruction::Workdir("/a b".to_owned())),
        ("STOPSIGNAL SIG$S", Instruction::StopSignal("SIG$S".to_owned())),
        ("MAINTAINER Me <m@x>", Instruction::Maintainer("Me <m@x>".to_owned())),
        ("SHELL [\"a\",\"-c\"]", Instruction::Shell(strings(&["a", "-c"]))),
        ("ONBUILD env   A=1", Instruction::OnBuild("env   A=1".to_owned())),
        // What is wrong is said where it is pulled.
        ("ONBUILD NOPE", Instruction::OnBuild("NOPE".to_owned())),
        ("ONBUILD RUN <<E\na\nE", Instruction::OnBuild("RUN <<E\na\nE".to_owned())),
    ] {
        assert_eq!(step(text), Ok(want), "{text}");
    }
    for text in [
        "USER",
        "WORKDIR",
        "EXPOSE",
        "VOLUME",
        "STOPSIGNAL",
        "MAINTAINER",
        "SHELL a",
        "SHELL []",
        "ONBUILD",
        "ONBUILD ONBUILD RUN x",
        "ONBUILD FROM x",
        "ONBUILD MAINTAINER x",
        "VOLUME [\"\"]",
        "FROM",
        "FROM a b",
        "FROM a IS b",
        "FROM a AS a/b",
        "FROM a AS 1x",
        "FROM --nope=1 a",
        "NOPE x",
        "USER --x y",
    ] {
        assert!(step(text).is_err(), "{text}");
    }
}

#[test]
fn errors_show_the_place() {
    for (text, want) in [
        ("", "Dockerfile: file with no instructions"),
        ("# a\n# b\n", "Dockerfile: file with no instructions"),
        ("ARG A\n", "Dockerfile: no build stage: expected FROM"),
        (
            "RUN x\n",
            "Dockerfile:1: no build stage in current context: expected FROM (or ARG) first\n     1 | RUN x",
        ),
        (
            "FROM x\n\nRUNN y\n",
            "Dockerfile:3: unknown instruction: RUNN (did you mean RUN?)\n     3 | RUNN y",
        ),
        (
            "FROM x # y z\n",
            "Dockerfile:1: FROM requires either one or three arguments: expected FROM IMAGE [AS NAME]\n     1 | FROM x # y z",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), want, "{text}");
    }
}

#[test]
fn finds_what_is_not_wise() {
    for (text, rule) in [
        ("FROM x\nMAINTAINER me\n", "MaintainerDeprecated"),
        ("FROM x\nCMD a\n", "JSONArgsRecommended"),
        ("FROM x\nCMD [\"a\"]\nCMD [\"b\"]\n", "MultipleInstructionsDisallowed"),
        ("FROM x AS a\nFROM y AS a\n", "DuplicateStageName"),
        ("FROM x AS scratch\n", "ReservedStageName"),
        ("FROM x\nWORKDIR a\n", "WorkdirRelativePath"),
        ("FROM x\nENV A b\n", "LegacyKeyValueFormat"),
        ("FROM x\nARG MY_TOKEN\n", "SecretsUsedInArgOrEnv"),
        ("FROM x\nRUN a \\\n\n b\n", "NoEmptyContinuation"),
        ("FROM x\nRuN a\n", "ConsistentInstructionCasing"),
        ("from x\nRUN a\n", "ConsistentInstructionCasing"),
        ("from x\nrun a\nRUN b\n", "ConsistentInstructionCasing"),
        ("FROM x AS Base\n", "StageNameCasing"),
        ("FROM x as base\n", "FromAsCasing"),
        ("FROM x:$V\n", "UndefinedArgInFrom"),
        ("FROM --platform=$P x\n", "UndefinedArgInFrom"),
        ("FROM --platform=$TARGETPLATFORM x\n", "RedundantTargetPlatform"),
        ("FROM --platform=linux/amd64 x\n", "FromPlatformFlagConstDisallowed"),
        ("ARG V\nFROM x:$V\n", "InvalidDefaultArgInFrom"),
        ("ARG V=\nFROM $V\n", "InvalidDefaultArgInFrom"),
        ("FROM scratch\nCOPY $F /\n", "UndefinedVar"),
        ("FROM x\nENV DIRECTORY=/d\nWORKDIR $DIRECTRY\n", "UndefinedVar"),
        ("FROM x\nCOPY bin-$TARGETARCH /\n", "UndefinedVar"),
        ("ARG V=1\nFROM x:$V\nLABEL v=$V\n", "UndefinedVar"),
        ("FROM x\nEXPOSE 80/TCP\n", "ExposeProtoCasing"),
        ("FROM x\nEXPOSE 8080:80\n", "ExposeInvalidFormat"),
    ] {
        let rules: Vec<_> = parse(text).unwrap().lints.iter().map(|lint| lint.rule).collect();
        assert_eq!(rules, [rule], "{text}");
    }
    for text in [
        "FROM x AS a\nRUN a\nWORKDIR /w\nCMD [\"a\"]\n",
        "from x as a\n",
        "arg V=1\nFROM x:$V\n",
        "ARG V=1\nFROM x:$V\nARG V\nLABEL v=$V w='$W' x=\\$X y=${Y:-y} p=$PATH\n",
        "ARG V\nFROM x:${V:-latest}\n",
        "FROM --platform=$BUILDPLATFORM x\nARG TARGETARCH\nCOPY $TARGETARCH /\nRUN echo $TARGETOS\n",
        "FROM scratch AS a\nENV A=b\nFROM a\nCOPY $A /\n",
        "FROM x\nCOPY $OF_THE_IMAGE /\nEXPOSE 80/tcp $PORT 8000-8010\n",
        "FROM x\nSHELL [\"/bin/bash\", \"-c\"]\nCMD echo\n",
    ] {
        assert_eq!(parse(text).unwrap().lints, [], "{text}");
    }
}

#[test]
fn nothing_makes_it_panic() {
    // All beginnings of a file with everything in it, and one letter replaced by others.
    let text = "# escape=`\nFROM --platform=$A x AS y\nRUN --mount=type=cache,target=/c <<-'E'\n\tx\nE\nCOPY [\"a\", \"b\"]\nENV A=\"${B:-'c'}\" D=`\n  e\nHEALTHCHECK --interval=1s CMD x\nONBUILD ADD <<F /x\nF\n";
    for (end, _) in text.char_indices() {
        drop(parse(&text[..end]));
        for letter in ["\"", "\\", "\n", "<", "$", "{", "é", ""] {
            drop(parse(&format!("{}{letter}{}", &text[..end], &text[end..])));
        }
    }
}

/// What mutations begin with, and what they put in.
const SEEDS: [&str; 6] = [
    "# syntax=docker/dockerfile:1\n# escape=`\nARG A=1\nFROM x AS y\nRUN a `\n b\n",
    "FROM x\nRUN --mount=type=cache,id=a,target=/c,sharing=locked --network=none <<E\nx\nE\n",
    "FROM x\nCOPY --from=0 --chown=a:b --exclude=*.md <<A <<-\"B\" /d/\na\nA\n\tb\nB\n",
    "FROM x\nENV A=${B:-c} D='e' F=\"${G##*/}\" H=${I/a/b}\nLABEL a b\nONBUILD ADD [\"a\",\"b\"]\n",
    "FROM x\nHEALTHCHECK --interval=5s CMD [\"a\"]\nEXPOSE 80-90/udp\nSHELL [\"a\"]\nUSER a\n",
    "FROM --platform=$P x\nWORKDIR a\nVOLUME [\"/a\"]\nSTOPSIGNAL 9\nCMD a\nENTRYPOINT [\"b\", \"\\u00e9\"]\n",
];
const BITS: [&str; 24] = [
    "\\", "`", "\n", "\r\n", "\"", "'", "$", "${", "}", "<<", "<<-E", "E\n", "=", ",", "[", "]",
    "--", "#", "\u{feff}", "\0", " ", "\t", "é", ":",
];

#[test]
fn survives_what_is_changed_at_random() {
    // Always the same numbers: a failure can be seen again.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below.max(1) as u64).unwrap()
    };
    let mut parsed = 0;
    for _ in 0..20_000 {
        let mut text: Vec<char> = SEEDS[random(SEEDS.len())].chars().collect();
        for _ in 0..=random(6) {
            let at = random(text.len() + 1);
            match random(4) {
                0 if at < text.len() => drop(text.remove(at)),
                1 => drop(text.splice(at..at, BITS[random(BITS.len())].chars())),
                2 => text.truncate(at),
                _ => {
                    let from: Vec<char> = SEEDS[random(SEEDS.len())].chars().collect();
                    let begin = random(from.len());
                    let end = (begin + random(20)).min(from.len());
                    text.splice(at..at, from[begin..end].iter().copied());
                }
            }
        }
        let text: String = text.into_iter().collect();
        parsed += usize::from(parse(&text).is_ok());
        drop(parse_trigger(&text));
        let lookup = |name: &str| (name.len() % 2 == 1).then(|| name.to_owned());
        drop(word::expand(&text, '\\', &lookup));
        drop(word::expand_words(&text, '`', &lookup));
        drop(word::expand_document(&text, &lookup));
    }
    assert!(parsed > 500, "{parsed} of them were Dockerfiles");
}
