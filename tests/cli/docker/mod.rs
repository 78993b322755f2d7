//! Docker's own clients against `barge system service`: images, builds, networks, volumes.

mod build;
mod changed;
mod compose;
mod copying;
mod images;
mod networks;
mod rest;
mod schema;
mod sdk;
mod table;
mod traps;
mod volumes;
mod websocket;
