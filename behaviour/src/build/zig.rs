//! Zig, without a libc, which the glue in `gen/behaviour.zig` does not need.

use std::process::Command;

use super::{BuildContext, BuildError, glue};

/// Compiles the entry file and its imports.
pub(crate) fn module(context: &BuildContext<'_>) -> Result<Vec<u8>, BuildError> {
    glue::write(context)?;
    let core = context.work.join("core.wasm");
    let mut zig = command(context)?;
    zig.arg("build-exe").arg(&context.project.entry);
    zig.args(["-target", "wasm32-freestanding", "-O", "ReleaseSmall", "-fno-entry", "-rdynamic"]);
    // Zig's default stack is 16 MiB, which each call would reserve.
    zig.args(["-fstrip", "--stack", "65536"]);
    zig.arg(format!("-femit-bin={}", core.display()));
    context.compile(&mut zig)?;
    context.read(&core)
}

/// Returns the command `zig`. Its global cache is in the cache directory, so that it
/// compiles its libc only once for all projects.
pub(crate) fn command(context: &BuildContext<'_>) -> Result<Command, BuildError> {
    let mut zig = context.tool("zig")?;
    zig.env("ZIG_LOCAL_CACHE_DIR", context.work.join("zig"));
    if let Some(cache) = &context.cache {
        zig.env("ZIG_GLOBAL_CACHE_DIR", cache.join("zig"));
    }
    Ok(zig)
}
