//! A component before it is compiled: its form, its imports and exports, and the
//! bounds on what its readers may meet.

pub(crate) mod encode;
pub(crate) mod imports;
mod metadata;
pub(crate) mod nesting;
pub(crate) mod sniff;

use crate::error::on_one_line;
use crate::{Limits, LoadError};
use encode::encode;
use sniff::{Kind, sniff};
use std::borrow::Cow;

/// Refuses a file that is longer than a component may be.
pub(crate) fn check_size(bytes: u64, limits: &Limits) -> Result<(), LoadError> {
    if bytes > limits.component_bytes as u64 {
        return Err(LoadError::TooLarge { bytes, limit_bytes: limits.component_bytes });
    }
    Ok(())
}

/// Returns the component in binary form.
pub(crate) fn binary(bytes: &[u8]) -> Result<Cow<'_, [u8]>, LoadError> {
    match sniff(bytes).map_err(LoadError::NotWebAssembly)? {
        Kind::CoreModule => Ok(Cow::Owned(encode(bytes)?)),
        Kind::Component => wat::parse_bytes(bytes)
            .map_err(|error| LoadError::Invalid(on_one_line(&error.to_string()))),
    }
}
