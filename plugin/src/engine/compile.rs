//! Compilation of components, for this machine and for others.

use super::wasmtime_settings::code_settings;
use super::{Engine, EngineParts};
use crate::budget::Budget;
use crate::compile::Compiled;
use crate::compile::cache::Source;
use crate::compile::compiler::Compiler;
use crate::compile::file::CompiledCode;
use crate::component;
use crate::error::one_line;
use crate::{EngineSettings, Limits, LoadError};
use std::borrow::Cow;
use std::sync::Arc;

/// Compiles a component for another host, whose program must have the same version of wasmtime. The
/// code needs no features of the processor beyond those that all processors of the target have.
/// Returns a file for [`CompiledCode::parse`]. Blocks.
pub fn compile_for(target: &str, bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, LoadError> {
    let unusable =
        |error| LoadError::Target { target: target.to_owned(), reason: one_line(&error) };
    let settings = code_settings(Some(target)).map_err(unusable)?;
    let wasmtime = wasmtime::Engine::new(&settings).map_err(unusable)?;
    let budget = Arc::new(Budget::new(EngineSettings::default().memory_bytes));
    let compiler = Compiler::default();
    component::check_size(bytes.len() as u64, limits)?;
    let bytes = compiler.binary(bytes, limits, &budget)?;
    let code = compiler.code_of(&wasmtime, &bytes, limits, &budget)?;
    Ok(CompiledCode::file(&code))
}

impl Engine {
    /// Compiles a component within the limits on its size and on the compile time, or returns
    /// it from the cache. Blocks.
    pub fn compile(&self, bytes: &[u8], limits: &Limits) -> Result<Compiled, LoadError> {
        component::check_size(bytes.len() as u64, limits)?;
        self.compile_binary(&self.binary(bytes, limits)?, limits)
    }

    /// Returns the component in binary form, converting it if necessary.
    pub(crate) fn binary<'a>(
        &self,
        bytes: &'a [u8],
        limits: &Limits,
    ) -> Result<Cow<'a, [u8]>, LoadError> {
        self.parts.compiler.binary(bytes, limits, &self.parts.budget)
    }

    /// Compiles a component in binary form.
    pub(crate) fn compile_binary(
        &self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Compiled, LoadError> {
        let EngineParts { pools, compiler, cache, budget, .. } = &*self.parts;
        let source = Source::of(bytes, limits);
        let wasmtime = pools.current().wasmtime.clone();
        let (component, in_use) =
            compiler.component(&wasmtime, cache.as_ref(), bytes, source, limits, budget)?;
        Ok(Compiled { component, source, in_use })
    }
}
