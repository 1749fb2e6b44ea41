//! The plugin author's tool, which creates, builds, calls and tests plugins.
//!
//! The program `behaviour` is a thin front end of this library. The tutorial and the tests
//! call the library directly, so they need no installed program.
//!
//! ```
//! use behaviour::desk::{self, Desk, ExportCall};
//! use plugin::PluginSettings;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file = "../plugin/fixtures/reply.wat";
//! let plugin = desk::load(file.as_ref(), PluginSettings::default())?;
//! let call = ExportCall::Method { name: "greet", payload: r#""world""# };
//! let outcome = Desk::default().call(&plugin, &call);
//! let answer = outcome.answer.map_err(|failure| failure.message())?.ok_or("no answer")?;
//! assert_eq!(answer.status, 200);
//! assert_eq!(answer.payload.as_ref().map(|json| json.get()), Some(r#""world""#));
//! # Ok(())
//! # }
//! ```
//!
//! `cargo run -p behaviour --example cases -- FILE FOLDER` tests a component with cases.
//!
//! # Layout
//!
//! * [`create`]: creates a starter plugin.
//! * [`setup`]: fetches the tools of a language.
//! * [`build`]: compiles a plugin to a component that a host can load.
//! * [`desk`]: calls a component without a network, in virtual time.
//! * [`cases`]: test cases of a plugin, one JSON file each.
//! * [`Language`]: the languages in which a plugin can be written.
//!
//! This crate does not connect to a hub and installs nothing outside its cache.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test"))]

mod build;
pub mod cases;
mod create;
pub mod desk;
mod language;
mod name;
mod wit;

pub use build::{BuildError, BuildOptions, BuiltComponent, Progress, build, setup};
pub use create::{CreateError, Starter, create, create_from};
pub use language::{Language, UnknownLanguage};
