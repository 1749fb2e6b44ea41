//! The host program that a test starts as a process.

use std::path::PathBuf;
use std::{fs, io};

/// Returns the absolute path of the host program: `given`, or `behaviour-host` in the parent
/// directory of this program. A host that runs in a directory of its own needs an absolute path.
///
/// # Errors
///
/// If there is no such program. The error names it.
pub fn host_program(given: Option<PathBuf>) -> io::Result<PathBuf> {
    let path = match given {
        Some(path) => path,
        None => beside_this_program()?,
    };
    fs::canonicalize(&path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn beside_this_program() -> io::Result<PathBuf> {
    let this_program = std::env::current_exe()?;
    let directory = this_program.parent().unwrap_or(&this_program);
    Ok(directory.with_file_name("behaviour-host"))
}
