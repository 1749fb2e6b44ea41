//! Reasons why the hub's state cannot be opened.

use std::path::PathBuf;

/// Why the hub's state could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file cannot be opened or made.
    #[error("cannot open the state file `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("state file `{}` is in use by another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is not what this program wrote.
    #[error("state file `{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that the hub is to go by is none.
    #[error("`{0}` is not a host name")]
    HostName(String),
    /// The system has no random bytes to make keys of.
    #[error("the system gave no random bytes")]
    Random,
}
