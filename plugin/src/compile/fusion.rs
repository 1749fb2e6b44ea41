//! Fusion: the modules of a component that share a function table become one module.
//!
//! Script interpreters consist of several modules: the interpreter, its libraries, and the
//! snapshot of a started program. One module has the memory and the function table, and the
//! others import them. wasmtime fills a table lazily only if its own module has the elements at
//! a constant position; a shared table is filled at each instantiation, which takes a third of
//! a short call in JavaScript or Python. The fused module has its table, its elements and
//! constant positions, and calls between its parts are direct.
//!
//! Fusion changes neither the order of initialisation nor what the component can do. A
//! component for which this is not certain stays as it is: for example, one with a module that
//! is used twice, or with a start function in the midst. The result is validated.

mod constants;
mod core_module;
mod graph;
mod indices;
mod members;
mod merge;
mod rewrite;

use super::sections::{self, component_section};
use crate::component::features::SUPPORTED;
use wasmparser::Validator;

/// Version of the fusion, which is part of the name of a cached file.
pub(crate) const VERSION: u32 = 1;

/// Minimum number of elements of a shared table that make a fusion worthwhile.
const MIN_ELEMENTS: u32 = 100;

/// Maximum numbers of definitions of a component, and of imports of a module. CPython has 1,630
/// and 1,180. The time of a fusion can grow with their square.
const MAX_ITEMS: usize = 10_000;
const MAX_IMPORTS: usize = 10_000;

/// Reason why modules stay separate.
#[derive(Debug, thiserror::Error)]
enum Unfusable {
    #[error("{0}")]
    Because(&'static str),
    #[error(transparent)]
    Malformed(#[from] wasmparser::Error),
    #[error("{0}")]
    Encoder(String),
}

impl From<wasm_encoder::reencode::Error<Unfusable>> for Unfusable {
    fn from(error: wasm_encoder::reencode::Error<Unfusable>) -> Unfusable {
        match error {
            wasm_encoder::reencode::Error::UserError(reason) => reason,
            other => Unfusable::Encoder(other.to_string()),
        }
    }
}

/// Returns the component with fused modules. Returns `None` if it has none to fuse, or if their
/// fusion could change its meaning.
pub(crate) fn fuse(bytes: &[u8]) -> Option<Vec<u8>> {
    let fused = component(bytes).ok()??;
    let validated = Validator::new_with_features(SUPPORTED).validate_all(&fused);
    if let Err(error) = validated {
        tracing::debug!(%error, "modules stay separate: the fused component is invalid");
        return None;
    }
    Some(fused)
}

/// Returns a component in which the modules of each level are fused, if there are any.
fn component(bytes: &[u8]) -> Result<Option<Vec<u8>>, Unfusable> {
    let mut contents = Vec::new();
    let mut is_changed = false;
    sections::for_each::<Unfusable>(bytes, |id, content| {
        let mut content = std::borrow::Cow::Borrowed(content);
        if id == component_section::COMPONENT
            && let Some(fused) = component(&content)?
        {
            content = fused.into();
            is_changed = true;
        }
        contents.push((id, content));
        Ok(())
    })?;
    match rewrite::level(&contents) {
        Ok(Some(fused)) => return Ok(Some(fused)),
        Ok(None) => {}
        Err(reason) => tracing::debug!(%reason, "modules stay separate"),
    }
    if !is_changed {
        return Ok(None);
    }
    let mut to = bytes[..sections::HEADER_BYTES].to_vec();
    contents.iter().for_each(|(id, content)| sections::put(&mut to, *id, content));
    Ok(Some(to))
}

#[cfg(test)]
mod tests;
