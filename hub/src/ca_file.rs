//! The file with the certificate that clients have to trust.
//!
//! The file belongs to one hub at a time. A second hub in the same folder would replace the
//! certificate, and the clients of the first hub could no longer connect.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;

use crate::command_error::{CommandError, FailureKind};

/// Locked certificate file. Dropping it releases the lock, so that another hub can replace the
/// file.
#[derive(Debug)]
pub(crate) struct CaFile(#[expect(dead_code, reason = "keeps the lock")] File);

impl CaFile {
    /// Writes the certificate, unless the file belongs to a running hub.
    pub(crate) fn write(path: &Path, pem: &str) -> Result<CaFile, CommandError> {
        let failed = |error: io::Error| {
            CommandError::from(error)
                .context(format!("cannot write the certificate to `{}`", path.display()))
                .with_hint("choose another file with --ca-file")
        };
        // The file is truncated only after it is locked.
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(false).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message =
                    format!("certificate file `{}` belongs to another running hub", path.display());
                return Err(CommandError::new(FailureKind::Other, message)
                    .with_hint("choose another file with --ca-file, or stop the other hub"));
            }
            // Some file systems and device files do not support locks.
            Err(TryLockError::Error(error)) => {
                tracing::debug!(%error, "certificate file not locked");
            }
        }
        if file.metadata().map_err(failed)?.is_file() {
            file.set_len(0).map_err(failed)?;
        }
        file.write_all(pem.as_bytes()).map_err(failed)?;
        Ok(CaFile(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_file_belongs_to_one_running_hub() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub-ca.pem");
        let first = CaFile::write(&path, "the first certificate").unwrap();
        let error = CaFile::write(&path, "second").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "error: certificate file `{}` belongs to another running hub\n\
                 hint: choose another file with --ca-file, or stop the other hub\n",
                path.display()
            )
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "the first certificate");

        drop(first);
        let _second = CaFile::write(&path, "second").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = CaFile::write(folder.path(), "certificate").unwrap_err().to_string();
        let expected = format!(
            "error: cannot write the certificate to `{}`: Is a directory (os error 21)\n\
             hint: choose another file with --ca-file\n",
            folder.path().display()
        );
        assert_eq!(error, expected);
    }
}
