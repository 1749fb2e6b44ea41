//! JavaScript and TypeScript: bundled into one module, which goes into a
//! QuickJS that has been started already.

use super::{BuildError, Workshop};
use crate::language::Language;

/// Bundles the file to begin with and what it imports, and puts it in.
pub(crate) fn component(workshop: &Workshop<'_>) -> Result<Vec<u8>, BuildError> {
    let project = workshop.project;
    if project.language == Language::TypeScript && project.dir.join("tsconfig.json").is_file() {
        // The bundler takes types away unread.
        let mut check = workshop.tool("tsc")?;
        workshop.compile(check.args(["--noEmit", "--pretty", "false", "--project", "."]))?;
    }

    let bundle = workshop.work.join("bundle.js");
    let mut esbuild = workshop.tool("esbuild")?;
    esbuild.arg(&project.entry).arg(format!("--outfile={}", bundle.display()));
    esbuild.args(["--bundle", "--format=esm", "--log-level=warning", "--charset=utf8"]);
    // What the host lends is no module that could be found.
    esbuild.args(["--external:device:*", "--external:wasi:*"]);
    workshop.compile(&mut esbuild)?;

    let component = workshop.work.join("component.wasm");
    let mut engine = workshop.tool("componentize-qjs")?;
    // WASI would be eighteen imports that a script has no use for.
    engine.args(["--sync", "--stub-wasi", "--opt-size"]);
    engine.arg("--wit").arg(&workshop.wit).arg("--world").arg(&project.world);
    engine.arg("--js").arg(&bundle).arg("-o").arg(&component);
    workshop.compile(&mut engine)?;
    workshop.read(&component)
}
