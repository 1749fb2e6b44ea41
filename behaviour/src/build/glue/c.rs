//! Glue for C and C++, written by the official generators.

use wit_bindgen_core::WorldGenerator;
use wit_parser::{Resolve, WorldId};

use super::GlueFiles;
use crate::language::Language;

/// Returns the header, source and metadata of a world.
pub(super) fn files(
    resolve: &mut Resolve,
    world: WorldId,
    language: Language,
) -> anyhow::Result<GlueFiles> {
    let mut generator: Box<dyn WorldGenerator> = match language {
        Language::Cpp => wit_bindgen_cpp::Opts::default().build(None),
        _ => wit_bindgen_c::Opts::default().build(),
    };
    let mut files = wit_bindgen_core::Files::default();
    generator.generate(resolve, world, &mut files)?;
    Ok(files.iter().map(|(name, bytes)| (name.to_owned(), fixed(name, bytes))).collect())
}

/// Fixes a declaration of wit-bindgen-cpp 0.60, which declares a borrowed optional list
/// as an owned vector and does not compile. With `auto`, the compiler deduces the type.
fn fixed(name: &str, bytes: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) if name.ends_with(".cpp") => {
            text.replace("wit::vector<uint8_t> payload", "auto payload").into_bytes()
        }
        _ => bytes.to_owned(),
    }
}
