//! Glue: the files in a project's `gen` folder, which stand between the author's
//! code and the component model. They are written from the project's WIT at each
//! build, so that they cannot differ from it.
//!
//! For C and C++ the official generators write them. For Go, Zig, AssemblyScript and
//! TypeScript a generator here does, from the same parsed WIT: see
//! [`contract`] for what they have in common. Rust and Python have generators of
//! their own, which their builds call. The modules of [`script`] go into the bundle of
//! a script and not into the folder.

mod assemblyscript;
mod c;
mod contract;
mod go;
mod script;
mod typescript;
mod zig;

use std::fs;
use std::path::{Path, PathBuf};

use wit_parser::{Resolve, WorldId};

use super::{BuildError, Workshop};
use crate::language::Language;
use contract::Contract;
pub(crate) use script::Lent;

/// The folder of glue in a project.
pub(crate) const FOLDER: &str = "gen";

/// The glue of one project.
pub(crate) struct Glue {
    /// The folder with its files.
    pub(crate) folder: PathBuf,
    /// Exports that the compiler cannot name as the host calls them: the name in
    /// the core module, and the host's.
    pub(crate) renames: Vec<(String, String)>,
}

/// The contents of files by their paths in the folder.
type GlueFiles = Vec<(String, Vec<u8>)>;

/// Writes the glue of the project's world and language. Files that are as they
/// should be are left alone; other files in the folder are removed.
pub(crate) fn write(workshop: &Workshop<'_>) -> Result<Glue, BuildError> {
    let project = workshop.project;
    let entry = entry_module(&project.dir, &project.entry);
    let (files, renames) = generate(&workshop.wit, &project.world, project.language, &entry)
        .map_err(refused(&workshop.wit))?;
    let folder = project.dir.join(FOLDER);
    fs::create_dir_all(&folder).map_err(BuildError::io(&folder))?;
    // Files of another world would be compiled, too.
    for entry in fs::read_dir(&folder).map_err(BuildError::io(&folder))?.flatten() {
        let is_ours = files.iter().any(|(name, _)| entry.file_name() == name.as_str());
        if !is_ours && entry.path().is_file() {
            fs::remove_file(entry.path()).map_err(BuildError::io(&entry.path()))?;
        }
    }
    for (name, bytes) in files {
        let file = folder.join(name);
        // An unchanged file leaves an editor and a compiler's cache alone.
        if fs::read(&file).is_ok_and(|present| present == bytes) {
            continue;
        }
        let parent = file.parent().unwrap_or(&folder);
        fs::create_dir_all(parent).map_err(BuildError::io(parent))?;
        fs::write(&file, bytes).map_err(BuildError::io(&file))?;
    }
    Ok(Glue { folder, renames })
}

/// The modules of a script that stand between it and the engine.
pub(crate) fn lent(workshop: &Workshop<'_>) -> Result<Vec<Lent>, BuildError> {
    let modules = || {
        let (resolve, world) = parsed(&workshop.wit, &workshop.project.world)?;
        Ok(script::modules(&Contract::new(&resolve, world)?))
    };
    modules().map_err(refused(&workshop.wit))
}

fn refused(wit: &Path) -> impl FnOnce(anyhow::Error) -> BuildError {
    let dir = wit.to_owned();
    move |error| BuildError::Wit { dir, why: format!("{error:#}").replace('\n', " ") }
}

fn parsed(wit: &Path, world: &str) -> anyhow::Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit)?;
    let world = resolve.select_world(&[package], Some(world))?;
    Ok((resolve, world))
}

/// The files for a world, and the exports to rename. `entry` is the module that
/// the author's code begins with, as seen from the folder of glue.
fn generate(
    wit: &Path,
    world: &str,
    language: Language,
    entry: &str,
) -> anyhow::Result<(GlueFiles, Vec<(String, String)>)> {
    let (mut resolve, world) = parsed(wit, world)?;
    if matches!(language, Language::C | Language::Cpp) {
        return Ok((c::files(&mut resolve, world, language)?, Vec::new()));
    }
    let contract = Contract::new(&resolve, world)?;
    let mut renames = Vec::new();
    let files = match language {
        Language::Go => go::files(&contract),
        Language::Zig => zig::files(&contract),
        Language::TypeScript => typescript::files(&contract),
        Language::AssemblyScript => {
            renames = assemblyscript::renames(&contract);
            assemblyscript::files(&contract, entry)
        }
        other => unreachable!("{other} asks for no glue"),
    };
    let files = files.into_iter().map(|(name, text)| (name, text.into_bytes()));
    Ok((files.collect(), renames))
}

/// The path of the entry file from the folder of glue, without its extension.
fn entry_module(project: &Path, entry: &Path) -> String {
    let inside = entry.strip_prefix(project).map(|path| Path::new("..").join(path));
    let path = inside.unwrap_or_else(|_| entry.to_owned()).with_extension("");
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
