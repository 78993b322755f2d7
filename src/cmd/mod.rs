//! The command line: parse flags, make one engine call, print.
