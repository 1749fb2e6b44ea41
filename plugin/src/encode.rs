//! Makes a component of a core module that carries its own description.
//!
//! Bindings generators leave the WIT of the world in a custom section of the
//! core module; `wit-component` needs nothing else. A module built for WASI 0.1
//! needs an adapter as well, which is not here.

use wit_component::{ComponentEncoder, metadata};

/// Why a core module does not make a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Nothing in it says what it imports and exports as a component.
    #[error("a core module without component metadata")]
    NoMetadata,
    /// It has metadata, but they do not fit.
    #[error("core module does not make a component: {0}")]
    Invalid(String),
}

/// Makes a component of a core module with embedded WIT.
pub fn encode(core_module: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let invalid = |error| EncodeError::Invalid(format!("{error:#}").replace('\n', " "));
    let (without_metadata, _) = metadata::decode(core_module).map_err(invalid)?;
    if without_metadata.is_none() {
        return Err(EncodeError::NoMetadata);
    }
    ComponentEncoder::default()
        .validate(true)
        .module(core_module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(invalid)
}
