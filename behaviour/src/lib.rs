//! The plugin author's tool.
//!
//! [`create`] writes a small plugin to begin with, [`setup`] brings what its
//! language is built with, [`build`] makes it a component that a host can load, a
//! [`desk::Desk`] calls it without a network, and [`cases`] hold it to what it
//! promises. The program `behaviour` is a thin front of this library; the
//! tutorial and the tests call it directly, so that neither needs a step before
//! it.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may stop at the first surprise"))]

mod build;
pub mod cases;
mod create;
pub mod desk;
mod language;
mod name;
mod wit;

pub use build::{BuildError, BuildOptions, Built, Progress, build, setup};
pub use create::{CreateError, create};
pub use language::{Language, UnknownLanguage};
