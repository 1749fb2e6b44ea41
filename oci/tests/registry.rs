//! Tests of the client with a scripted server and with a real registry.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

#[path = "registry/authorization.rs"]
mod authorization;
#[path = "registry/blobs.rs"]
mod blobs;
#[path = "registry/documents.rs"]
mod documents;
#[path = "registry/scripted.rs"]
mod scripted;
