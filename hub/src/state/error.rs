//! Reasons why the hub's state cannot be opened.

use std::io;
use std::path::{Path, PathBuf};

/// Reason why the hub's state cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The data directory cannot be created, or is not a directory.
    #[error("cannot create the data directory `{}`", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The state file cannot be opened or created.
    #[error("cannot open the state file `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The state file cannot be read or written: the disk is full, fails, or is
    /// mounted read-only.
    #[error("cannot read or write the state file `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Another process has the state file open.
    #[error("state file `{}` is in use by another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The state file does not hold what this program wrote.
    #[error("state file `{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first fault found.
        reason: String,
    },
    /// The state file has the layout of another version of this program.
    #[error("state file `{}` has layout {found}; this version reads layout {known}", path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// The layout in the file.
        found: String,
        /// The layout of this version.
        known: &'static str,
    },
    /// A name for the hub is not a host name.
    #[error("`{0}` is not a host name")]
    HostName(String),
    /// The system has no random bytes to make keys of.
    #[error("the system returned no random bytes")]
    Random,
}

impl StateError {
    /// Separates a file that cannot be read or written from one with wrong content.
    pub(super) fn of_redb(path: &Path, error: &redb::Error) -> StateError {
        let path = path.to_owned();
        match error {
            redb::Error::DatabaseAlreadyOpen => StateError::InUse { path },
            // redb reports a missing header and a file cut short by these two.
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
