//! Glue: generated files in a project's `gen` folder that connect the author's code to
//! the component model. Each build generates them from the project's WIT, so they
//! always match it.
//!
//! The official generators write the glue for C and C++. The generators in this module
//! write it for Go, Zig, AssemblyScript, TypeScript, Lua, Nim and D; [`contract`] is their shared
//! view of the WIT. The tools for Rust and Python generate their own bindings. The
//! modules of [`script`] become part of a script's bundle, not of the folder.

mod assemblyscript;
mod c;
mod contract;
mod d;
mod go;
mod lua;
mod nim;
mod script;
mod typescript;
mod zig;

use std::fs;
use std::path::{Path, PathBuf};

use wit_parser::{Resolve, WorldId};

use super::{BuildContext, BuildError};
use crate::language::Language;
use contract::Contract;
pub(crate) use d::ROOT as D_ROOT;
pub(crate) use lua::JSON_MODULE;
pub(crate) use nim::ROOT as NIM_ROOT;
pub(crate) use script::{Lent, engine_name};

/// The name of the folder with the glue in a project.
pub(crate) const FOLDER: &str = "gen";

/// The glue of one project.
pub(crate) struct Glue {
    /// The folder with the files.
    pub(crate) folder: PathBuf,
    /// Exports to rename after compilation: the name in the core module, and the name
    /// that the host calls.
    pub(crate) renames: Vec<(String, String)>,
}

/// Paths relative to the folder, each with the file's contents.
type GlueFiles = Vec<(String, Vec<u8>)>;

/// Writes the glue for the project's world and language. Does not touch files that are
/// up to date, and removes files that do not belong to the glue.
pub(crate) fn write(context: &BuildContext<'_>) -> Result<Glue, BuildError> {
    let project = context.project;
    let entry = entry_module(&project.dir, &project.entry);
    let (files, renames) = generate(&context.wit, &project.world, project.language, &entry)
        .map_err(invalid_wit(&context.wit))?;
    let folder = project.dir.join(FOLDER);
    fs::create_dir_all(&folder).map_err(BuildError::io(&folder))?;
    // The compiler would also compile files that an earlier build wrote for another world.
    for entry in fs::read_dir(&folder).map_err(BuildError::io(&folder))?.flatten() {
        let is_ours = files.iter().any(|(name, _)| entry.file_name() == name.as_str());
        if !is_ours && entry.path().is_file() {
            fs::remove_file(entry.path()).map_err(BuildError::io(&entry.path()))?;
        }
    }
    for (name, bytes) in files {
        let file = folder.join(name);
        // A new modification time would make editors reload and compilers recompile the file.
        if fs::read(&file).is_ok_and(|present| present == bytes) {
            continue;
        }
        let parent = file.parent().unwrap_or(&folder);
        fs::create_dir_all(parent).map_err(BuildError::io(parent))?;
        fs::write(&file, bytes).map_err(BuildError::io(&file))?;
    }
    Ok(Glue { folder, renames })
}

/// Returns the modules that wrap the engine's functions for a script.
pub(crate) fn lent(context: &BuildContext<'_>) -> Result<Vec<Lent>, BuildError> {
    let modules = || {
        let (resolve, world) = parse_world(&context.wit, &context.project.world)?;
        Ok(script::modules(&Contract::new(&resolve, world)?))
    };
    modules().map_err(invalid_wit(&context.wit))
}

/// Returns the C code that binds Lua to the project's world. `sources` are the texts of the
/// plugin's modules.
pub(crate) fn lua_bindings(
    context: &BuildContext<'_>,
    sources: &[String],
) -> Result<String, BuildError> {
    let bindings = || {
        let (resolve, world) = parse_world(&context.wit, &context.project.world)?;
        Ok(lua::bindings(&Contract::new(&resolve, world)?, sources))
    };
    bindings().map_err(invalid_wit(&context.wit))
}

/// Returns a function that converts an error about the WIT in a folder.
pub(super) fn invalid_wit(wit: &Path) -> impl FnOnce(anyhow::Error) -> BuildError {
    let dir = wit.to_owned();
    move |error| BuildError::Wit { dir, reason: format!("{error:#}").replace('\n', " ") }
}

/// Parses the WIT in a folder, and returns it with one of its worlds.
pub(super) fn parse_world(wit: &Path, world: &str) -> anyhow::Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit)?;
    let world = resolve.select_world(&[package], Some(world))?;
    Ok((resolve, world))
}

/// Returns the files for a world, and the exports to rename. `entry` is the path of the
/// author's entry module, relative to the folder of glue.
fn generate(
    wit: &Path,
    world: &str,
    language: Language,
    entry: &str,
) -> anyhow::Result<(GlueFiles, Vec<(String, String)>)> {
    let (mut resolve, world) = parse_world(wit, world)?;
    if matches!(language, Language::C | Language::Cpp) {
        return Ok((c::files(&mut resolve, world, language)?, Vec::new()));
    }
    let contract = Contract::new(&resolve, world)?;
    let mut renames = Vec::new();
    let files = match language {
        Language::Go => go::files(&contract),
        Language::Zig => zig::files(&contract),
        Language::JavaScript | Language::TypeScript => typescript::files(&contract),
        Language::Lua => lua::files(&contract),
        Language::Nim => nim::files(&contract, entry),
        Language::D => d::files(&contract, entry),
        Language::AssemblyScript => {
            renames = assemblyscript::renames(&contract);
            assemblyscript::files(&contract, entry)
        }
        other => unreachable!("a build in {other} does not call the generators"),
    };
    let files = files.into_iter().map(|(name, text)| (name, text.into_bytes()));
    Ok((files.collect(), renames))
}

/// Returns the path of the entry file relative to the folder of glue, without its
/// extension.
fn entry_module(project: &Path, entry: &Path) -> String {
    let inside = entry.strip_prefix(project).map(|path| Path::new("..").join(path));
    let path = inside.unwrap_or_else(|_| entry.to_owned()).with_extension("");
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
