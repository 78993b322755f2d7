//! The kernel made safe: the only module with `unsafe`. Returns `io::Error`.

pub mod netlink;
pub mod netns;
