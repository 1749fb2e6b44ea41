//! WebAssembly text, which defines a core module or a component.

use super::{BuildError, Workshop};

/// Converts the entry file to a binary module or component.
pub(crate) fn module(workshop: &Workshop<'_>) -> Result<Vec<u8>, BuildError> {
    let entry = &workshop.project.entry;
    ::wat::parse_file(entry).map_err(|error| BuildError::NotCompiled {
        name: workshop.project.name.clone(),
        output: error.to_string(),
    })
}
