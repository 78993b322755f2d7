//! shim
use crate::error::Result;
use crate::spec::limits::Ulimit;
use oci_spec::runtime::PosixRlimit;
pub fn resolve(_u: &[Ulimit]) -> Result<Vec<PosixRlimit>> {
    Ok(vec![])
}
pub(super) fn apply(_l: &[PosixRlimit]) -> Result<()> {
    Ok(())
}
