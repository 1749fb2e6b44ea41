//! `[host.trust]`: the keys whose signatures the host accepts.

use std::path::PathBuf;

use serde::Deserialize;

/// Settings in `[host.trust]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustSection {
    /// PEM files of public keys.
    pub keys: Vec<PathBuf>,
    /// Images that need a signature.
    pub signature: SignatureRule,
}

/// Images that need a signature by one of the keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureRule {
    /// Those that the cloud names. An image in `host.toml` is pinned by the operator.
    #[default]
    Required,
    /// All images, and all compiled plugins.
    Always,
    /// None.
    Off,
}
