//! Go, with the standard compiler: it builds a library for WASI 0.1, which an adapter
//! turns into one for WASI 0.2.

use super::{BuildError, Workshop, glue};

/// Compiles the package in the project's folder.
pub(crate) fn module(workshop: &Workshop<'_>) -> Result<Vec<u8>, BuildError> {
    glue::write(workshop)?;
    let core = workshop.work.join("core.wasm");
    let mut go = workshop.tool("go")?;
    go.args(["build", "-buildmode=c-shared", "-trimpath"]);
    // The glue asks the runtime for memory before it is up: see glue/go.go.
    go.args(["-ldflags", "-s -w -checklinkname=0"]);
    go.arg("-o").arg(&core).arg(".");
    go.env("GOOS", "wasip1").env("GOARCH", "wasm").env("CGO_ENABLED", "0");
    // A newer Go that a go.mod requires is not downloaded without notice.
    go.env("GOTOOLCHAIN", "local").env("GOTELEMETRY", "off").env_remove("GOFLAGS");
    if let Some(cache) = &workshop.cache {
        go.env("GOPATH", cache.join("go")).env("GOCACHE", cache.join("go/build"));
        go.env("GOENV", "off");
    }
    workshop.compile(&mut go)?;
    workshop.read(&core)
}
