//! Use cases: one verb a file. Prints nothing, has no globals.

pub mod images;
