//! Tests of the client with a scripted server, with a real registry and with other tools.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

#[path = "registry/authorization.rs"]
mod authorization;
#[path = "registry/blobs.rs"]
mod blobs;
#[path = "registry/debian.rs"]
mod debian;
#[path = "registry/documents.rs"]
mod documents;
#[path = "registry/packages.rs"]
mod packages;
#[path = "registry/real.rs"]
mod real;
#[path = "registry/scripted.rs"]
mod scripted;
#[path = "registry/tools.rs"]
mod tools;
