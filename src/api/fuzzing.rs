//! What the fuzz targets of `tests/fuzz` need to reach: what decodes the requests of clients.

use super::query::Query;
use super::{containers, credentials, networks, route};
use crate::spec::filter::Filter;

/// Decodes a request, as far as that goes without a store.
pub fn request(method: &str, target: &str, field: &str, body: &[u8]) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    drop(route::find(method, path));
    let query = Query::new(query);
    drop(query.filters().as_deref().map(<[Filter]>::len));
    query.truth("all", true);
    credentials::read(field);
    containers::read(body);
    networks::read(body);
}
