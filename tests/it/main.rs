//! One test binary. Tests read like sentences; [`harness`] has the app they talk to, [`program`] the real binary.

mod harness;
mod program;

mod cli;
mod crash;
mod directory;
mod documents;
mod house;
mod links;
mod outside;
mod partner;
mod privacy;
mod smtp;
mod transport;
mod versions;
