//! The real registry: Debian's docker-registry on a loopback port, as a process of the test.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::place::Place;
use super::{eventually, fixture, tool};

/// `user` and `secret` in the form of `htpasswd -B`.
const USERS: &str = "user:$2y$05$Urj464wjofWfETZepCB.kO6.ka2EZXEDpbfDfemdOSSY6MMiy11oG\n";
const READ_ONLY: &str = "maintenance: {readonly: {enabled: true}}";

/// A running registry; it ends when it is dropped.
pub(crate) struct Registry {
    child: Child,
    address: String,
    _settings: TempDir,
}

impl Registry {
    /// Starts a registry with the shared images where `place` can reach it. Nobody can push to it.
    pub(crate) fn start(place: &Place) -> Self {
        Self::serve(&fixture::boxes(), place, READ_ONLY)
    }

    /// Starts a registry with the image of nginx and redis where `place` can reach it.
    pub(crate) fn with_web(place: &Place) -> Self {
        Self::serve(&fixture::web(), place, READ_ONLY)
    }

    /// Starts a registry with the image of PostgreSQL and Python where `place` can reach it.
    pub(crate) fn with_database(place: &Place) -> Self {
        Self::serve(&fixture::database(), place, READ_ONLY)
    }

    /// Starts an empty registry for pushing on the host.
    pub(crate) fn writable(storage: &Path) -> Self {
        fs::create_dir_all(storage).expect("there is space");
        Self::serve(storage, &Place::host(), "delete: {enabled: true}")
    }

    /// Starts an empty registry where `place` can reach it.
    pub(crate) fn empty(place: &Place) -> Self {
        let settings = tempfile::tempdir().expect("there is space");
        let storage = settings.path().join("storage");
        Self::serve_with(&storage, place, "delete: {enabled: true}", "", settings)
    }

    /// Starts a registry that asks for a name and a password: `user` and `secret`.
    pub(crate) fn with_password(place: &Place) -> Self {
        let settings = tempfile::tempdir().expect("there is space");
        fs::write(settings.path().join("users"), USERS).expect("there is space");
        let extra = format!(
            "maintenance: {{readonly: {{enabled: true}}}}\n\
             auth: {{htpasswd: {{realm: tests, path: {}/users}}}}",
            settings.path().display()
        );
        Self::serve_with(&fixture::boxes(), place, &extra, "", settings)
    }

    /// As [`with_password`](Self::with_password), with a certificate of an authority of the test's own.
    ///
    /// `certificates` receives that authority, `ca.crt`, and a client's certificate that it gave,
    /// `client.cert` and `client.key`; nobody is served who does not show one.
    pub(crate) fn with_tls(place: &Place, certificates: &Path) -> Self {
        Self::secured(place, certificates, true)
    }

    /// As [`Registry::with_tls`], for whoever trusts its authority; it is called `registry.example`, too.
    pub(crate) fn with_https(place: &Place, certificates: &Path) -> Self {
        Self::secured(place, certificates, false)
    }

    fn secured(place: &Place, certificates: &Path, asks: bool) -> Self {
        let settings = tempfile::tempdir().expect("there is space");
        let path = |name: &str| settings.path().join(name).display().to_string();
        let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let request = |kind: &[&str], name: &str| {
            let (key, out) = (path(&format!("{name}.key")), path(&format!("{name}.pem")));
            let subject = format!("/CN={name}");
            let rest = ["-keyout", &key, "-out", &out, "-subj", &subject];
            tool("openssl", [&["req"], kind, &new_key, &rest].concat());
        };
        request(&["-x509", "-days", "2"], "ca");
        fs::write(
            path("names"),
            "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:registry.example\n",
        )
        .expect("space");
        for name in ["server", "client"] {
            request(&["-new"], name);
            let (asked, given) = (path(&format!("{name}.pem")), path(&format!("{name}.crt")));
            let (ca, key, names) = (path("ca.pem"), path("ca.key"), path("names"));
            tool(
                "openssl",
                [
                    "x509",
                    "-req",
                    "-days",
                    "2",
                    "-in",
                    &asked,
                    "-out",
                    &given,
                    "-CA",
                    &ca,
                    "-CAkey",
                    &key,
                    "-CAcreateserial",
                    "-extfile",
                    &names,
                ],
            );
        }
        fs::create_dir_all(certificates).expect("there is space");
        for (from, to) in
            [("ca.pem", "ca.crt"), ("client.crt", "client.cert"), ("client.key", "client.key")]
        {
            fs::copy(path(from), certificates.join(to)).expect("there is space");
        }
        let clients = match asks {
            true => format!(", clientcas: [{}]", path("ca.pem")),
            false => String::new(),
        };
        let tls = format!(
            ", tls: {{certificate: {}, key: {}{clients}}}",
            path("server.crt"),
            path("server.key"),
        );
        fs::write(path("users"), USERS).expect("there is space");
        let extra =
            format!("{READ_ONLY}\nauth: {{htpasswd: {{realm: tests, path: {}}}}}", path("users"));
        Self::serve_with(&fixture::boxes(), place, &extra, &tls, settings)
    }

    fn serve(storage: &Path, place: &Place, extra: &str) -> Self {
        Self::serve_with(storage, place, extra, "", tempfile::tempdir().expect("there is space"))
    }

    fn serve_with(
        storage: &Path,
        place: &Place,
        extra: &str,
        tls: &str,
        settings: TempDir,
    ) -> Self {
        let address = format!("127.0.0.1:{}", free_port(place));
        let file = settings.path().join("settings.yml");
        let (in_storage, top) = extra.split_once('\n').unwrap_or((extra, ""));
        let text = format!(
            "version: 0.1\n\
             log: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage:\n  filesystem: {{rootdirectory: {}}}\n  {in_storage}\n\
             http: {{addr: \"{address}\"{tls}}}\n\
             {top}\n",
            storage.display(),
        );
        fs::write(&file, text).expect("there is space");
        let log = settings.path().join("log");
        let output = fs::File::create(&log).expect("there is space");
        let mut command = Command::new("docker-registry");
        command
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("it can be shared"))
            .stderr(output);
        let child = place.enter(|| command.spawn()).expect("docker-registry is installed");
        let mut registry = Self { child, address, _settings: settings };
        let up = eventually(Duration::from_secs(60), || {
            assert!(
                registry.child.try_wait().is_ok_and(|ended| ended.is_none()),
                "the registry ended: {}",
                fs::read_to_string(&log).unwrap_or_default()
            );
            place.enter(|| TcpStream::connect(&registry.address)).is_ok()
        });
        assert!(
            up,
            "the registry does not listen: {}",
            fs::read_to_string(&log).unwrap_or_default()
        );
        registry
    }

    /// Copies an image to this registry.
    pub(crate) fn push(&self, source: &str, name: &str, options: &[&str]) {
        let target = self.transport(name);
        let mut line = vec!["--insecure-policy", "copy", "-q", "--all", "--dest-tls-verify=false"];
        line.extend(options);
        line.extend([source, target.as_str()]);
        tool("skopeo", line);
    }

    /// Returns the full reference of an image in this registry.
    pub(crate) fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    fn transport(&self, name: &str) -> String {
        format!("docker://{}", self.reference(name))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns a port of the loopback interface on which nobody listens.
pub(crate) fn free_port(place: &Place) -> u16 {
    let listener = place.enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let address = listener.expect("loopback is up").local_addr();
    address.expect("it is bound").port()
}
