//! Go, with the standard compiler: it builds a core module for WASI 0.1, and an adapter
//! makes it usable with WASI 0.2.

use super::{BuildContext, BuildError, glue};

/// Compiles the package in the project's folder.
pub(crate) fn module(context: &BuildContext<'_>) -> Result<Vec<u8>, BuildError> {
    glue::write(context)?;
    let core = context.work.join("core.wasm");
    let mut go = context.tool("go")?;
    go.args(["build", "-buildmode=c-shared", "-trimpath"]);
    // The glue links to `runtime.sbrk`. See glue/go.go for the reason.
    go.args(["-ldflags", "-s -w -checklinkname=0"]);
    go.arg("-o").arg(&core).arg(".");
    go.env("GOOS", "wasip1").env("GOARCH", "wasm").env("CGO_ENABLED", "0");
    // Otherwise, a go.mod that requires a newer Go would start a download silently.
    go.env("GOTOOLCHAIN", "local").env("GOTELEMETRY", "off").env_remove("GOFLAGS");
    if let Some(cache) = &context.cache {
        go.env("GOPATH", cache.join("go")).env("GOCACHE", cache.join("go/build"));
        go.env("GOENV", "off");
    }
    context.compile(&mut go)?;
    context.read(&core)
}
