//! Images made by the tests themselves: layers as tar streams, and OCI layouts that hold them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A tar stream in the making. Names are written as they are, however hostile.
pub(crate) struct Tar {
    builder: Builder<Vec<u8>>,
    owner: (u64, u64),
}

impl Tar {
    /// Begins an empty stream.
    pub(crate) fn new() -> Self {
        Self { builder: Builder::new(Vec::new()), owner: (0, 0) }
    }

    /// Gives what is added from now on to a user and a group.
    pub(crate) fn owned_by(self, uid: u64, gid: u64) -> Self {
        Self { owner: (uid, gid), ..self }
    }

    /// Adds a file.
    pub(crate) fn file(self, name: &str, mode: u32, content: impl AsRef<[u8]>) -> Self {
        self.entry(EntryType::Regular, name, mode, "", content.as_ref())
    }

    /// Adds a directory.
    pub(crate) fn directory(self, name: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, name, mode, "", &[])
    }

    /// Adds a symbolic link.
    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, 0o777, target, &[])
    }

    /// Adds a hard link.
    pub(crate) fn hardlink(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name, 0o644, target, &[])
    }

    fn entry(
        mut self,
        kind: EntryType,
        name: &str,
        mode: u32,
        target: &str,
        content: &[u8],
    ) -> Self {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        // Past the library's checks: hostile names are the point.
        let fields = header.as_old_mut();
        assert!(name.len() < 100 && target.len() < 100, "too long for a plain header");
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        self.builder.append(&header, content).expect("memory takes it");
        self
    }

    /// Ends the stream.
    pub(crate) fn bytes(self) -> Vec<u8> {
        self.builder.into_inner().expect("memory takes it")
    }
}

/// How a layer is compressed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Packing {
    /// Not at all.
    Plain,
    /// By gzip.
    Gzip,
    /// By zstd.
    Zstd,
}

/// Compresses a layer.
pub(crate) fn pack(bytes: &[u8], packing: Packing) -> Vec<u8> {
    match packing {
        Packing::Plain => bytes.to_vec(),
        Packing::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes).expect("memory takes it");
            encoder.finish().expect("memory takes it")
        }
        Packing::Zstd => zstd::encode_all(bytes, 1).expect("memory takes it"),
    }
}

/// Returns the digest of some bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    named(&Sha256::digest(bytes))
}

fn named(hash: &[u8]) -> String {
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// Returns the 64 digits of a digest.
pub(crate) fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").expect("it is a sha256 digest")
}

/// A layer and what a manifest says of it.
#[derive(Clone)]
pub(crate) struct Blob {
    /// Digest of the bytes before compression.
    pub(crate) diff_id: String,
    /// The descriptor.
    pub(crate) descriptor: Value,
}

/// A directory in the form of an OCI layout.
pub(crate) struct Layout {
    directory: PathBuf,
    manifests: Vec<Value>,
}

impl Layout {
    /// Begins a layout in a directory that is made.
    pub(crate) fn new(directory: &Path) -> Self {
        fs::create_dir_all(directory.join("blobs/sha256")).expect("there is space");
        fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
            .expect("there is space");
        Self { directory: directory.to_owned(), manifests: Vec::new() }
    }

    /// Returns the file of a blob.
    pub(crate) fn blob_path(&self, digest: &str) -> PathBuf {
        self.directory.join("blobs/sha256").join(hex(digest))
    }

    fn put(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        fs::write(self.blob_path(&digest), bytes).expect("there is space");
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    /// Adds a layer.
    pub(crate) fn layer(&self, tar: &[u8], packing: Packing) -> Blob {
        let suffix = match packing {
            Packing::Plain => "",
            Packing::Gzip => "+gzip",
            Packing::Zstd => "+zstd",
        };
        let media_type = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
        let descriptor = self.put(&media_type, &pack(tar, packing));
        Blob { diff_id: digest(tar), descriptor }
    }

    /// Adds a layer from a file that may not fit into memory, compressed by gzip.
    pub(crate) fn layer_file(&self, tar: &Path) -> Blob {
        let temporary = self.directory.join("blobs/layer.new");
        let mut plain =
            Hashed { inner: File::open(tar).expect("it is there"), hash: Sha256::new() };
        let packed =
            Hashed { inner: File::create(&temporary).expect("space"), hash: Sha256::new() };
        let mut encoder = GzEncoder::new(packed, Compression::fast());
        std::io::copy(&mut plain, &mut encoder).expect("there is space");
        let packed = encoder.finish().expect("there is space");
        let size = fs::metadata(&temporary).expect("it is there").len();
        let digest = named(&packed.hash.finalize());
        fs::rename(&temporary, self.blob_path(&digest)).expect("it is there");
        let descriptor = json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": digest,
            "size": size,
        });
        Blob { diff_id: named(&plain.hash.finalize()), descriptor }
    }

    /// Adds an image and returns the descriptor of its manifest. `config` is the part for running it.
    pub(crate) fn image(&self, layers: &[Blob], config: &Value, architecture: &str) -> Value {
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let history: Vec<Value> = (0..layers.len())
            .map(
                |n| json!({ "created": "2026-01-02T03:04:05Z", "created_by": format!("step {n}") }),
            )
            .collect();
        let config = json!({
            "created": "2026-01-02T03:04:05Z",
            "architecture": architecture,
            "os": "linux",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": history,
        });
        let config = self.put(CONFIG, config.to_string().as_bytes());
        let layers: Vec<&Value> = layers.iter().map(|layer| &layer.descriptor).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        });
        let mut descriptor = self.put(MANIFEST, manifest.to_string().as_bytes());
        descriptor["platform"] = json!({ "os": "linux", "architecture": architecture });
        descriptor
    }

    /// Adds an index over several images and returns its descriptor.
    pub(crate) fn index(&self, manifests: &[Value]) -> Value {
        let index =
            json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string();
        self.put(INDEX, index.as_bytes())
    }

    /// Gives a manifest or an index a name.
    pub(crate) fn name(&mut self, descriptor: &Value, name: &str) {
        let mut named = descriptor.clone();
        named["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        self.manifests.push(named);
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests });
        fs::write(self.directory.join("index.json"), index.to_string()).expect("there is space");
    }
}

/// Passes bytes on and hashes them.
struct Hashed<T> {
    inner: T,
    hash: Sha256,
}

impl<T: Read> Read for Hashed<T> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

impl<T: Write> Write for Hashed<T> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Returns the architecture of this machine in the words of images.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
