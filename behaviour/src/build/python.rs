//! Python. The component is a snapshot of a CPython interpreter that has imported the
//! author's module.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{BuildContext, BuildError, files, used_world};

/// The wrapper of the author's module.
const WRAPPER: &str = include_str!("python/around.py");

/// Folders that are not part of a plugin. A Python of the same version reads bytecode from
/// `__pycache__`, and another one writes it there.
const NOT_COPIED: [&str; 3] = ["__pycache__", "target", PACKAGES];

/// The folder of the plugin's packages.
const PACKAGES: &str = "packages";

/// Builds a component from the module of the entry file.
pub(crate) fn component(context: &BuildContext<'_>) -> Result<Vec<u8>, BuildError> {
    let project = context.project;
    let module = project.entry.file_stem().unwrap_or_default();
    let folder = project.entry.parent().unwrap_or(&project.dir);
    let wrapper_dir = context.work.join("python");
    files::remove_folder(&wrapper_dir)?;
    fs::create_dir_all(&wrapper_dir).map_err(BuildError::io(&wrapper_dir))?;
    let file = wrapper_dir.join("behaviour_around.py");
    let name = serde_json::to_string(&module.to_string_lossy()).expect("a string is valid JSON");
    let text = WRAPPER.replace("\"PLUGIN_MODULE\"", &name);
    fs::write(&file, text).map_err(BuildError::io(&file))?;
    // Python writes bytecode beside the modules that it imports, so it gets copies.
    let own = wrapper_dir.join("own");
    files::copy_folder(folder, &own, &NOT_COPIED)?;
    let packages = project.dir.join(PACKAGES);
    let copied = wrapper_dir.join(PACKAGES);
    if packages.is_dir() {
        files::copy_folder(&packages, &copied, &NOT_COPIED)?;
    }
    // The interpreter would import the whole world.
    let mut names = BTreeSet::new();
    for folder in [&own, &copied] {
        collect_names(folder, &mut names);
    }
    let used = |name: &str| names.contains(&name.replace('-', "_"));
    let (wit, world) = used_world::write(context, used)?;
    let component = context.work.join("component.wasm");
    let mut componentize = context.tool("componentize-py")?;
    componentize.arg("--quiet").arg("--wit-path").arg(&wit).arg("--world").arg(&world);
    // WASI is not stubbed, since Python writes tracebacks to it.
    componentize.arg("componentize").arg("behaviour_around");
    componentize.arg("--python-path").arg(&own).arg("--python-path").arg(&wrapper_dir);
    if packages.is_dir() {
        componentize.arg("--python-path").arg(&copied);
    }
    // The tool would add the packages that are installed on this machine, which no build on
    // another machine would find. An empty environment takes their place.
    let environment = wrapper_dir.join("environment");
    let installed = environment.join("lib").join("site-packages");
    fs::create_dir_all(&installed).map_err(BuildError::io(&installed))?;
    componentize.env("VIRTUAL_ENV", &environment);
    componentize.arg("--output").arg(&component);
    context.snapshot(componentize)?;
    context.read(&component)
}

/// Collects the identifiers in the modules below a folder that refer to the host's interfaces.
fn collect_names(folder: &Path, names: &mut BTreeSet<String>) {
    for path in files::entries(folder) {
        if path.is_dir() {
            collect_names(&path, names);
            continue;
        }
        let text = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        if path.extension().is_some_and(|extension| extension == "py") && text.contains("wit_world")
        {
            let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            names.extend(words.map(str::to_owned));
        }
    }
}
