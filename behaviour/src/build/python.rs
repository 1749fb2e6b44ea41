//! Python. The component is a snapshot of a CPython interpreter that has imported the
//! author's module.

use std::fs;

use super::{BuildContext, BuildError};

/// The wrapper of the author's module.
const WRAPPER: &str = include_str!("python/around.py");

/// Builds a component from the module of the entry file.
pub(crate) fn component(context: &BuildContext<'_>) -> Result<Vec<u8>, BuildError> {
    let project = context.project;
    let module = project.entry.file_stem().unwrap_or_default();
    let folder = project.entry.parent().unwrap_or(&project.dir);
    let wrapper_dir = context.work.join("python");
    fs::create_dir_all(&wrapper_dir).map_err(BuildError::io(&wrapper_dir))?;
    let file = wrapper_dir.join("behaviour_around.py");
    let name = serde_json::to_string(&module.to_string_lossy()).expect("a string is valid JSON");
    let text = WRAPPER.replace("\"PLUGIN_MODULE\"", &name);
    fs::write(&file, text).map_err(BuildError::io(&file))?;
    let component = context.work.join("component.wasm");
    let mut componentize = context.tool("componentize-py")?;
    componentize.arg("--quiet").arg("--wit-path").arg(&context.wit);
    componentize.arg("--world").arg(&project.world);
    // WASI is not stubbed, since Python writes tracebacks to it.
    componentize.arg("componentize").arg("behaviour_around");
    componentize.arg("--python-path").arg(folder).arg("--python-path").arg(&wrapper_dir);
    let packages = project.dir.join("packages");
    if packages.is_dir() {
        componentize.arg("--python-path").arg(&packages);
    }
    componentize.arg("--output").arg(&component);
    context.compile(&mut componentize)?;
    context.read(&component)
}
