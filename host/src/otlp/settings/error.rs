//! Errors of the files that `[host.otlp]` names.

use std::path::PathBuf;

use trust::TrustError;

use super::FieldProblem;

/// Unusable file that `[host.otlp]` names. `key` is the key of `host.toml` that names the file.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// File that cannot be read.
    #[error("`{key}`: {}", .path.display())]
    Read {
        /// Key that names the file.
        key: String,
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// File that others can read or change.
    #[error("`{key}`: {} has mode {mode:o}, so others can read or change it", .path.display())]
    Mode {
        /// Key that names the file.
        key: String,
        /// Path of the file.
        path: PathBuf,
        /// Permission bits of the file.
        mode: u32,
    },
    /// Line that is not an allowed header field.
    #[error("`{key}`: line {line} of {} {problem}", .path.display())]
    Line {
        /// Key that names the file.
        key: String,
        /// Path of the file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// Problem of the line.
        problem: FieldProblem,
    },
    /// CA file without usable certificates.
    #[error("`{key}`")]
    Trust {
        /// Key that names the file.
        key: String,
        /// Cause.
        #[source]
        source: TrustError,
    },
}

impl OtlpError {
    /// Returns a hint on how to fix the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            OtlpError::Read { .. } => "make the file readable for the host, or remove the key",
            OtlpError::Mode { .. } => "run `chmod 600` on the file",
            OtlpError::Line { problem: FieldProblem::OfRequest(_), .. } => "remove the line",
            OtlpError::Trust { .. } => "set the key to a PEM file of certificates, or remove it",
            OtlpError::Line { .. } => "write one field per line, such as `api-key: SECRET`",
        }
    }
}
