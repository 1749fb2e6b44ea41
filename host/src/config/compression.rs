//! Compression of requests, which a configuration and the environment name alike.

use serde::Deserialize;

/// Compression of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// No compression.
    None,
    /// The encoding `gzip`.
    Gzip,
}
