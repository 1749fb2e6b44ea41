//! Go, with the standard compiler: it builds a core module for WASI 0.1, and an adapter
//! makes it usable with WASI 0.2.

use super::{BuildError, Workshop, glue};

/// Compiles the package in the project's folder.
pub(crate) fn module(workshop: &Workshop<'_>) -> Result<Vec<u8>, BuildError> {
    glue::write(workshop)?;
    let core = workshop.work.join("core.wasm");
    let mut go = workshop.tool("go")?;
    go.args(["build", "-buildmode=c-shared", "-trimpath"]);
    // The glue links to `runtime.sbrk`; glue/go.go explains why.
    go.args(["-ldflags", "-s -w -checklinkname=0"]);
    go.arg("-o").arg(&core).arg(".");
    go.env("GOOS", "wasip1").env("GOARCH", "wasm").env("CGO_ENABLED", "0");
    // Otherwise, a go.mod that requires a newer Go would start a download silently.
    go.env("GOTOOLCHAIN", "local").env("GOTELEMETRY", "off").env_remove("GOFLAGS");
    if let Some(cache) = &workshop.cache {
        go.env("GOPATH", cache.join("go")).env("GOCACHE", cache.join("go/build"));
        go.env("GOENV", "off");
    }
    workshop.compile(&mut go)?;
    workshop.read(&core)
}
