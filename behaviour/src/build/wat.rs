//! WebAssembly text, which defines a core module or a component.

use super::{BuildContext, BuildError};

/// Converts the entry file to a binary module or component.
pub(crate) fn module(context: &BuildContext<'_>) -> Result<Vec<u8>, BuildError> {
    let entry = &context.project.entry;
    ::wat::parse_file(entry).map_err(|error| BuildError::NotCompiled {
        name: context.project.name.clone(),
        output: error.to_string(),
    })
}
