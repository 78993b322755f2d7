//! What users write, and what is understood.

use std::path::Path;

use super::{Mount, MountSource};
use crate::error::{Error, Kind};

fn shown(mount: &Mount) -> String {
    let source = match &mount.source {
        MountSource::Bind { path, create } => {
            format!("{}{}", path.display(), if *create { "+" } else { "" })
        }
        MountSource::Volume { name, copy, new, .. } => {
            let name = name.as_deref().unwrap_or("?");
            let copy = if *copy { "" } else { "!" };
            let new: Vec<&str> = new.options.values().map(String::as_str).collect();
            format!("vol {name}{copy}{}", new.join("+"))
        }
        MountSource::Devpts => "devpts".to_owned(),
        MountSource::Image { name, .. } => format!("image {name}"),
        MountSource::Artifact { name, title, digest, file_name, .. } => {
            let words = [title, digest, file_name].map(|it| it.as_deref().unwrap_or("-"));
            format!("artifact {name} {}", words.join(" "))
        }
        MountSource::Ramfs { mode } => {
            format!("ramfs {}", mode.map_or("-".to_owned(), |mode| format!("{mode:o}")))
        }
        MountSource::Tmpfs { size, mode } => {
            let size = size.map_or("-".to_owned(), |size| size.to_string());
            let mode = mode.map_or("-".to_owned(), |mode| format!("{mode:o}"));
            format!("tmpfs {size} {mode}")
        }
    };
    let access = if mount.read_only { "ro" } else { "rw" };
    let subpath = mount.subpath.as_deref().unwrap_or(Path::new("")).display();
    let options = mount.options.join(",");
    let flags = [(mount.chown, "U"), (mount.idmap, "I"), (mount.overlay.is_some(), "O")];
    let flags: String = flags.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    format!("{source} {} {access} {options}{subpath}{flags}", mount.target.display())
}

#[test]
fn parses_volumes() {
    use Kind::{Invalid, Unsupported};
    for (text, want) in [
        ("/a:/b", Ok("/a+ /b rw ")),
        ("/a:/b:ro", Ok("/a+ /b ro ")),
        ("/a:/b:ro,Z,noexec", Ok("/a+ /b ro noexec")),
        ("./a:/b//c/:rshared", Ok("./a+ /b/c rw rshared")),
        ("../a:/b", Ok("../a+ /b rw ")),
        (".:/b", Ok(".+ /b rw ")),
        ("/a:/b:", Ok("/a+ /b rw ")),
        ("data:/b", Ok("vol data /b rw ")),
        ("data:/b:ro,nocopy", Ok("vol data! /b ro ")),
        ("/b", Ok("vol ? /b rw ")),
        ("b", Err(Invalid)),
        ("~data:/b", Err(Invalid)),
        ("~/a:/b", Ok("~/a+ /b rw ")),
        ("~:/b", Ok("~+ /b rw ")),
        ("/a:/b:rro", Ok("/a+ /b ro ")),
        ("/a:/b:U", Ok("/a+ /b rw U")),
        ("/a:/b:O,idmap", Ok("/a+ /b rw IO")),
        ("/a:/b:O,upperdir=/u,workdir=/w", Ok("/a+ /b rw O")),
        ("/a:/b:O,upperdir=/u", Err(Invalid)),
        ("/a:/b:O,upperdir=u,workdir=/w", Err(Invalid)),
        ("/a:/b:idmap=uids=0-1-10", Err(Unsupported)),
        ("/a:", Err(Invalid)),
        (":/b", Err(Invalid)),
        ("/a:b", Err(Invalid)),
        ("/a:/", Err(Invalid)),
        ("/a:/b/../c", Ok("/a+ /c rw ")),
        ("/a:/b/..", Err(Invalid)),
        ("/a:/proc/cpuinfo", Ok("/a+ /proc/cpuinfo rw ")),
        ("/a:/proc/sys", Err(Invalid)),
        ("/a:/x/../proc/self/attr", Err(Invalid)),
        ("/a:/b:nonsense", Err(Invalid)),
        ("/a:/b:ro:rw", Err(Invalid)),
        ("/a:/b:ro,rw", Err(Invalid)),
        ("/a:/b:rw,rw", Err(Invalid)),
        ("/a:/b:z,Z", Err(Invalid)),
        ("/a:/b:U,U", Err(Invalid)),
        ("/a:/b:exec,noexec", Err(Invalid)),
        ("/a:/b:rslave,private", Err(Invalid)),
        ("a:/b:copy,nocopy", Err(Invalid)),
        (
            "/a:/b:ro,z,U,nosuid,nodev,noexec,rslave,bind,nocopy",
            Ok("/a+ /b ro nosuid,nodev,noexec,rslave,bindU"),
        ),
        ("", Err(Invalid)),
    ] {
        let got = Mount::parse_volume(text).map(|mount| shown(&mount));
        assert_eq!(got.as_deref().map_err(Error::kind), want, "{text}");
    }
}

#[test]
fn parses_tmpfs() {
    for (text, want) in [
        ("/x", Some("tmpfs - - /x rw ")),
        ("/x:size=64m,mode=700,ro,noexec", Some("tmpfs 67108864 700 /x ro noexec")),
        ("/x:size=50%,uid=5", Some("tmpfs - - /x rw size=50%,uid=5")),
        ("/x:size=%", None),
        ("/x:mode=999", None),
        ("/x:mode=17777", None),
        ("/x:size=big", None),
        ("/x:ro,rw", None),
        ("/x:lowerdir=/", None),
        ("/x:bogus", None),
        ("x", None),
        ("", None),
    ] {
        let got = Mount::parse_tmpfs(text).ok().map(|mount| shown(&mount));
        assert_eq!(got.as_deref(), want, "{text}");
    }
}

#[test]
fn parses_mounts() {
    use Kind::{Invalid, Unsupported};
    for (text, want) in [
        ("type=bind,source=/a,target=/b", Ok("/a /b rw ")),
        ("type=bind,src=/a,dst=/b,ro", Ok("/a /b ro ")),
        ("src=/a,destination=/b,type=bind,readonly=false", Ok("/a /b rw ")),
        ("type=bind,src=/a,dst=/b,bind-propagation=rslave", Ok("/a /b rw rslave")),
        ("type=bind,src=/a,dst=/b,bind-nonrecursive", Ok("/a /b rw bind")),
        ("type=bind,src=/a,dst=/b,rw=false,noexec", Ok("/a /b ro noexec")),
        ("type=tmpfs,dst=/b", Ok("tmpfs - - /b rw ")),
        ("type=tmpfs,dst=/b,tmpfs-size=1m,tmpfs-mode=1777", Ok("tmpfs 1048576 1777 /b rw ")),
        ("type=tmpfs,src=/a,dst=/b", Err(Invalid)),
        ("type=devpts,dst=/b,uid=5,max=3", Ok("devpts /b rw uid=5,max=3")),
        ("type=tmpfs,dst=/b,chown", Ok("tmpfs - - /b rw U")),
        ("type=bind,src=/a,dst=/b,U=true,idmap", Ok("/a /b rw UI")),
        ("type=tmpfs,dst=/b,idmap", Err(Invalid)),
        ("type=bind,dst=/b", Err(Invalid)),
        ("type=bind,src=/a", Err(Invalid)),
        ("type=bind,src=/a,dst=/b,tmpfs-size=1m", Err(Invalid)),
        ("type=bind,src=/a,dst=/b,ro=maybe", Err(Invalid)),
        ("type=bind,src=/a,dst=/b,bind-propagation=ro", Err(Invalid)),
        ("type=bind,src=/a,dst=/b,x=y", Err(Invalid)),
        ("type=volume,src=a,dst=/b", Ok("vol a /b rw ")),
        ("dst=/b", Ok("vol ? /b rw ")),
        ("src=a,dst=/b,volume-nocopy,ro", Ok("vol a! /b ro ")),
        ("src=a,dst=/b,volume-subpath=x//y", Ok("vol a /b rw x/y")),
        ("src=a,dst=/b,volume-opt=type=tmpfs,volume-label=x=y", Ok("vol atmpfs /b rw ")),
        ("src=a,dst=/b,volume-subpath=../y", Err(Invalid)),
        ("src=a,dst=/b,volume-subpath=/y", Ok("vol a /b rw y")),
        ("type=image,src=a,dst=/b,subpath=//x/y", Ok("image a /b ro x/y")),
        ("type=image,src=a,dst=/b,subpath=/../x", Err(Invalid)),
        ("type=image,src=a,dst=/b,subpath=/", Err(Invalid)),
        ("src=a,dst=/b,volume-driver=nosuch", Ok("vol a /b rw ")),
        ("src=../a,dst=/b", Err(Invalid)),
        ("type=bind,src=/a,dst=/b,volume-nocopy", Err(Invalid)),
        ("src=a,dst=/b,tmpfs-size=1m", Err(Invalid)),
        ("type=image,src=a,dst=/b", Ok("image a /b ro ")),
        ("type=image,src=a,dst=/b,rw=true,subpath=x", Ok("image a /b rw x")),
        ("type=image,dst=/b", Err(Invalid)),
        ("type=artifact,src=a,dst=/b", Ok("artifact a - - - /b ro ")),
        ("type=artifact,src=a,dst=/b,title=t,name=n", Ok("artifact a t - n /b ro ")),
        ("type=artifact,src=a,dst=/b,digest=sha256:0", Ok("artifact a - sha256:0 - /b ro ")),
        ("type=artifact,src=a,dst=/b,title=t,digest=sha256:0", Err(Invalid)),
        ("type=artifact,src=a,dst=/b,name=x/y", Err(Invalid)),
        ("type=artifact,src=a,dst=/b,rw=true", Err(Invalid)),
        ("type=artifact,dst=/b", Err(Invalid)),
        ("type=ramfs,dst=/b", Ok("ramfs - /b rw ")),
        ("type=ramfs,dst=/b,mode=700", Ok("ramfs 700 /b rw ")),
        ("type=ramfs,dst=/b,tmpfs-size=1m", Err(Invalid)),
        ("type=ramfs,src=a,dst=/b", Err(Invalid)),
        ("type=glob,src=/a*,dst=/b", Err(Unsupported)),
        ("TYPE=bind,Source=/a,Target=/b,ReadOnly=1", Ok("/a /b ro ")),
        ("type=bind,\"src=/a,\"\"b\"\"\",dst=/b", Ok("/a,\"b\" /b rw ")),
        ("src=a,dst=/b,\"volume-opt=o=size=1m,mode=700\"", Ok("vol asize=1m,mode=700 /b rw ")),
        ("type=bind,\"src=/a,dst=/b", Err(Invalid)),
        ("type=bind,\"src=/a\"x,dst=/b", Err(Invalid)),
        ("type=bind,src=/a,dst=/b,ro,bind-recursive=writable", Ok("/a /b ro ro")),
        ("type=bind,src=/a,dst=/b,bind-recursive=disabled", Ok("/a /b rw bind")),
        ("type=bind,src=/a,dst=/b,bind-recursive=maybe", Err(Invalid)),
        ("type=bind,src=/a,dst=/b,relabel=shared", Ok("/a /b rw ")),
        ("type=bind,src=/a,dst=/b,relabel=maybe", Err(Invalid)),
        ("type=bind,src=/a,dst=/b,relabel=shared,relabel=private", Err(Invalid)),
        ("type=bind,src=/a,dst=/b,relabel=shared,Z", Err(Invalid)),
        ("type=bind,src=/a,dst=/b,ro,rw", Err(Invalid)),
        ("type=bind,src=/a,dst=/b,readonly,RO=true", Err(Invalid)),
        ("type=bind,src=/a\"b\",dst=/b", Err(Invalid)),
        ("type=tmpfs,dst=/b,tmpcopyup", Ok("tmpfs - - /b rw tmpcopyup")),
        ("type=bind,src=/a,dst=/b,tmpcopyup", Err(Invalid)),
        ("", Err(Invalid)),
    ] {
        let got = Mount::parse_mount(text).map(|mount| shown(&mount));
        assert_eq!(got.as_deref().map_err(Error::kind), want, "{text}");
    }
}
