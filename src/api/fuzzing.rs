//! What the fuzz targets of `tests/fuzz` need to reach: what decodes the requests of clients.

use std::io::{self, Cursor, Write};

use super::query::Query;
use super::reply::Head;
use super::request::{Answer, Asked, Call};
use super::{
    build, buildkit, commit, containers, credentials, exec, networks, route, secrets, serve,
    volumes,
};

/// Decodes a request as each endpoint would, as far as that goes without a store.
pub fn request(method: &str, target: &str, field: &str, body: &[u8]) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Ok((version, path)) = serve::versioned(path) else { return };
    let names = route::find(method, path).map(|(_, names)| names).unwrap_or_default();
    let query = Query::new(query);
    drop(query.filters());
    query.truth("all", true);
    credentials::read(field);
    containers::read(body);
    networks::read(body);
    buildkit::read(body);
    let fields = ["x-registry-auth", "x-registry-config", "accept", "upgrade", "content-type"];
    let asked = Asked {
        method: method.to_owned(),
        target: target.to_owned(),
        version: version.to_string(),
        fields: fields.map(|name| (name.to_owned(), field.to_owned())).into(),
    };
    let decoders: [fn(&mut Call); 8] = [
        |call| drop(build::options(call)),
        |call| drop(build::pruning(call)),
        |call| drop(commit::options(call)),
        |call| drop(credentials::of_request(call, "localhost")),
        |call| drop(credentials::of_build(call)),
        |call| drop(exec::asked(call)),
        |call| drop(volumes::wanted(call)),
        secrets::read,
    ];
    for decode in decoders {
        let body = Box::new(Cursor::new(body.to_vec()));
        if let Ok(mut call) = Call::new(asked.clone(), names.clone(), body, Box::new(Nobody)) {
            decode(&mut call);
        }
    }
}

/// Who hears no answer.
struct Nobody;

impl Write for Nobody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Answer for Nobody {
    fn begin(&mut self, _: Head) -> io::Result<()> {
        Ok(())
    }

    fn is_wanted(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;
    use std::time::{Duration, Instant};

    use super::*;

    /// Requests from which others are made: method and target, a header field, a body.
    const SEEDS: [(&str, &str, &str); 12] = [
        (
            "POST /v1.45/containers/create?name=a%2Fb&platform=linux/amd64",
            "eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InAifQ==",
            r#"{"Image":"alpine:3","Cmd":["sh","-c","true"],"Env":["A=1","B"],"ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["CMD","x"],"Interval":1000000000},"StopSignal":"SIGTERM","StopTimeout":3,"HostConfig":{"Binds":["/a:/b:ro,z","v:/c"],"Mounts":[{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":5,"Mode":448}}],"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8000-8010"}]},"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3},"Memory":-1,"NanoCpus":1,"CpusetCpus":"0-3","Ulimits":[{"Name":"nofile","Soft":1,"Hard":-1}],"Devices":[{"PathOnHost":"/dev/fuse","CgroupPermissions":"rwm"}],"LogConfig":{"Type":"json-file","Config":{"max-size":"1m"}},"NetworkMode":"net","ExtraHosts":["a:1.2.3.4"],"Tmpfs":{"/x":"size=1m,mode=1777"},"BlkioDeviceReadBps":[{"Path":"/dev/sda","Rate":1}],"SecurityOpt":["seccomp=unconfined"],"Sysctls":{"net.a":"1"},"UsernsMode":"keep-id:uid=1"},"NetworkingConfig":{"EndpointsConfig":{"net":{"IPAMConfig":{"IPv4Address":"10.1.2.3"},"Aliases":["x"],"Links":["a:b"]}}}}"#,
        ),
        (
            "POST /containers/x/exec",
            "h2c",
            r#"{"AttachStdin":true,"Cmd":["sh"],"DetachKeys":"ctrl-p,ctrl-q","Env":["A=b"],"Tty":true,"ConsoleSize":[24,80],"User":"0:0","WorkingDir":"/"}"#,
        ),
        (
            "POST /v1.41/build?t=a:1&t=b&buildargs=%7B%22A%22%3A%221%22%7D&labels=%7B%7D&cachefrom=%5B%22x%22%5D&ulimits=%5B%7B%22Name%22%3A%22core%22%2C%22Soft%22%3A0%2C%22Hard%22%3A0%7D%5D&memory=1&memswap=-1&platform=linux/arm64/v8&networkmode=host&extrahosts=a:1.2.3.4&shmsize=1",
            "eyJyLmV4YW1wbGUiOnsidXNlcm5hbWUiOiJ1In19",
            "",
        ),
        (
            "POST /build/prune?all=1&keep-storage=5&filters=%7B%22until%22%3A%5B%2224h%22%5D%7D",
            "",
            "",
        ),
        (
            "GET /containers/json?all=true&filters=%7B%22status%22%3A%7B%22running%22%3Atrue%7D%7D",
            "application/json-seq",
            "",
        ),
        (
            "POST /commit?container=a&repo=r:5000/x&tag=1&pause=0&changes=ENV%20A%3D1%0ACMD%20%5B%22x%22%5D",
            "",
            r#"{"Cmd":["sh"],"Env":["A=1"],"Labels":{"a":"b"},"ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["NONE"]}}"#,
        ),
        (
            "POST /networks/create",
            "",
            r#"{"Name":"n","Driver":"macvlan","IPAM":{"Driver":"default","Config":[{"Subnet":"10.1.0.0/16","Gateway":"10.1.0.1","IPRange":"10.1.2.0/24","AuxiliaryAddresses":{"a":"10.1.0.9"}}]},"Options":{"parent":"eth0.5"},"EnableIPv6":true,"Internal":true,"Labels":{"a":"b"}}"#,
        ),
        (
            "POST /volumes/create",
            "",
            r#"{"Name":"v","Driver":"local","DriverOpts":{"type":"tmpfs","o":"size=1m"},"Labels":null}"#,
        ),
        (
            "POST /secrets/create",
            "",
            r#"{"Name":"s","Data":"eA==","Labels":{},"Driver":{"Name":"x"}}"#,
        ),
        ("PUT /v1.24/containers/a/archive?path=%2Fa%2F..%2F..%2Fb&noOverwriteDirNonDir=1", "", ""),
        ("POST /images/create?fromImage=a%2Fb&tag=sha256:00", "e30", ""),
        ("POST /containers/a/update", "", r#"{"Memory":1,"RestartPolicy":{"Name":"always"}}"#),
    ];

    /// Numbers that look random (xorshift).
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, end: usize) -> usize {
            usize::try_from(self.next() % end.max(1) as u64).unwrap()
        }
    }

    /// What decoders trip over.
    const PIECES: [&str; 22] = [
        "",
        "null",
        "-1",
        "0",
        "18446744073709551616",
        "-9223372036854775808",
        "1e400",
        "\"\"",
        "{}",
        "[]",
        "[[[[[[[[",
        "%00",
        "%ff%fe",
        "../",
        "/",
        ":",
        "=",
        ",",
        "\u{0}",
        "\u{fffd}é",
        "99999999999999999999h",
        "sha256:",
    ];

    /// Changes a few places.
    fn mutated(text: &str, numbers: &mut Numbers) -> String {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=numbers.below(4) {
            let at = numbers.below(bytes.len() + 1);
            let end = (at + numbers.below(12)).min(bytes.len());
            match numbers.below(5) {
                0 => drop(bytes.drain(at..end)),
                1 => drop(bytes.splice(at..end, PIECES[numbers.below(PIECES.len())].bytes())),
                2 if at < bytes.len() => bytes[at] = numbers.below(256) as u8,
                3 => {
                    // A word in quotes becomes something else.
                    let piece = PIECES[numbers.below(PIECES.len())].bytes();
                    let quotes: Vec<usize> =
                        (0..bytes.len()).filter(|it| bytes[*it] == b'"').collect();
                    if let Some(pair) = quotes
                        .get(numbers.below(quotes.len())..)
                        .and_then(|it| it.first_chunk::<2>())
                    {
                        drop(bytes.splice(pair[0]..=pair[1], piece));
                    }
                }
                _ => {
                    let copy = bytes[at..end].repeat(1 + numbers.below(40));
                    drop(bytes.splice(at..at, copy));
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn no_request_makes_decoders_panic() {
        let until = Instant::now() + Duration::from_secs(3);
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        let mut count = 0;
        // A part of them in any case, however slow the machine is.
        while count < 2000 || Instant::now() < until {
            let (line, field, body) = SEEDS[numbers.below(SEEDS.len())];
            let (mut line, mut field, mut body) =
                (line.to_owned(), field.to_owned(), body.to_owned());
            match numbers.below(4) {
                0 => line = mutated(&line, &mut numbers),
                1 => field = mutated(&field, &mut numbers),
                _ => body = mutated(&body, &mut numbers),
            }
            let (method, target) = line.split_once(' ').unwrap_or(("GET", &line));
            let tried = catch_unwind(|| request(method, target, &field, body.as_bytes()));
            assert!(tried.is_ok(), "after {count}: {line:?} {field:?} {body:?}");
            count += 1;
        }
    }
}
