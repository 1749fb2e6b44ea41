//! The file of `--state-file`, in which a simulated device survives between two calls.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use behaviour::desk::{Desk, Image, InvalidImage};
use program::{Classify, text};

use crate::command::error::FailureKind;

/// An error of a state file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateFileError {
    /// A file that cannot be read.
    #[error("state file `{}`", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    /// A file that this program did not write, or that was damaged.
    #[error("state file `{}`", file.display())]
    Invalid { file: PathBuf, source: InvalidImage },
    /// A file that cannot be written.
    #[error("state file `{}` is unchanged, it cannot be written", file.display())]
    Unwritable { file: PathBuf, source: io::Error },
}

impl Classify<StateFileError> for FailureKind {
    fn classify(error: &StateFileError) -> FailureKind {
        match error {
            StateFileError::Unwritable { .. } => FailureKind::Other,
            _ => FailureKind::Usage,
        }
    }

    fn hint(error: &StateFileError) -> Option<String> {
        match error {
            StateFileError::Invalid { source: InvalidImage::Foreign, .. } => {
                Some("name a file that does not exist; the call creates it".to_owned())
            }
            StateFileError::Invalid { .. } => {
                Some("correct the file, or delete it to begin with a new device".to_owned())
            }
            StateFileError::Unreadable { .. } | StateFileError::Unwritable { .. } => None,
        }
    }
}

/// Restores a device from a file. A missing file is a new device.
pub(super) fn restore(file: &Path, desk: &mut Desk) -> Result<(), StateFileError> {
    let text = match text::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(StateFileError::Unreadable { file: file.to_owned(), source }),
    };
    let invalid = |source| StateFileError::Invalid { file: file.to_owned(), source };
    let image = Image::parse(&text).map_err(invalid)?;
    image.restore(desk).map_err(|error| invalid(error.into()))
}

/// Replaces the file in one step, so that it is never incomplete. Only its owner can read the
/// file, since a state can contain secrets.
pub(super) fn write(file: &Path, image: &Image) -> Result<(), StateFileError> {
    let replace = || -> io::Result<()> {
        // A link keeps its target.
        let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let name = target.file_name().ok_or(ErrorKind::InvalidInput)?.to_string_lossy();
        let new = target.with_file_name(format!(".{name}.{}", std::process::id()));
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o600);
        let written = options.open(&new).and_then(|mut opened| {
            opened.write_all(image.to_json().as_bytes())?;
            opened.sync_all()
        });
        written.and_then(|()| fs::rename(&new, &target)).inspect_err(|_| {
            // The first error is the one that matters.
            let _ = fs::remove_file(&new);
        })
    };
    replace().map_err(|source| StateFileError::Unwritable { file: file.to_owned(), source })
}
