//! Extended attributes that belong to a file, and not to where it happens to lie.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{fgetxattr, flistxattr};
use rustix::io::Errno;

/// Those that the kernel gives files by itself, and overlay's own marks: in an image they would be
/// wrong on the next machine, or choose what overlay shows there.
const NOT_ITS_OWN: [&[u8]; 6] = [
    b"trusted.overlay.",
    b"user.overlay.",
    b"security.selinux",
    b"security.ima",
    b"security.evm",
    b"system.nfs4_acl",
];

/// Returns the attributes of an open file or directory, by name.
pub fn of(file: impl AsFd) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let list = match filled(|space| flistxattr(&file, space)) {
        Ok(list) => list,
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut attributes = Vec::new();
    for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        // What an archive could not name is left out.
        if NOT_ITS_OWN.iter().any(|prefix| name.starts_with(prefix)) || name.contains(&b'=') {
            continue;
        }
        match filled(|space| fgetxattr(&file, name, space)) {
            Ok(value) => attributes.push((name.to_vec(), value)),
            // It has just gone, or is not ours to see.
            Err(Errno::NODATA | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    attributes.sort();
    Ok(attributes)
}

/// Calls something with more and more space until its answer fits.
fn filled(mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    // Most files have none.
    let mut small = [0; 256];
    match read(&mut small) {
        Ok(length) => return Ok(small[..length].to_vec()),
        Err(Errno::RANGE) => {}
        Err(error) => return Err(error),
    }
    let mut space = vec![0; 4096];
    loop {
        match read(&mut space) {
            Ok(length) => {
                space.truncate(length);
                return Ok(space);
            }
            // No list and no value is longer than 64 KiB.
            Err(Errno::RANGE) if space.len() <= 1 << 16 => space.resize(space.len() * 4, 0),
            Err(error) => return Err(error),
        }
    }
}
