//! Errors that prevent the hub's state from being opened.

use std::io;
use std::path::{Path, PathBuf};

/// Error that prevents the hub's state from being opened.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Data directory that cannot be created or is not a directory.
    #[error("cannot create the data directory `{}`", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// State file that cannot be opened or created.
    #[error("cannot open the state file `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// State file that cannot be read or written, for example because the disk is full.
    #[error("cannot read or write the state file `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// State file that another process has open.
    #[error("state file `{}` is in use by another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Corrupt state file.
    #[error("state file `{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first problem found.
        reason: String,
    },
    /// State file with an unsupported layout, which another version of this program has
    /// written.
    #[error("state file `{}` has layout {found}; this version reads layout {known}", path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// The layout of the file.
        found: String,
        /// The layout of this version.
        known: &'static str,
    },
    /// Configured name of the hub that is not a host name.
    #[error("`{0}` is not a host name")]
    HostName(String),
    /// Lack of random bytes for keys.
    #[error("the system returned no random bytes")]
    Random,
}

impl StateError {
    /// Converts an error of `redb`. Distinguishes I/O errors from corrupt files.
    pub(super) fn of_redb(path: &Path, error: &redb::Error) -> StateError {
        let path = path.to_owned();
        match error {
            redb::Error::DatabaseAlreadyOpen => StateError::InUse { path },
            // redb reports a missing header and a truncated file with these kinds.
            redb::Error::Io(cause)
                if !matches!(
                    cause.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                let text = || io::Error::new(cause.kind(), cause.to_string());
                let source = cause.raw_os_error().map_or_else(text, io::Error::from_raw_os_error);
                StateError::Io { path, source }
            }
            other => StateError::Damaged { path, reason: other.to_string() },
        }
    }
}
