//! Names of containers on networks that users make, and of everything else.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use super::support::{Barge, Need, needs, wait_until};

const A: u16 = 1;
const PTR: u16 = 12;
const TXT: u16 = 16;
const AAAA: u16 = 28;

/// What a name server has answered.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    code: u8,
    truncated: bool,
    addresses: Vec<String>,
    length: usize,
}

fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    // Up to 1232 bytes are welcome.
    message.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    message
}

fn read(message: &[u8], question: &[u8]) -> Answer {
    assert_eq!(message[..2], question[..2], "the identifier comes back");
    assert_eq!(message[2] & 0x80, 0x80, "it is an answer");
    let asked = question.len() - 11;
    assert_eq!(message[12..asked], question[12..asked], "the question comes back");
    let mut addresses = Vec::new();
    let mut rest = &message[asked..];
    for _ in 0..u16::from_be_bytes([message[6], message[7]]) {
        let length = usize::from(u16::from_be_bytes([rest[10], rest[11]]));
        let data = &rest[12..12 + length];
        let kind = u16::from_be_bytes([rest[2], rest[3]]);
        addresses.push(match length {
            _ if kind == PTR => name_in(data),
            4 => IpAddr::from(<[u8; 4]>::try_from(data).unwrap()).to_string(),
            16 => IpAddr::from(<[u8; 16]>::try_from(data).unwrap()).to_string(),
            _ => panic!("{kind} {data:?}"),
        });
        rest = &rest[12 + length..];
    }
    let length = message.len();
    Answer { code: message[3] & 15, truncated: message[2] & 2 != 0, addresses, length }
}

fn name_in(mut data: &[u8]) -> String {
    let mut labels = Vec::new();
    while data[0] > 0 {
        let (label, rest) = data[1..].split_at(usize::from(data[0]));
        labels.push(String::from_utf8_lossy(label).into_owned());
        data = rest;
    }
    labels.join(".")
}

/// Runs something in the network namespace of a container.
fn within<T: Send>(barge: &Barge, name: &str, work: impl FnOnce() -> T + Send) -> T {
    let pid = barge.inspect(name, "{{.State.Pid}}");
    let netns = File::open(format!("/proc/{pid}/ns/net")).unwrap();
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        worker.join().unwrap()
    })
}

const RESOLVER: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 0, 0, 11), 53);

/// Asks as a program in the container does.
fn ask(barge: &Barge, from: &str, name: &str, kind: u16) -> Answer {
    let question = question(name, kind);
    within(barge, from, || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.connect(RESOLVER).unwrap();
        socket.send(&question).unwrap();
        let mut message = [0; 4096];
        let length = socket.recv(&mut message).unwrap();
        read(&message[..length], &question)
    })
}

/// Asks by TCP, two questions over one connection.
fn ask_by_stream(barge: &Barge, from: &str, names: [&str; 2]) -> Vec<Answer> {
    within(barge, from, || {
        let mut stream = TcpStream::connect(RESOLVER).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        names
            .map(|name| {
                let question = question(name, A);
                let length = u16::try_from(question.len()).unwrap().to_be_bytes();
                // In two parts, as the network may cut it.
                stream.write_all(&[&length, &question[..5]].concat()).unwrap();
                stream.write_all(&question[5..]).unwrap();
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut message).unwrap();
                read(&message, &question)
            })
            .into()
    })
}

#[track_caller]
fn knows(barge: &Barge, from: &str, name: &str, kind: u16, want: &[&str]) {
    let mut answer = ask(barge, from, name, kind);
    let mut want = want.to_vec();
    answer.addresses.sort();
    want.sort_unstable();
    assert_eq!(answer.code, 0, "{name} from {from}");
    assert_eq!(answer.addresses, want, "{name} from {from}");
}

#[test]
fn containers_know_each_other_by_name() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.kills();
    barge.run(["network", "create", "--internal", "--subnet", "10.71.0.0/24", "one"]).ok();
    let six = [
        "network",
        "create",
        "--internal",
        "--ipv6",
        "--subnet",
        "10.72.0.0/24",
        "--subnet",
        "fd72::/64",
        "Six",
    ];
    barge.run(six).ok();
    let nameless = [
        "network",
        "create",
        "--internal",
        "--disable-dns",
        "--subnet",
        "10.73.0.0/24",
        "nameless",
    ];
    barge.run(nameless).ok();
    let start = |name: &str, flags: &[&str]| {
        let line = ["run", "-d", "--name", name];
        barge.run([&line[..], flags, &["busybox", "sleep", "1000"]].concat()).ok().text()
    };
    let db =
        start("Db", &["--hostname", "box.example", "--network", "one:alias=data.base,alias=any"]);
    start("web", &["--network", "one:alias=any", "--network", "Six"]);
    start("other", &["--network", "Six"]);
    start("mute", &["--network", "nameless"]);
    for name in ["db", "DB", &db[..12], "box.example", "data.base", "db.dns.podman", "db.one"] {
        knows(&barge, "web", name, A, &["10.71.0.2"]);
        // There is such a name, and it has no IPv6.
        knows(&barge, "web", name, AAAA, &[]);
        knows(&barge, "web", name, TXT, &[]);
    }
    knows(&barge, "Db", "any", A, &["10.71.0.2", "10.71.0.3"]);
    knows(&barge, "Db", "web", A, &["10.71.0.3"]);
    knows(&barge, "other", "web", A, &["10.72.0.2"]);
    knows(&barge, "other", "web.six", AAAA, &["fd72::2"]);
    knows(&barge, "web", "web", A, &["10.71.0.3", "10.72.0.2"]);
    let names = ["any", "box.example", "data.base", "db", &db[..12]];
    knows(&barge, "web", "2.0.71.10.in-addr.arpa", PTR, &names);
    let six = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.7.d.f.ip6.arpa";
    knows(&barge, "other", six, PTR, &["web", &barge.inspect("web", "{{.Id}}")[..12]]);
    // What is not on a network of one's own is nobody, and so is all the rest where nothing leads out.
    for (from, name) in [
        ("other", "db"),
        ("other", "any"),
        ("Db", "other"),
        ("web", "mute"),
        ("web", "example.org"),
    ] {
        let answer = ask(&barge, from, name, A);
        assert_eq!((answer.code, answer.addresses), (3, Vec::new()), "{name} from {from}");
    }
    barge
        .run(["exec", "web", "cat", "/etc/resolv.conf"])
        .ok()
        .stdout_has("nameserver 127.0.0.11\n");
    barge.run(["exec", "mute", "cat", "/etc/resolv.conf"]).ok().stdout_lacks("127.0.0.11");
    let streamed = ask_by_stream(&barge, "web", ["db", "nosuch"]);
    assert_eq!(streamed[0].addresses, ["10.71.0.2"]);
    assert_eq!((streamed[0].code, streamed[1].code), (0, 3));
    // The container's own name server may have the port.
    within(&barge, "web", || {
        drop((UdpSocket::bind("0.0.0.0:53").unwrap(), TcpListener::bind("0.0.0.0:53").unwrap()));
    });
    // A new address is known at once, and one that is gone is not, whoever has ended it.
    barge.run(["restart", "-t", "0", "Db"]).ok();
    knows(&barge, "web", "db", A, &["10.71.0.4"]);
    let monitor = super::support::leaks::processes().into_iter().find(|process| {
        let line = process.command_line();
        line.contains("monitor") && line.contains(&db)
    });
    super::support::tool("kill", ["-9", &monitor.unwrap().pid.to_string()]);
    wait_until("its name is gone", || ask(&barge, "web", "db", A).code == 3);
    barge.run(["network", "rm", "-f", "-t", "0", "one", "Six", "nameless"]).ok();
    barge.leaves_nothing();
}

/// Answers with an address that ends in `last`, or as the asker's, for names below example, with a long text for `long`, and
/// is silent at `silent`.
fn serve_names(datagrams: UdpSocket, listener: TcpListener, last: Option<u8>) {
    fn answer(question: &[u8], last: u8, stream: bool) -> Option<Vec<u8>> {
        let is = |word: &[u8]| question.windows(word.len()).any(|it| it == word);
        let end = question.len() - 11;
        let mut message = question[..end].to_vec();
        message[2] = 0x81;
        message[3] = 0x80;
        message[11] = 0;
        if is(b"\x06silent") {
            return None;
        }
        if is(b"\x04long") && !stream {
            message[2] |= 2;
            return Some(message);
        }
        let count: u16 = if is(b"\x04long") { 1000 } else { 1 };
        message[6..8].copy_from_slice(&count.to_be_bytes());
        for _ in 0..count {
            message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4]);
            message.extend([192, 0, 2, last]);
        }
        Some(message)
    }
    thread::spawn(move || {
        let mut message = [0; 2048];
        while let Ok((length, client)) = datagrams.recv_from(&mut message) {
            let IpAddr::V4(asker) = client.ip() else { continue };
            let last = last.unwrap_or(asker.octets()[3]);
            if let Some(answer) = answer(&message[..length], last, false) {
                let _gone = datagrams.send_to(&answer, client);
            }
        }
    });
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut length = [0; 2];
            while stream.read_exact(&mut length).is_ok() {
                let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut question).unwrap();
                let answer = answer(&question, last.unwrap_or(0), true).unwrap();
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                stream.write_all(&length).unwrap();
                stream.write_all(&answer).unwrap();
            }
        }
    });
}

#[test]
fn other_names_are_asked_of_name_servers() {
    if !needs(&[Need::Root]) {
        return;
    }
    let mut barge = Barge::with_busybox();
    // The machine has a stub of its own, which nobody else reaches, behind one that is dead.
    let file =
        barge.file("resolv.conf", "nameserver 127.0.0.54\nnameserver 127.0.0.53\nsearch example\n");
    let place = barge.place().with_mounts(&format!("mount --bind {file} /etc/resolv.conf"));
    barge.move_to(place);
    let sockets = |address: &str| {
        let address = format!("{address}:53");
        barge
            .place()
            .enter(|| (UdpSocket::bind(&address).unwrap(), TcpListener::bind(&address).unwrap()))
    };
    for (address, last) in [("127.0.0.53", 53), ("127.0.0.55", 55)] {
        let (datagrams, listener) = sockets(address);
        serve_names(datagrams, listener, Some(last));
    }
    barge.run(["network", "create", "--subnet", "10.71.0.0/24", "n"]).ok();
    barge.run(["run", "-d", "--name", "box", "--network", "n", "busybox", "sleep", "1000"]).ok();
    knows(&barge, "box", "www.example", A, &["192.0.2.53"]);
    barge
        .run(["exec", "box", "cat", "/etc/resolv.conf"])
        .ok()
        .stdout("nameserver 127.0.0.11\nsearch example\noptions ndots:0\n");
    // What is too long for a datagram is asked for again by TCP.
    let short = ask(&barge, "box", "long.example", A);
    assert!(short.truncated && short.addresses.is_empty(), "{short:?}");
    let streamed = ask_by_stream(&barge, "box", ["long.example", "box"]);
    assert_eq!(
        (streamed[0].addresses.len(), streamed[0].addresses[999].as_str()),
        (1000, "192.0.2.53")
    );
    assert!(streamed[0].length > 16000);
    assert_eq!(streamed[1].addresses, ["10.71.0.2"]);
    // A name server that does not answer is followed by the next one, and at last by a failure; all
    // others are answered meanwhile.
    thread::scope(|scope| {
        let barge = &barge;
        let pid = barge.inspect("box", "{{.State.Pid}}");
        let silent = scope.spawn(move || {
            let netns = File::open(format!("/proc/{pid}/ns/net")).unwrap();
            setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            let question = question("silent.example", A);
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            socket.send_to(&question, RESOLVER).unwrap();
            let mut message = [0; 512];
            let length = socket.recv(&mut message).unwrap();
            read(&message[..length], &question).code
        });
        knows(barge, "box", "www.example", A, &["192.0.2.53"]);
        assert_eq!(silent.join().unwrap(), 2);
    });
    // The machine has moved to another network.
    std::fs::write(&file, "nameserver 127.0.0.55\n").unwrap();
    knows(&barge, "box", "www.example", A, &["192.0.2.55"]);
    // Rubbish is answered, or not, and does no harm.
    within(&barge, "box", || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for length in 0..64 {
            socket.send_to(&vec![0xc0; length], RESOLVER).unwrap();
            socket.send_to(&question("x.example", A)[..length.min(20)], RESOLVER).unwrap();
        }
        for bytes in [&[0, 0][..], &[0xff, 0xff, 1, 2], &[0, 1, 9]] {
            TcpStream::connect(RESOLVER).unwrap().write_all(bytes).unwrap();
        }
    });
    knows(&barge, "box", "box", A, &["10.71.0.2"]);
}

#[test]
fn name_servers_that_were_named_are_asked_from_within() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.run(["network", "create", "--subnet", "10.71.0.0/24", "--dns", "10.71.0.1", "n"]).ok();
    let start = |name: &str, flags: &[&str]| {
        let line = [&["run", "-d", "--name", name], flags, &["busybox", "sleep", "1000"]].concat();
        barge.run(line).ok();
    };
    start("a", &["--network", "n:ip=10.71.0.51"]);
    // The network has it, and so this machine has, once somebody is on it.
    let (datagrams, listener) = barge.place().enter(|| {
        (UdpSocket::bind("10.71.0.1:53").unwrap(), TcpListener::bind("10.71.0.1:53").unwrap())
    });
    // It sees who asks.
    serve_names(datagrams, listener, None);
    start("b", &["--network", "n:ip=10.71.0.52", "--dns", "10.71.0.1"]);
    for (name, address) in [("a", "192.0.2.51"), ("b", "192.0.2.52")] {
        knows(&barge, name, "www.example", A, &[address]);
        knows(&barge, name, "a", A, &["10.71.0.51"]);
        let shown = barge.run(["exec", name, "cat", "/etc/resolv.conf"]).ok();
        shown.stdout_has("nameserver 127.0.0.11\n");
    }
}

#[test]
fn programs_find_services_by_name() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.run(["network", "create", "n"]).ok();
    let serve = "mkdir /www; echo page of $HOSTNAME > /www/index.html; exec httpd -f -p 80 -h /www";
    let line = ["run", "-d", "--name", "web", "--hostname", "web", "--network", "n:alias=site"];
    barge.run([&line[..], &["busybox", "sh", "-c", serve]].concat()).ok();
    let script =
        "curl -sS --retry 9 --retry-connrefused http://web/ http://site/ && getent hosts site";
    let line = ["run", "--rm", "--network", "n", "builtin/host", "sh", "-c", script];
    barge.run(line).ok().stdout("page of web\npage of web\n10.89.0.2       site\n");
}

/// What a name server in a container knows, by the flags of dnsmasq.
const RECORDS: [&str; 8] = [
    "--local=/example.test/",
    "--srv-host=_sip._tcp.example.test,sip.example.test,5060,10,20",
    "--srv-host=_sip._tcp.example.test,more.example.test,5061,20,0",
    "--txt-record=text.example.test,v=spf1 -all,second",
    "--mx-host=example.test,mail.example.test,5",
    "--caa-record=example.test,0,issue,ca.example",
    "--cname=alias.example.test,real.example.test",
    "--host-record=real.example.test,192.0.2.7,2001:db8::7",
];

#[test]
fn records_of_all_kinds_come_from_name_servers() {
    if !needs(&[Need::Tool("dnsmasq"), Need::Tool("dig")]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.run(["network", "create", "--subnet", "10.71.0.0/24", "n"]).ok();
    // A text of 2,000 bytes in pieces, as long ones are.
    let long =
        format!("--txt-record=long.example.test{}", format!(",{}", "x".repeat(199)).repeat(10));
    let serve = [
        &[
            "run",
            "-d",
            "--name",
            "names",
            "--network",
            "n:ip=10.71.0.53",
            "builtin/host",
            "dnsmasq",
        ],
        &["-d", "--conf-file=/dev/null", "--user=root", "--no-resolv", "--no-hosts"][..],
        &["--edns-packet-max=4096", &long],
        &RECORDS,
    ];
    barge.run(serve.concat()).ok();
    let client = ["run", "-d", "--name", "box", "--network", "n", "--dns", "10.71.0.53"];
    barge.run([&client[..], &["builtin/host", "sleep", "1000"]].concat()).ok();
    let dig = |words: &[&str]| {
        let line = ["exec", "box", "dig", "+tries=1", "+time=20"];
        barge.run([&line[..], words].concat()).exits(0)
    };
    wait_until("it answers", || {
        let line = ["exec", "box", "dig", "+short", "real.example.test"];
        barge.run(line).stdout == b"192.0.2.7\n"
    });
    let answers = [
        (
            "SRV",
            "_sip._tcp.example.test",
            "10 20 5060 sip.example.test.\n20 0 5061 more.example.test.\n",
        ),
        ("TXT", "text.example.test", "\"v=spf1 -all\" \"second\"\n"),
        ("MX", "example.test", "5 mail.example.test.\n"),
        ("CAA", "example.test", "0 issue \"ca.example\"\n"),
        ("AAAA", "alias.example.test", "2001:db8::7\nreal.example.test.\n"),
        ("PTR", "7.2.0.192.in-addr.arpa", "real.example.test.\n"),
    ];
    for (kind, name, want) in answers {
        for way in ["+notcp", "+tcp"] {
            let mut lines = dig(&["+short", way, kind, name]).ok().lines();
            lines.sort();
            assert_eq!(lines, want.lines().collect::<Vec<_>>(), "{kind} {name} {way}");
        }
    }
    // How long a datagram may be is what the asker says; what is longer comes by TCP.
    let long = |words: &[&str]| dig(&[words, &["TXT", "long.example.test"]].concat());
    let all =
        long(&["+bufsize=4096", "+ignore"]).stdout_has("EDNS: version: 0").stdout_has("(UDP)");
    assert!(all.text().contains(&"x".repeat(199)), "{}", all.text());
    for flags in [&["+bufsize=1232"][..], &["+noedns"]] {
        let cut = long(&[flags, &["+ignore"]].concat()).stdout_has("flags: qr aa tc");
        cut.stdout_lacks("xxx").stdout_has("(UDP)");
        long(flags).stdout_has("(TCP)").stdout_has(&"x".repeat(199));
    }
    // What is ours has such a record only if it was asked for it, and no others.
    for (flags, has) in [("+edns=0", true), ("+noedns", false)] {
        let own = dig(&[flags, "names"]).stdout_has("10.71.0.53");
        assert_eq!(own.text().contains("EDNS: version: 0"), has, "{}", own.text());
    }
    for kind in ["SRV", "TXT", "MX"] {
        dig(&[kind, "names"]).stdout_has("status: NOERROR").stdout_has("ANSWER: 0");
    }
    dig(&["SRV", "_none._tcp.example.test"]).stdout_has("status: NXDOMAIN");
}
