//! JavaScript and TypeScript: bundled into one module, which goes into a
//! QuickJS that has been started already.

use std::fs;

use super::glue::{self, Lent};
use super::{BuildError, Workshop};
use crate::language::Language;

/// The wrapper of the author's module, and the modules that run before it.
const AROUND: &str = include_str!("script/around.js");
const BEFORE: [(&str, &str); 3] = [
    ("engine.js", include_str!("script/engine.js")),
    ("text.js", include_str!("script/text.js")),
    ("values.js", include_str!("script/values.js")),
];

/// Bundles the file to begin with and what it imports, and puts it in.
pub(crate) fn component(workshop: &Workshop<'_>) -> Result<Vec<u8>, BuildError> {
    let project = workshop.project;
    if project.language == Language::TypeScript {
        glue::write(workshop)?;
    }
    if project.language == Language::TypeScript && project.dir.join("tsconfig.json").is_file() {
        // The bundler takes types away unread.
        let mut check = workshop.tool("tsc")?;
        check.args(["--noEmit", "--pretty", "false", "--project", "."]);
        workshop.step("checking the types of", &mut check)?;
    }

    let around = workshop.work.join("around.js");
    let entry = serde_json::to_string(&project.entry.to_string_lossy()).expect("texts are JSON");
    let text = AROUND.replace("'PLUGIN_ENTRY'", &entry);
    fs::write(&around, text).map_err(BuildError::io(&around))?;
    for (name, text) in BEFORE {
        let file = workshop.work.join(name);
        fs::write(&file, text).map_err(BuildError::io(&file))?;
    }
    let folder = workshop.work.join("lent");
    fs::create_dir_all(&folder).map_err(BuildError::io(&folder))?;
    let mut aliases = Vec::new();
    for Lent { full_name, engine_name, file, text } in glue::lent(workshop)? {
        let file = folder.join(file);
        fs::write(&file, text).map_err(BuildError::io(&file))?;
        aliases.push(format!("--alias:{full_name}={}", file.display()));
        aliases.push(format!("--alias:{engine_name}={full_name}"));
    }
    let bundle = workshop.work.join("bundle.js");
    let mut esbuild = workshop.tool("esbuild")?;
    esbuild.arg(&around).arg(format!("--outfile={}", bundle.display()));
    esbuild.args(["--bundle", "--format=esm", "--log-level=warning", "--charset=utf8"]);
    // Not every plugin has each of the optional exports.
    esbuild.arg("--log-override:import-is-undefined=silent");
    // The plugin is given the modules around what the host lends, and they the engine's
    // own, which are no files that could be found.
    esbuild.args(aliases);
    esbuild.args(["--external:device:*", "--external:wasi:*"]);
    workshop.step("bundling", &mut esbuild)?;

    let component = workshop.work.join("component.wasm");
    let mut engine = workshop.tool("componentize-qjs")?;
    // WASI would be eighteen imports that a script has no use for.
    engine.args(["--sync", "--stub-wasi", "--opt-size"]);
    engine.arg("--wit").arg(&workshop.wit).arg("--world").arg(&project.world);
    engine.arg("--js").arg(&bundle).arg("-o").arg(&component);
    workshop.compile(&mut engine)?;
    workshop.read(&component)
}
