//! Machine code that was compiled elsewhere.
//!
//! Such code runs with the privileges of the process, outside of any sandbox if it is not the work
//! of the compiler. So the caller of [`Engine::load_compiled`] must know where it comes from. This
//! module only checks that it was made for this version and this machine.

use super::Engine;
use crate::compile::cache::Source;
use crate::compile::file::CompiledCode;
use crate::compile::{Compiled, deserialize};
use crate::error::one_line;
use crate::{Limits, LoadError};

/// Target of code for all hosts of 32 bits, for which the compiler has no machine code.
pub(crate) const TARGET_OF_32_BITS: &str = "pulley32";

/// Target of code for this host, as `behaviour compile --target` takes it.
pub const TARGET: &str = if cfg!(all(target_arch = "x86_64", target_os = "linux")) {
    "x86_64-unknown-linux-gnu"
} else if cfg!(all(target_arch = "aarch64", target_os = "linux")) {
    "aarch64-unknown-linux-gnu"
} else if cfg!(target_pointer_width = "32") {
    TARGET_OF_32_BITS
} else {
    "pulley64"
};

impl Engine {
    /// Prepares code that was compiled elsewhere, which is copied to the cache and mapped from
    /// there.
    pub(crate) fn accept(
        &self,
        CompiledCode { code, digest }: CompiledCode<'_>,
        limits: &Limits,
    ) -> Result<Compiled, LoadError> {
        let source = Source::new(digest, limits);
        let (wasmtime, cache) = (self.parts.pools.current().wasmtime.clone(), &self.parts.cache);
        if let Some((component, in_use)) = cache.as_ref().and_then(|it| it.get(&wasmtime, &source))
        {
            return Ok(Compiled { component, source, in_use: Some(in_use) });
        }
        let component = deserialize(&wasmtime, code).map_err(|error| not_for_this_host(&error))?;
        match cache.as_ref().map(|cache| cache.put(&wasmtime, &source, code)) {
            Some(Ok((component, in_use))) => {
                return Ok(Compiled { component, source, in_use: Some(in_use) });
            }
            Some(Err(error)) => {
                tracing::warn!("compiled plugin not cached: {}", one_line(&error));
            }
            None => {}
        }
        Ok(Compiled { component, source, in_use: None })
    }
}

/// Maps an error of wasmtime. Its messages have no types, and name the property that differs.
fn not_for_this_host(error: &wasmtime::Error) -> LoadError {
    let reason = one_line(error).replace("Module was compiled", "it was compiled");
    LoadError::OtherHost { reason, hint: how_to_compile() }
}

/// Returns the hint to compile a plugin for this host.
pub(crate) fn how_to_compile() -> String {
    format!("compile it with `behaviour compile --target {TARGET}` of this host's release")
}
