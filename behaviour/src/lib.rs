//! The plugin author's tool.
//!
//! [`build`] compiles a guest crate to a component that a host can load. The
//! program `behaviour` is a thin front of this library; the tutorial and the
//! tests call it directly, so that neither needs a step before it.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may stop at the first surprise"))]

mod build;

pub use build::{BuildError, BuildOptions, Built, Progress, build};
