//! Secrets: who gets them, and where they are never seen.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::support::{Barge, is_root, wait_until};

const WORD: &str = "Xyzzy-0123456789-plugh";

/// Lists the files below a directory that contain the secret and can be read by others.
fn open_files_with_it(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(open_files_with_it(&path));
        } else if kind.is_file()
            && let Ok(data) = fs::read(&path)
            && data.windows(WORD.len()).any(|part| part == WORD.as_bytes())
        {
            found.push(path);
        }
    }
    found
}

#[test]
fn they_are_made_listed_and_removed() {
    let barge = Barge::new();
    barge
        .run(["secret", "ls"])
        .ok()
        .stdout("ID          NAME        DRIVER      CREATED     UPDATED\n");
    let file = barge.file("word", WORD);
    let id = barge.run(["secret", "create", "--label", "a=b", "pw", &file]).ok().text();
    assert_eq!(id.len(), 25, "{id}");
    barge.run(["secret", "create", "pw", &file]).fails(125).error("pw: secret name in use");
    barge.run(["secret", "create", "--ignore", "pw", &file]).ok().stdout(&format!("{id}\n"));
    let other = barge.command(["secret", "create", "other", "-"]).input("second").run().ok().text();
    let env = barge.command(["secret", "create", "--env", "third", "WORD"]).env("WORD", "x");
    env.run().ok();
    barge.run(["secret", "create", "--env", "none", "NOSUCH"]).fails(125).error_has("NOSUCH");
    for (name, data) in [("a/b", "x"), ("a=b", "x"), ("empty", ""), ("big", &"x".repeat(512_000))] {
        barge.command(["secret", "create", name, "-"]).input(data).run().fails(125);
    }
    let format = "{{.Name}} {{.Driver}}";
    barge
        .run(["secret", "ls", "--format", format])
        .ok()
        .stdout("other file\npw file\nthird file\n");
    barge.run(["secret", "ls", "-q", "--filter", "name=^p"]).ok().stdout(&format!("{id}\n"));
    barge.run(["secret", "ls", "-q", "--filter", "label=a"]).ok().stdout(&format!("{id}\n"));
    let shown = barge.run(["secret", "inspect", "pw"]).ok();
    assert_eq!(shown.json()[0]["Spec"]["Name"], "pw");
    shown.stdout_lacks(WORD);
    barge
        .run(["secret", "inspect", "--showsecret", "--format", "{{.SecretData}}", &id[..8]])
        .ok()
        .stdout(&format!("{WORD}\n"));
    barge.run(["secret", "exists", "pw"]).exits(0);
    barge.run(["secret", "exists", "nosuch"]).exits(1);
    let replaced = barge.run(["secret", "create", "--replace", "pw", &file]).ok().text();
    assert_ne!(replaced, id);
    for path in fs::read_dir(barge.root().join("secrets")).unwrap() {
        let mode = path.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    barge
        .run(["secret", "rm", "nosuch"])
        .fails(125)
        .error("no secret with name or id \"nosuch\": no such secret");
    barge.run(["secret", "rm", "--ignore", "nosuch", "other"]).ok().stdout(&format!("{other}\n"));
    barge.run(["secret", "rm", "--all"]).ok();
    barge.run(["secret", "ls", "-q"]).ok().stdout("");
    barge.run(["events", "--stream=false"]).ok().stdout_has("secret create").stdout_lacks(WORD);
    assert!(open_files_with_it(&barge.root()).is_empty());
}

#[test]
fn containers_get_them() {
    let barge = Barge::with_busybox();
    barge.command(["secret", "create", "pw", "-"]).input(WORD).run().ok();
    let script = "cat /run/secrets/pw; echo; stat -c '%a %u:%g' /run/secrets/pw; \
                  echo x 2>/dev/null > /run/secrets/pw || echo ro";
    let want = format!("{WORD}\n444 0:0\nro\n");
    barge.shell(&["--secret", "pw"], script).ok().stdout(&want);
    barge.shell(&["--secret", "pw", "--read-only"], script).ok().stdout(&want);
    let secret = "pw,target=/etc/pw,uid=1000,gid=1000,mode=0400";
    barge.shell(&["--secret", secret, "--user=app"], "cat /etc/pw").ok().stdout(WORD);
    let other = "adduser -D -H -u 7 other 2>/dev/null; su other -s /bin/cat /etc/pw";
    barge.shell(&["--secret", secret], other).exits(1);
    barge
        .shell(&["--secret", "pw,type=env,target=PW"], "echo $PW")
        .ok()
        .stdout(&format!("{WORD}\n"));
    if is_root() {
        let flags = ["--uidmap=0:300000:2000", "--secret", "pw,uid=5,mode=400"];
        let script = "stat -c '%a %u' /run/secrets/pw; cat /run/secrets/pw";
        barge.shell(&flags, script).ok().stdout(&format!("400 5\n{WORD}"));
    }
    barge
        .shell(&["--secret", "nosuch"], "true")
        .fails(125)
        .error("no secret with name or id \"nosuch\": no such secret");
    barge.shell(&["--secret", "pw,type=nosuch"], "true").fails(125);
    barge.command(["secret", "create", "binary", "-"]).input([b'a', 0, 0xff]).run().ok();
    barge.shell(&["--secret", "binary"], "wc -c < /run/secrets/binary").ok().stdout("3\n");
    barge.shell(&["--secret", "binary,type=env"], "true").fails(125).error_has("no text");
    assert!(barge.containers().is_empty());
}

#[test]
fn nobody_else_sees_them() {
    let barge = Barge::with_busybox();
    barge.command(["secret", "create", "pw", "-"]).input(WORD).run().ok();
    let line = ["--name=c", "--secret=pw", "--secret=pw,type=env,target=PW", "busybox"];
    let id = barge.start(line.iter().chain(&["sh", "-c", "while :; do sleep 1; done"]));
    // It has its own: what becomes of the secret is nothing to it.
    barge.run(["secret", "rm", "pw"]).ok();
    barge
        .run(["exec", "c", "sh", "-c", "echo $PW; cat /run/secrets/pw"])
        .ok()
        .stdout(&format!("{WORD}\n{WORD}"));
    barge.run(["exec", "-e", "PW=mine", "c", "sh", "-c", "echo $PW"]).ok().stdout("mine\n");
    barge.run(["inspect", "c"]).ok().stdout_lacks(WORD).stdout_has("\"Secrets\"");
    for path in open_files_with_it(barge.directory()) {
        let parent = path.parent().unwrap().metadata().unwrap().permissions().mode();
        assert!(path.to_string_lossy().contains(&id), "{}", path.display());
        assert_eq!(parent & 0o077, 0, "{}", path.display());
    }
    for process in barge.processes() {
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains(WORD));
    }
    barge.run(["stop", "-t", "0", "c"]).ok();
    let in_run = barge.runroot().join("containers").join(&id).join("secrets");
    wait_until("the files of the run are gone", || !in_run.exists());
    barge.run(["diff", "c"]).ok().stdout_lacks("secrets");
    barge.run(["commit", "c", "made"]).ok();
    barge.run(["inspect", "made"]).ok().stdout_lacks(WORD).stdout_lacks("PW=");
    barge.run(["history", "--no-trunc", "made"]).ok().stdout_lacks(WORD).stdout_lacks("PW=");
    barge.run(["logs", "c"]).ok().stdout("");
    let events = barge.run(["events", "--stream=false", "--format=json"]).ok();
    events.stdout_has("secret").stdout_lacks(WORD);
    let [tar, saved] = ["c.tar", "made.tar"].map(|name| barge.path_text(name));
    barge.run(["export", "-o", &tar, "c"]).ok();
    barge.run(["save", "-o", &saved, "made"]).ok();
    for file in [&tar, &saved] {
        let data = fs::read(file).unwrap();
        assert!(!data.windows(WORD.len()).any(|part| part == WORD.as_bytes()), "{file}");
    }
    for file in [tar, saved] {
        fs::remove_file(file).unwrap();
    }
    // A clone has them as well, and a start after a stop.
    barge.run(["container", "clone", "c", "d"]).ok();
    for name in ["c", "d"] {
        barge.run(["start", name]).ok();
        barge.run(["exec", name, "cat", "/run/secrets/pw"]).ok().stdout(WORD);
    }
    barge.run(["rm", "-f", "-t", "0", "c", "d"]).ok();
    assert!(open_files_with_it(&barge.root()).is_empty());
    assert!(open_files_with_it(&barge.runroot()).is_empty());
}

#[test]
fn their_data_may_be_elsewhere() {
    let barge = Barge::with_busybox();
    let dir = barge.path("elsewhere");
    fs::create_dir(&dir).unwrap();
    let list = || fs::read_dir(&dir).unwrap().count();
    let path = dir.display();
    let options = [
        format!("store=umask 077; cat > {path}/$SECRET_ID"),
        format!("lookup=cat {path}/$SECRET_ID"),
        format!("delete=rm {path}/$SECRET_ID"),
    ];
    let create = |flags: &[&str], data: &str| {
        let options = options.iter().flat_map(|option| ["--driver-opts", option.as_str()]);
        let line = ["secret", "create", "-d", "shell"].into_iter().chain(options);
        barge.command(line.chain(flags.iter().copied()).chain(["pw", "-"])).input(data).run()
    };
    create(&[], WORD).ok();
    let in_store = || open_files_with_it(&barge.root().join("secrets"));
    assert_eq!((list(), in_store()), (1, Vec::new()));
    create(&[], "other").fails(125).error_has("secret name in use");
    create(&["--ignore"], "other").ok();
    assert_eq!(list(), 1);
    barge.run(["secret", "ls", "--format", "{{.Driver}}"]).ok().stdout("shell\n");
    let show = ["secret", "inspect", "--showsecret", "--format", "{{.SecretData}}", "pw"];
    barge.run(show).ok().stdout(&format!("{WORD}\n"));
    barge.shell(&["--secret", "pw"], "cat /run/secrets/pw").ok().stdout(WORD);
    create(&["--replace"], "newer").ok();
    assert_eq!(list(), 1);
    barge.run(show).ok().stdout("newer\n");
    barge.run(["secret", "rm", "pw"]).ok();
    assert_eq!(list(), 0);
    let line = ["secret", "create", "-d", "shell", "--driver-opts", "store=exit 3"];
    let line = line.iter().chain(&["--driver-opts", "lookup=true", "--driver-opts", "delete=true"]);
    barge
        .command(line.chain(&["bad", "-"]))
        .input("x")
        .run()
        .fails(125)
        .error_has("exit status: 3");
    barge.run(["secret", "exists", "bad"]).exits(1);
    for line in [&["-d", "nosuch"][..], &["-d", "shell"], &["-d", "pass", "--driver-opts", "x=y"]] {
        let line = ["secret", "create"].iter().chain(line).chain(&["bad", "-"]);
        barge.command(line).input("x").run().fails(125);
    }
}

#[test]
fn gpg_keeps_them_as_pass_does() {
    let barge = Barge::with_busybox();
    // A socket's path is short.
    let home = barge.path("g");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let home = home.to_string_lossy().into_owned();
    let gpg = ["--batch", "--homedir", &home, "--pinentry-mode=loopback", "--passphrase", ""];
    let key = ["--quick-generate-key", "barge test <test@example.org>", "default", "default"];
    assert_eq!(barge.other_command("gpg", gpg.iter().chain(&key)).run().status, 0);
    let root = barge.path("pass");
    let (at, homedir) = (format!("root={}", root.display()), format!("gpghomedir={home}"));
    let options = ["--driver-opts", &at, "--driver-opts", &homedir];
    let line = ["secret", "create", "-d", "pass"].iter().chain(&options);
    let keyed = line.clone().chain(&["--driver-opts", "key=test@example.org", "pw", "-"]);
    barge.command(line.chain(&["none", "-"])).input(WORD).run().fails(125).hint_has("pass init");
    barge.command(keyed).input(WORD).run().ok();
    let files: Vec<_> = fs::read_dir(&root).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    assert_eq!(open_files_with_it(&root), Vec::<PathBuf>::new());
    barge.shell(&["--secret", "pw"], "cat /run/secrets/pw").ok().stdout(WORD);
    barge.run(["secret", "rm", "pw"]).ok();
    assert!(!files[0].exists());
    let end = ["--homedir", &home, "--kill", "gpg-agent"];
    assert_eq!(barge.other_command("gpgconf", end).run().status, 0);
}
