//! Kinds and permissions of files, in the bits that Go gives them.

use rustix::fs::{FileType, RawMode};

const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;
const FIFO: u32 = 1 << 25;
const SOCKET: u32 = 1 << 24;
const SET_UID: u32 = 1 << 23;
const SET_GID: u32 = 1 << 22;
const CHARACTER: u32 = 1 << 21;
const STICKY: u32 = 1 << 20;
const IRREGULAR: u32 = 1 << 19;

/// Those that Unix has in other places.
const SPECIAL: [(u32, RawMode); 3] = [(SET_UID, 0o4000), (SET_GID, 0o2000), (STICKY, 0o1000)];

/// Returns what kind of file it is.
pub(super) fn kind(mode: u32) -> FileType {
    match mode & (DIRECTORY | SYMLINK | DEVICE | FIFO | SOCKET | IRREGULAR) {
        0 => FileType::RegularFile,
        DIRECTORY => FileType::Directory,
        SYMLINK => FileType::Symlink,
        DEVICE if mode & CHARACTER != 0 => FileType::CharacterDevice,
        DEVICE => FileType::BlockDevice,
        FIFO => FileType::Fifo,
        SOCKET => FileType::Socket,
        _ => FileType::Unknown,
    }
}

/// Returns the permissions as Unix has them.
pub(super) fn permissions(mode: u32) -> RawMode {
    let special = SPECIAL.iter().filter(|(ours, _)| mode & ours != 0).map(|(_, bit)| bit);
    special.fold(mode & 0o777, |all, bit| all | bit)
}

/// Returns the bits of a file that is here.
pub(super) fn of(mode: RawMode) -> u32 {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => DIRECTORY,
        FileType::Symlink => SYMLINK,
        FileType::CharacterDevice => DEVICE | CHARACTER,
        FileType::BlockDevice => DEVICE,
        FileType::Fifo => FIFO,
        FileType::Socket => SOCKET,
        FileType::RegularFile | FileType::Unknown => 0,
    };
    let special = SPECIAL.iter().filter(|(_, bit)| mode & bit != 0).map(|(ours, _)| ours);
    special.fold(kind | (mode & 0o777), |all, ours| all | ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn translates_modes() {
        for (mode, want_kind, want) in [
            (0o644, FileType::RegularFile, 0o644),
            (DIRECTORY | STICKY | 0o777, FileType::Directory, 0o1777),
            (SET_UID | SET_GID | 0o755, FileType::RegularFile, 0o6755),
            (SYMLINK | 0o777, FileType::Symlink, 0o777),
            (DEVICE | CHARACTER | 0o600, FileType::CharacterDevice, 0o600),
            (DEVICE | 0o600, FileType::BlockDevice, 0o600),
            (SOCKET | 0o600, FileType::Socket, 0o600),
            (DIRECTORY | SYMLINK, FileType::Unknown, 0),
        ] {
            assert_eq!((kind(mode), permissions(mode)), (want_kind, want), "{mode:o}");
            if want_kind != FileType::Unknown {
                assert_eq!(of(want_kind.as_raw_mode() | want), mode, "{mode:o}");
            }
        }
    }
}
