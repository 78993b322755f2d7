//! Well-formed archives with ill-willed entries: few names, so that they meet again and again.
#![no_main]

mod arena;

use libfuzzer_sys::fuzz_target;
use tar::Header;

const KINDS: &[u8] = b"0001223455667L";
const PARTS: [&str; 16] = [
    "a", "b", "c", ".", "..", "", "/", ".wh.a", ".wh.b", ".wh..wh..opq", ".wh.", ".wh..", "a/b",
    "b/../..", "root", "secret",
];

/// Takes a path of up to three parts from three bytes.
fn path(bytes: &[u8]) -> String {
    let parts = bytes.iter().take(1 + usize::from(bytes[0] >> 6) % 3);
    let parts: Vec<&str> = parts.map(|byte| PARTS[usize::from(byte & 15)]).collect();
    parts.join("/")
}

fuzz_target!(|data: &[u8]| {
    let mut archive = Vec::new();
    for bytes in data.chunks_exact(8) {
        let mut header = Header::new_gnu();
        let (name, link) = (path(&bytes[..3]), path(&bytes[3..6]));
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        let kind = KINDS[usize::from(bytes[6]) % KINDS.len()];
        fields.linkflag = [kind];
        header.set_mode(u32::from(bytes[7]) << 4);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let size = match kind {
            b'0' | b'7' => u64::from(bytes[7] & 3),
            b'L' => 2,
            _ => 0,
        };
        header.set_size(size);
        header.set_cksum();
        archive.extend_from_slice(header.as_bytes());
        if size > 0 {
            archive.extend_from_slice(&bytes[..usize::try_from(size).unwrap_or(0)]);
            archive.resize(archive.len().next_multiple_of(512), 0);
        }
    }
    archive.resize(archive.len() + 1024, 0);
    arena::within(|store| drop(barge::image::fuzzing::layer(store, &archive)));
});
