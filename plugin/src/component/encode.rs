//! Conversion of a core module to a component.
//!
//! Some bindings generators store the WIT of the world in a custom section of the core
//! module; [`encode`] needs nothing else. [`encode_for`] also converts modules without that
//! section or built for WASI 0.1. Only the author's tool uses it, because a host adds
//! nothing to a plugin.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::{metadata, nesting};
use crate::EncodeError;

/// Converts a core module with embedded WIT to a component.
pub fn encode(core_module: &[u8]) -> Result<Vec<u8>, EncodeError> {
    catch_panics(|| {
        if !has_metadata(core_module)? {
            return Err(EncodeError::NoMetadata);
        }
        ComponentEncoder::default()
            .validate(true)
            .module(core_module)
            .and_then(|mut encoder| encoder.encode())
            .map_err(invalid)
    })
}

/// Converts a core module to a component for a world of the package in the folder `wit`.
/// Its imports of WASI 0.1 become imports of WASI 0.2.
pub fn encode_for(core_module: &[u8], wit: &Path, world: &str) -> Result<Vec<u8>, EncodeError> {
    catch_panics(|| encode_with(core_module, wit, world))
}

fn encode_with(core_module: &[u8], wit: &Path, world: &str) -> Result<Vec<u8>, EncodeError> {
    let mut module = Cow::Borrowed(core_module);
    if !has_metadata(core_module)? {
        let no_world =
            |error| EncodeError::Wit { world: world.to_owned(), reason: one_line(error) };
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(wit).map_err(no_world)?;
        let world = resolve.select_world(&[package], Some(world)).map_err(no_world)?;
        embed_component_metadata(module.to_mut(), &resolve, world, StringEncoding::UTF8)
            .map_err(invalid)?;
    }
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| {
            let adapter = WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
            encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter)
        })
        .and_then(|mut encoder| encoder.encode())
        .map_err(invalid)
}

/// Catches panics of wit-component, which is not designed for untrusted modules.
fn catch_panics<T>(encode: impl FnOnce() -> Result<T, EncodeError>) -> Result<T, EncodeError> {
    let outcome = catch_unwind(AssertUnwindSafe(encode));
    outcome.unwrap_or(Err(EncodeError::Panicked))
}

fn has_metadata(core_module: &[u8]) -> Result<bool, EncodeError> {
    nesting::check(core_module).and_then(|()| metadata::check(core_module)).map_err(invalid)?;
    let (without_metadata, _) = wit_component::metadata::decode(core_module).map_err(invalid)?;
    Ok(without_metadata.is_some())
}

fn invalid(error: impl std::fmt::Display) -> EncodeError {
    EncodeError::Invalid(one_line(error))
}

fn one_line(error: impl std::fmt::Display) -> String {
    let text = format!("{error:#}");
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
