//! Zig, without a libc, which the glue in `gen/behaviour.zig` does not need.

use std::process::Command;

use super::{BuildError, Workshop, glue};

/// Compiles the entry file and its imports.
pub(crate) fn module(workshop: &Workshop<'_>) -> Result<Vec<u8>, BuildError> {
    glue::write(workshop)?;
    let core = workshop.work.join("core.wasm");
    let mut zig = command(workshop)?;
    zig.arg("build-exe").arg(&workshop.project.entry);
    zig.args(["-target", "wasm32-freestanding", "-O", "ReleaseSmall", "-fno-entry", "-rdynamic"]);
    // Zig's default stack is 16 MiB, which each call would reserve.
    zig.args(["-fstrip", "--stack", "65536"]);
    zig.arg(format!("-femit-bin={}", core.display()));
    workshop.compile(&mut zig)?;
    workshop.read(&core)
}

/// Returns the command `zig`. Its global cache is in the cache directory, so that it
/// compiles its libc only once for all projects.
pub(crate) fn command(workshop: &Workshop<'_>) -> Result<Command, BuildError> {
    let mut zig = workshop.tool("zig")?;
    zig.env("ZIG_LOCAL_CACHE_DIR", workshop.work.join("zig"));
    if let Some(cache) = &workshop.cache {
        zig.env("ZIG_GLOBAL_CACHE_DIR", cache.join("zig"));
    }
    Ok(zig)
}
