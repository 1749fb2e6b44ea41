//! Checks and conversions of a component before it is compiled.

#[cfg(feature = "compiler")]
pub(crate) mod convert;
#[cfg(feature = "compiler")]
pub(crate) mod encode;
pub(crate) mod features;
pub(crate) mod imports;
#[cfg(feature = "compiler")]
mod metadata;
#[cfg(feature = "compiler")]
pub(crate) mod nesting;
#[cfg(feature = "compiler")]
pub(crate) mod rejection;
pub(crate) mod sniff;

use crate::{Limits, LoadError};

/// Checks the size of a file against the limits.
pub(crate) fn check_size(bytes: u64, limits: &Limits) -> Result<(), LoadError> {
    if bytes > limits.component_bytes as u64 {
        return Err(LoadError::TooLarge { bytes, limit_bytes: limits.component_bytes });
    }
    Ok(())
}
