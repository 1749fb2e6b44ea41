//! Machine code of plugins: compiled from a component, or elsewhere.
//!
//! `compiler` compiles components, if the crate is built with it. Code is mapped from files in the
//! [`cache`]. Code that was compiled elsewhere comes in a [`file`] with its digest.

pub(crate) mod cache;
#[cfg(feature = "compiler")]
pub(crate) mod compiler;
pub(crate) mod file;
#[cfg(feature = "compiler")]
mod functions;
#[cfg(feature = "compiler")]
mod fusion;
#[cfg(feature = "compiler")]
mod headroom;
#[cfg(feature = "compiler")]
mod permits;
#[cfg(feature = "compiler")]
mod sections;

use cache::{Cache, InUse, Source};
use wasmtime::component::Component;

/// Size of a WebAssembly page, in bytes.
const PAGE_BYTES: u64 = 64 * 1024;

/// A compiled component. Any number of plugins can be created from it.
#[derive(Clone)]
pub struct Compiled {
    pub(crate) component: Component,
    pub(crate) source: Source,
    /// File in the compile cache.
    pub(crate) in_use: Option<InUse>,
}

impl Compiled {
    /// Returns the initial linear memory of a call in bytes, including headroom, or `None` if
    /// it cannot be determined.
    pub(crate) fn initial_memory_bytes(&self) -> Option<u64> {
        let pages = self.component.resources_required()?.max_initial_memory_size.unwrap_or(0);
        Some(pages.saturating_mul(PAGE_BYTES))
    }

    /// Returns the initial size of a call's tables and of its largest linear memory in bytes,
    /// as far as it can be determined.
    pub(crate) fn initial_bytes(&self) -> usize {
        let tables = self.component.resources_required().map_or(0, |required| {
            let elements = required.max_initial_table_size.unwrap_or(0);
            elements.saturating_mul(required.num_tables.into())
        });
        let bytes = tables.saturating_mul(size_of::<usize>() as u64);
        let bytes = bytes.saturating_add(self.initial_memory_bytes().unwrap_or(0));
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

/// Loads a component again, with a separate mapping of its machine code.
pub(crate) fn load_again(
    engine: &wasmtime::Engine,
    cache: Option<&Cache>,
    source: &Source,
    component: &Component,
) -> wasmtime::Result<Component> {
    // The file in the cache may have been evicted or may be corrupt.
    if let Some(cached) = cache.and_then(|cache| cache.map_again(engine, source)) {
        return Ok(cached);
    }
    deserialize(engine, &component.serialize()?)
}

pub(crate) fn deserialize(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    #[allow(unsafe_code, reason = "there is no other way to load compiled code")]
    // SAFETY: `code` comes from the compiler of this engine, or the caller vouches for it.
    unsafe {
        Component::deserialize(engine, code)
    }
}
