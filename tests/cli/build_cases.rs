//! Further tables of Dockerfiles: what their commands print is what they print when buildah builds them.

use super::build::{case, check, context, printed, with};
use super::support::Barge;

#[test]
fn builds_as_buildah_does_words_and_commands() {
    check(&[
        case("FROM busybox\nENV A=b\\ c\nRUN echo \"[$A]\"", "[b c]"),
        case("FROM busybox\nENV A=\"b c\" D='e f'\nRUN echo \"$A|$D\"", "b c|e f"),
        case("# check=skip=all\nFROM busybox\nENV A b c\nRUN echo \"[$A]\"", "[b c]"),
        case("FROM busybox\nENV A=1\nENV A=2 B=$A\nRUN echo $A $B", "2 1"),
        case("FROM busybox\nENV A=$NOPE\nRUN echo \"[$A]\"", "[]"),
        case("FROM busybox\nENV A=\"\\$x\"\nRUN echo \"$A\"", "$x"),
        case("FROM busybox\nENV A='$x'\nRUN echo \"$A\"", "$x"),
        case("FROM busybox\nENV A=x\nENV B=${A}y C=$A-z\nRUN echo $B $C", "xy x-z"),
        case("FROM busybox\nENV A=\nRUN echo \"[${A-unset}]\"", "[]"),
        case("FROM busybox\nENV A=one \\\n    B=two\nRUN echo $A $B", "one two"),
        case("FROM busybox\nENV A=${B:-def}\nRUN echo $A", "def"),
        case("FROM busybox\nENV B=v\nENV A=${B:+alt}\nRUN echo $A", "alt"),
        case("FROM busybox\nENV A=${B:+alt}\nRUN echo \"[$A]\"", "[]"),
        case("FROM busybox\nENV A=\"a\\\"b\"\nRUN echo \"$A\"", "a\"b"),
        case("FROM busybox\nENV A=a=b=c\nRUN echo $A", "a=b=c"),
        case(
            "FROM busybox\nENV PATH=$PATH:/x\nRUN echo $PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/x",
        ),
        case("FROM busybox\nARG A\nRUN echo \"[$A]\"", "[]"),
        case("FROM busybox\nARG A=d\nRUN echo $A", "d"),
        with("FROM busybox\nARG A=d\nRUN echo $A", &["--build-arg", "A=given"], "given"),
        with("FROM busybox\nARG A=d\nENV A=e\nRUN echo $A", &["--build-arg", "A=given"], "e"),
        case("FROM busybox\nARG A=\"x y\"\nRUN echo \"$A\"", "x y"),
        case("FROM busybox\nARG A=1 B=2\nRUN echo $A$B", "12"),
        case("FROM busybox\nARG A=1\nARG B=${A}2\nRUN echo $B", "12"),
        case("ARG T=busybox\nFROM ${T}\nRUN echo ok", "ok"),
        case("ARG A=g\nFROM busybox\nARG A=l\nRUN echo $A", "l"),
        with("ARG A=g\nFROM busybox\nARG A\nRUN echo $A", &["--build-arg", "A=cli"], "cli"),
        case("FROM busybox AS x\nARG A=1\nRUN echo $A\nFROM busybox\nARG A=2\nRUN echo $A", "2"),
        case("# check=skip=all\nFROM busybox\nWORKDIR a\nRUN pwd", "/a"),
        case("# check=skip=all\nFROM busybox\nWORKDIR /a/b\nWORKDIR ../c\nRUN pwd", "/a/c"),
        case("FROM busybox\nENV D=/q\nWORKDIR $D/r\nRUN pwd", "/q/r"),
        case("FROM busybox\nWORKDIR /tmp\nRUN pwd; stat -c %a .", "/tmp\n1777"),
        case("FROM busybox\nWORKDIR /w//x/\nRUN pwd", "/w/x"),
        case("FROM busybox\nWORKDIR \"/a b\"\nRUN pwd", "/a b"),
        case("FROM busybox\nRUN ln -s /etc /lnk\nWORKDIR /lnk\nRUN pwd", "/etc"),
        case("FROM busybox\nWORKDIR /w\nRUN touch f\nWORKDIR /\nRUN ls /w", "f"),
        case("FROM busybox\nUSER app\nRUN id -u; id -g", "1000\n1000"),
        case("FROM busybox\nUSER 5:6\nRUN id -u; id -g", "5\n6"),
        case("FROM busybox\nUSER app:extra\nRUN id -u; id -g", "1000\n2000"),
        case("FROM busybox\nUSER 1000\nRUN id -un", "app"),
        case("FROM busybox\nENV U=app\nUSER $U\nRUN id -u", "1000"),
        case("FROM busybox\nUSER app\nUSER root\nRUN id -u", "0"),
        case("FROM busybox\nUSER 12345\nRUN id -u; id -g", "12345\n0"),
        case("FROM busybox\nRUN echo a && echo b", "a\nb"),
        case("FROM busybox\nRUN echo a; \\\n    echo b", "a\nb"),
        case("FROM busybox\nRUN echo a \\\n# comment\n    b", "a b"),
        case("FROM busybox\nRUN [\"/bin/echo\",\"$HOME\"]", "$HOME"),
        case("FROM busybox\nRUN echo \"a  b\"   c", "a  b c"),
        case("FROM busybox\nRUN echo 'single $HOME'", "single $HOME"),
        case("FROM busybox\nRUN echo $((1+2))", "3"),
        case("FROM busybox\nRUN echo a#b # c", "a#b"),
    ]);
}

#[test]
fn builds_as_buildah_does_files_and_stages() {
    check(&[
        case("FROM busybox\nRUN   echo   spaced", "spaced"),
        case("# check=skip=all\nFROM busybox\nrun echo lower", "lower"),
        case("FROM busybox\nRUN umask", "0022"),
        case("FROM busybox\nRUN mkdir -p /d/e && touch /d/e/f\nRUN rm -r /d/e\nRUN ls -A /d", ""),
        case("FROM busybox\nRUN touch /a\nRUN mv /a /b\nRUN ls /a /b 2>/dev/null || true", "/b"),
        case("FROM busybox\nRUN ln -s nowhere /dang\nRUN readlink /dang", "nowhere"),
        case("FROM busybox\nRUN chmod 4755 /bin/busybox\nRUN stat -c %a /bin/busybox", "4755"),
        case("FROM busybox\nRUN chown 3:4 /tmp\nRUN stat -c %u:%g:%a /tmp", "3:4:1777"),
        case("FROM busybox\nRUN echo 1 >/h; ln /h /i\nRUN stat -c %h /h /i", "2\n2"),
        case("FROM busybox\nRUN mkfifo /p\nRUN stat -c %F /p", "fifo"),
        case(
            "FROM busybox\nRUN rm -rf /usr && mkdir /usr && touch /usr/x\nRUN find /usr",
            "/usr\n/usr/x",
        ),
        case(
            "FROM busybox\nRUN rm /etc/group && mkdir /etc/group\nRUN stat -c %F /etc/group",
            "directory",
        ),
        case(
            "FROM busybox\nRUN rm -r /home && touch /home\nRUN stat -c %F /home",
            "regular empty file",
        ),
        case("FROM busybox\nRUN touch -d @100 /old\nRUN stat -c %Y /old", "100"),
        case("FROM busybox\nRUN env | grep -c ^HOME=", "1"),
        case("FROM busybox\nRUN test -w /dev/null && echo dev", "dev"),
        case("FROM busybox\nRUN printf \"%s\\n\" a b", "a\nb"),
        case("# escape=`\nFROM busybox\nRUN echo a `\n  b", "a b"),
        case("#escape=`\nFROM busybox\nRUN echo C:\\x", "C:x"),
        case("# a comment\n\nFROM busybox\n\n# another\nRUN echo ok", "ok"),
        case("FROM busybox\nCOPY top .\nRUN ls /top", "/top"),
        case(
            "FROM busybox\nCOPY top /dir/\nRUN stat -c \"%a %u:%g\" /dir /dir/top",
            "755 0:0\n644 0:0",
        ),
        case(
            "FROM busybox\nCOPY a/. /x\nRUN find /x | sort",
            "/x\n/x/d\n/x/d/three.txt\n/x/one.txt\n/x/two.md",
        ),
        case(
            "FROM busybox\nCOPY a/ /x/\nRUN find /x | sort",
            "/x\n/x/d\n/x/d/three.txt\n/x/one.txt\n/x/two.md",
        ),
        case("FROM busybox\nCOPY ./a/d /x/d\nRUN find /x | sort", "/x\n/x/d\n/x/d/three.txt"),
        case("FROM busybox\nCOPY a/*.txt a/*.md /x/\nRUN ls /x", "one.txt\ntwo.md"),
        case("FROM busybox\nCOPY a/??e.txt /x/\nRUN ls /x", "one.txt"),
        case("FROM busybox\nCOPY */*.txt /x/\nRUN ls /x", "four.txt\none.txt"),
        case("FROM busybox\nCOPY top b /x/\nRUN ls /x", "four.txt\ntop"),
        case("FROM busybox\nCOPY top /bin/busyboxx\nRUN cat /bin/busyboxx", "t"),
        case("FROM busybox\nRUN mkdir /x\nCOPY top /x\nRUN ls /x", "top"),
        case("FROM busybox\nRUN echo old >/x\nCOPY top /x\nRUN cat /x", "t"),
        case(
            "FROM busybox\nRUN mkdir -p /x/d && echo o >/x/d/keep\nCOPY a /x\nRUN find /x | sort",
            "/x\n/x/d\n/x/d/keep\n/x/d/three.txt\n/x/one.txt\n/x/two.md",
        ),
        case("FROM busybox\nWORKDIR /w\nCOPY top ./s/\nRUN find /w | sort", "/w\n/w/s\n/w/s/top"),
        case("FROM busybox\nWORKDIR /w\nCOPY a .\nRUN ls", "d\none.txt\ntwo.md"),
        case("FROM busybox\nCOPY a/one.txt a/two.md /x/\nRUN cat /x/*", "1\n2"),
        case("FROM busybox\nENV X=top\nCOPY $X /y\nRUN cat /y", "t"),
        case("FROM busybox\nARG X=/z\nCOPY top ${X}/\nRUN cat /z/top", "t"),
        case("FROM busybox\nCOPY --chown=1000 top /x\nRUN stat -c %u:%g /x", "1000:1000"),
        case(
            "FROM busybox\nCOPY --chown=app:app a /x\nRUN stat -c %u:%g /x/d/three.txt",
            "1000:1000",
        ),
        case("FROM busybox\nADD top /x\nRUN cat /x", "t"),
        case("FROM busybox\nADD a /x\nRUN ls /x", "d\none.txt\ntwo.md"),
        case("FROM busybox\nADD --chown=9:9 top /x/\nRUN stat -c %u:%g /x/top", "9:9"),
        case("FROM busybox\nCOPY [\"top\",\"a/one.txt\",\"/q/\"]\nRUN ls /q", "one.txt\ntop"),
        case("FROM busybox\nCOPY .h /x/\nRUN ls -A /x", ".h"),
        case(
            "FROM busybox AS s\nRUN echo s >/s\nFROM busybox\nCOPY --from=s /s /t\nRUN cat /t",
            "s",
        ),
        case("FROM busybox\nRUN echo s >/s\nFROM busybox\nCOPY --from=0 /s /t\nRUN cat /t", "s"),
        case(
            "FROM busybox AS s\nENV A=1\nWORKDIR /w\nUSER app\nFROM s\nRUN echo $A; pwd; id -u",
            "1\n/w\n1000",
        ),
        case(
            "FROM busybox AS s\nRUN mkdir /d && touch /d/x /d/y\nFROM busybox\nCOPY --from=s /d/ /e/\nRUN ls /e",
            "x\ny",
        ),
        case(
            "FROM busybox AS s\nRUN mkdir /d && ln -s x /d/l && touch /d/x\nFROM busybox\nCOPY --from=s /d /e\nRUN readlink /e/l",
            "x",
        ),
    ]);
}

/// What BuildKit of Docker 28.5 makes of these, which is not what one would think at once.
#[test]
fn builds_as_buildkit_does() {
    check(&[
        // Several sources go one after the other to wherever they are to go.
        case("FROM busybox\nCOPY a/one.txt a/two.md /x\nRUN cat /x", "2"),
        case(
            "FROM busybox\nRUN mkdir /x\nCOPY a/one.txt a/two.md /x\nRUN ls /x",
            "one.txt\ntwo.md",
        ),
        case("FROM busybox\nCOPY top /x/.\nRUN ls /x", "top"),
        case("FROM busybox\nCOPY --from= top /x\nRUN cat /x", "t"),
        // What is left out is below a source, which is none of that itself.
        case("FROM busybox\nCOPY --exclude=*.txt a/* /x/\nRUN ls /x", "one.txt\ntwo.md"),
        case("FROM busybox\nCOPY --exclude=*.txt a /x/\nRUN ls /x", "d\ntwo.md"),
        case(
            "FROM busybox\nCOPY --parents **/*.txt /x/\nRUN find /x -type f | sort",
            "/x/a/d/three.txt\n/x/a/one.txt\n/x/b/four.txt",
        ),
        case("FROM busybox\nCOPY --chown=app: top /x\nRUN stat -c %u:%g /x", "1000:0"),
        case("FROM busybox\nRUN cat << E >/x\nhere\nE\nRUN cat /x", "here"),
        case("FROM busybox\nRUN hostname", "buildkitsandbox"),
        case("FROM busybox\nWORKDIR /w\nWORKDIR ${NOTHING}\nRUN pwd", "/w"),
        case("FROM busybox\nARG V=v\nARG $V=x\nRUN echo \"[$v]\"", "[]"),
        case("FROM busybox AS a\nONBUILD RUN <<E\necho one\necho two\nE\nFROM a", "one\ntwo"),
    ]);
}

#[test]
fn builds_of_scripts_see_what_has_changed() {
    let barge = Barge::with_busybox();
    for said in ["one", "two"] {
        let file = format!("FROM busybox\nRUN <<E\n#!/bin/sh\necho {said}\nE\n");
        let dir = context(&barge, &[("Dockerfile", &file)]);
        let lines = barge.run(["build", "--network=none", &dir]).ok().lines();
        assert_eq!(printed(&lines), [said]);
    }
}

#[test]
fn directories_come_along_for_what_is_taken_back_in_them() {
    for (patterns, want) in [
        ("*\n!**/*.txt", "/x/a\n/x/a/d\n/x/a/d/three.txt\n/x/a/one.txt\n/x/b\n/x/b/four.txt"),
        ("*\n!**/three.txt", "/x/a\n/x/a/d\n/x/a/d/three.txt"),
        ("*\n!a*", "/x/a\n/x/a/d\n/x/a/d/three.txt\n/x/a/one.txt\n/x/a/two.md"),
        ("*\n!nothing*", ""),
    ] {
        let barge = Barge::with_busybox();
        let file = "FROM busybox\nCOPY . /x/\nRUN find /x -mindepth 1 | sort\n";
        let files = [
            ("Dockerfile", file),
            (".dockerignore", patterns),
            ("a/one.txt", "1"),
            ("a/two.md", "2"),
            ("a/d/three.txt", "3"),
            ("b/four.txt", "4"),
            ("c/five.md", "5"),
        ];
        let dir = context(&barge, &files);
        let lines = barge.run(["build", "--network=none", &dir]).ok().lines();
        assert_eq!(printed(&lines).join("\n"), want, "{patterns}");
    }
}

#[test]
fn caches_that_begin_differently_are_different_ones() {
    let barge = Barge::with_busybox();
    let mount = "--mount=type=cache,id=c,target=/c";
    let file = format!(
        "FROM busybox AS z\nRUN mkdir /d; echo seed >/d/seed\nFROM busybox\n\
         RUN {mount} touch /c/plain\n\
         RUN {mount},uid=5,gid=6,mode=0700 stat -c '%u:%g %a' /c; ls /c\n\
         RUN {mount},from=z,source=/d ls /c; touch /c/more\n\
         RUN {mount},from=z,source=/d ls /c; echo again >/c/again\nRUN {mount} ls /c\n"
    );
    let dir = context(&barge, &[("Dockerfile", &file)]);
    let lines = barge.run(["build", "--network=none", &dir]).ok().lines();
    assert_eq!(printed(&lines), ["5:6 700", "seed", "more", "seed", "plain"]);
}

#[test]
fn an_unknown_group_is_the_users() {
    let barge = Barge::with_busybox();
    let file = "FROM busybox\nCOPY --chown=7:nobody-knows f /x\nRUN stat -c %u:%g /x\n";
    let dir = context(&barge, &[("Dockerfile", file), ("f", "")]);
    let output = barge.run(["build", "--network=none", &dir]).exits(0);
    let output = output.stderr_has("`nobody-knows` is not known in the image");
    assert_eq!(printed(&output.lines()), ["7:7"]);
}
