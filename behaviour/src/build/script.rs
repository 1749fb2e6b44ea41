//! JavaScript and TypeScript. The sources are bundled into one module, and the component is
//! a snapshot of a QuickJS engine that has loaded this module.

mod lines;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::glue::{self, Lent, engine_name};
use super::{BuildContext, BuildError, used_world};
use crate::language::Language;

/// The wrapper of the author's module.
const WRAPPER: &str = include_str!("script/around.js");

/// The modules that run before the author's modules, each with its file name.
const PRELUDE: [(&str, &str); 3] = [
    ("engine.js", include_str!("script/engine.js")),
    ("text.js", include_str!("script/text.js")),
    ("values.js", include_str!("script/values.js")),
];

/// Bundles the entry file with its imports, and builds a component from the bundle.
pub(crate) fn component(context: &BuildContext<'_>) -> Result<Vec<u8>, BuildError> {
    let project = context.project;
    glue::write(context)?;
    if project.language == Language::TypeScript && project.dir.join("tsconfig.json").is_file() {
        // The bundler removes types without checking them.
        let mut check = context.tool("tsc")?;
        check.args(["--noEmit", "--pretty", "false", "--project", "."]);
        context.step("checking the types of", &mut check)?;
    }

    let wrapper = context.work.join("around.js");
    let entry =
        serde_json::to_string(&project.entry.to_string_lossy()).expect("a string is valid JSON");
    let text = WRAPPER.replace("'PLUGIN_ENTRY'", &entry);
    fs::write(&wrapper, text).map_err(BuildError::io(&wrapper))?;
    for (name, text) in PRELUDE {
        let file = context.work.join(name);
        fs::write(&file, text).map_err(BuildError::io(&file))?;
    }
    let folder = context.work.join("lent");
    fs::create_dir_all(&folder).map_err(BuildError::io(&folder))?;
    let mut aliases = Vec::new();
    let lent = glue::lent(context)?;
    for Lent { full_name, engine_name, file, text } in &lent {
        let file = folder.join(file);
        fs::write(&file, text).map_err(BuildError::io(&file))?;
        aliases.push(format!("--alias:{full_name}={}", file.display()));
        // The prelude does not depend on the version of the project's WIT.
        aliases.push(format!("--alias:{}={}", lent_name(full_name), file.display()));
        aliases.push(format!("--alias:{engine_name}={full_name}"));
    }
    let bundle = context.work.join("bundle.js");
    let mut esbuild = context.tool("esbuild")?;
    let inputs = context.work.join("inputs.json");
    esbuild.arg(&wrapper).arg(format!("--outfile={}", bundle.display()));
    esbuild.arg(format!("--metafile={}", inputs.display()));
    esbuild.args(["--bundle", "--format=esm", "--log-level=warning", "--charset=utf8"]);
    esbuild.args(["--sourcemap=external", "--sources-content=false"]);
    // The wrapper refers to all optional exports, which a plugin need not have.
    esbuild.arg("--log-override:import-is-undefined=silent");
    // The plugin's imports resolve to the generated modules, which import the engine's
    // modules. The latter are not files, so the bundler must treat them as external.
    esbuild.args(aliases);
    esbuild.args(["--external:device:*", "--external:wasi:*"]);
    context.step("bundling", &mut esbuild).map_err(without_tip)?;
    let inputs = read_inputs(&context.read(&inputs)?);
    let text = context.read(&bundle)?;
    let text = without_paths(&String::from_utf8_lossy(&text), &inputs);
    let map = context.read(&context.work.join("bundle.js.map"))?;
    let text = lines::embed(&text, &map, |source| author_name(context, source));
    fs::write(&bundle, &text).map_err(BuildError::io(&bundle))?;
    let inputs = inputs.iter().map(|input| absolute(&project.dir, input));
    context.tool_inputs.set(inputs.filter(|input| !input.starts_with(&context.work)).collect());

    // The engine would import the whole world.
    let used = |name: &str| {
        let full_name = lent.iter().find(|lent| lent.engine_name == engine_name(name));
        full_name.is_some_and(|lent| text.contains(&format!("from \"{}\"", lent.full_name)))
    };
    let (wit, world) = used_world::write(context, used)?;
    let component = context.work.join("component.wasm");
    let mut engine = context.tool("componentize-qjs")?;
    // WASI would add eighteen imports that no script uses.
    engine.args(["--sync", "--stub-wasi", "--opt-size"]);
    engine.arg("--wit").arg(&wit).arg("--world").arg(&world);
    engine.arg("--js").arg(&bundle).arg("-o").arg(&component);
    context.snapshot(engine)?;
    context.read(&component)
}

/// Returns the name by which the wrapper and the prelude import an interface: `lent:log`.
fn lent_name(full_name: &str) -> String {
    let name = full_name.rsplit('/').next().unwrap_or(full_name);
    format!("lent:{}", name.split('@').next().unwrap_or(name))
}

/// Returns the paths of the files in a bundle, as the bundler writes them: relative to the
/// project's folder.
fn read_inputs(metafile: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Metafile {
        inputs: BTreeMap<String, IgnoredAny>,
    }
    let metafile = serde_json::from_slice::<Metafile>(metafile);
    metafile.map(|metafile| metafile.inputs.into_keys().collect()).unwrap_or_default()
}

/// Removes the paths of files from the comments that the bundler writes before each: a
/// script contains its own text, which must not depend on the folder of the build.
fn without_paths(bundle: &str, inputs: &[String]) -> String {
    let comments: BTreeSet<String> = inputs.iter().map(|input| format!("// {input}")).collect();
    let lines = bundle.split_inclusive('\n');
    lines.map(|line| if comments.contains(line.trim_end()) { "//\n" } else { line }).collect()
}

/// Returns the name of a file of the author: its path in the project, or its file name if it is
/// elsewhere. `source` is relative to the folder of the bundle.
fn author_name(context: &BuildContext<'_>, source: &Path) -> Option<String> {
    let path = fs::canonicalize(context.work.join(source)).ok()?;
    let work = fs::canonicalize(&context.work).ok()?;
    if path.starts_with(work) {
        return None;
    }
    let inside = path.strip_prefix(&context.project.dir).ok().map(Path::to_owned);
    let name = inside.or_else(|| path.file_name().map(PathBuf::from))?;
    Some(name.to_string_lossy().into_owned())
}

/// Replaces the bundler's tips about an unresolved import: to bundle for Node, whose modules a
/// plugin does not have, and to mark the import as external, which no component can contain.
fn without_tip(error: BuildError) -> BuildError {
    let BuildError::NotCompiled { name, output } = error else { return error };
    BuildError::NotCompiled { name, output: with_own_tips(&output) }
}

fn with_own_tips(output: &str) -> String {
    let paragraphs = output.split("\n\n").map(|paragraph| {
        let missing = paragraph.trim_start().strip_prefix("You can mark the path \"");
        match missing.and_then(|rest| rest.split('"').next()) {
            _ if paragraph.contains("--platform=node") => {
                "  A plugin has no modules of Node.".to_owned()
            }
            Some(path) => format!(
                "  To add a package to the plugin, run `npm install {}` in the plugin's folder. A \
                 package\n  that uses modules of Node does not work.",
                package(path)
            ),
            None => paragraph.to_owned(),
        }
    });
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

/// Returns the name of the package in the path of an import: `@scope/name` or `name`.
fn package(path: &str) -> String {
    let parts = if path.starts_with('@') { 2 } else { 1 };
    path.split('/').take(parts).collect::<Vec<_>>().join("/")
}

/// Returns the absolute form of a path, without `..`.
fn absolute(folder: &Path, path: &str) -> PathBuf {
    let joined = folder.join(path);
    fs::canonicalize(&joined).unwrap_or(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tip_for_a_missing_package_is_to_install_it() {
        let output = "X [ERROR] Could not resolve \"@a/b/c\"\n\n    plugin.js:1:7:\n\n  You can mark the \
                      path \"@a/b/c\" as external to exclude it\n  from the bundle.\n\n1 error";
        let own = with_own_tips(output);
        assert!(
            own.starts_with("X [ERROR] Could not resolve \"@a/b/c\"\n\n    plugin.js:1:7:\n\n")
        );
        assert!(own.contains("run `npm install @a/b` in the plugin's folder"), "{own}");
        assert!(own.ends_with("\n\n1 error") && !own.contains("external"), "{own}");
        assert_eq!(package("lodash/fp"), "lodash");
    }

    #[test]
    fn a_bundle_does_not_contain_the_paths_of_its_files() {
        let metafile =
            br#"{"inputs": {"../a/x.js": {"bytes": 1}, "plugin.js": {}}, "outputs": {}}"#;
        let inputs = read_inputs(metafile);
        assert_eq!(inputs, ["../a/x.js", "plugin.js"]);
        let bundle = "// ../a/x.js\nlet x;\n// mine\n\n// plugin.js\nx = `//`;\n";
        let expected = "//\nlet x;\n// mine\n\n//\nx = `//`;\n";
        assert_eq!(without_paths(bundle, &inputs), expected);
    }
}
