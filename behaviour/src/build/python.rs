//! Python: the module goes into a CPython that has been started already, its
//! imports done.

use super::{BuildError, Workshop};

/// Puts the module of the file to begin with in.
pub(crate) fn component(workshop: &Workshop<'_>) -> Result<Vec<u8>, BuildError> {
    let project = workshop.project;
    let module = project.entry.file_stem().unwrap_or_default();
    let folder = project.entry.parent().unwrap_or(&project.dir);
    let component = workshop.work.join("component.wasm");
    let mut componentize = workshop.tool("componentize-py")?;
    componentize.arg("--quiet").arg("--wit-path").arg(&workshop.wit);
    componentize.arg("--world").arg(&project.world);
    // Without WASI a traceback would have nowhere to go: it stays.
    componentize.arg("componentize").arg(module);
    componentize.arg("--python-path").arg(folder);
    let packages = project.dir.join("packages");
    if packages.is_dir() {
        componentize.arg("--python-path").arg(&packages);
    }
    componentize.arg("--output").arg(&component);
    workshop.compile(&mut componentize)?;
    workshop.read(&component)
}
