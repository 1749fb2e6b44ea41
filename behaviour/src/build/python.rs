//! Python: the component is a snapshot of a CPython that has started and imported the
//! author's module.

use std::fs;

use super::{BuildError, Workshop};

/// The wrapper of the author's module.
const AROUND: &str = include_str!("python/around.py");

/// Builds a component from the module of the entry file.
pub(crate) fn component(workshop: &Workshop<'_>) -> Result<Vec<u8>, BuildError> {
    let project = workshop.project;
    let module = project.entry.file_stem().unwrap_or_default();
    let folder = project.entry.parent().unwrap_or(&project.dir);
    let around = workshop.work.join("python");
    fs::create_dir_all(&around).map_err(BuildError::io(&around))?;
    let file = around.join("behaviour_around.py");
    let name = serde_json::to_string(&module.to_string_lossy()).expect("texts are JSON");
    let text = AROUND.replace("\"PLUGIN_MODULE\"", &name);
    fs::write(&file, text).map_err(BuildError::io(&file))?;
    let component = workshop.work.join("component.wasm");
    let mut componentize = workshop.tool("componentize-py")?;
    componentize.arg("--quiet").arg("--wit-path").arg(&workshop.wit);
    componentize.arg("--world").arg(&project.world);
    // WASI is not stubbed, since Python writes tracebacks to it.
    componentize.arg("componentize").arg("behaviour_around");
    componentize.arg("--python-path").arg(folder).arg("--python-path").arg(&around);
    let packages = project.dir.join("packages");
    if packages.is_dir() {
        componentize.arg("--python-path").arg(&packages);
    }
    componentize.arg("--output").arg(&component);
    workshop.compile(&mut componentize)?;
    workshop.read(&component)
}
