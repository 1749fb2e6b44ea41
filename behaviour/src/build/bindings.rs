//! The bindings of C and C++, made from the project's WIT at each build.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};

use super::{BuildError, Workshop};
use crate::language::Language;

/// Writes header, source and metadata of the project's world into `folder`.
pub(crate) fn write(workshop: &Workshop<'_>, folder: &Path) -> Result<(), BuildError> {
    let mut files = Files::default();
    generate(workshop, &mut files).map_err(|error| BuildError::Wit {
        dir: workshop.wit.clone(),
        why: format!("{error:#}").replace('\n', " "),
    })?;
    fs::create_dir_all(folder).map_err(BuildError::io(folder))?;
    // What another world has left would be compiled, too.
    for entry in fs::read_dir(folder).map_err(BuildError::io(folder))?.flatten() {
        let is_made = files.iter().any(|(name, _)| entry.file_name() == name);
        if !is_made && entry.path().is_file() {
            fs::remove_file(entry.path()).map_err(BuildError::io(&entry.path()))?;
        }
    }
    for (name, bytes) in files.iter() {
        let file = folder.join(name);
        let bytes = mended(name, bytes);
        // An unchanged header leaves an editor and a compiler's cache alone.
        if fs::read(&file).is_ok_and(|there| there == *bytes) {
            continue;
        }
        fs::write(&file, bytes).map_err(BuildError::io(&file))?;
    }
    Ok(())
}

/// wit-bindgen-cpp 0.60 declares what it borrows from an optional list as a
/// vector of its own, which does not compile. The type that it has is right.
fn mended<'a>(name: &str, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    match std::str::from_utf8(bytes) {
        Ok(text) if name.ends_with(".cpp") => {
            Cow::Owned(text.replace("wit::vector<uint8_t> payload", "auto payload").into_bytes())
        }
        _ => Cow::Borrowed(bytes),
    }
}

fn generate(workshop: &Workshop<'_>, files: &mut Files) -> anyhow::Result<()> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(&workshop.wit)?;
    let world = resolve.select_world(&[package], Some(&workshop.project.world))?;
    let mut generator: Box<dyn WorldGenerator> = match workshop.project.language {
        Language::Cpp => wit_bindgen_cpp::Opts::default().build(None),
        _ => wit_bindgen_c::Opts::default().build(),
    };
    generator.generate(&mut resolve, world, files)
}
