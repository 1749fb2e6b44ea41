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

/// The longest text of a component. Its parser takes ten times as much memory.
const TEXT_BYTES: usize = 1024 * 1024;

/// Refuses a file that is longer than a component may be.
pub(crate) fn check_size(bytes: u64, limits: &Limits) -> Result<(), LoadError> {
    if bytes > limits.component_bytes as u64 {
        return Err(LoadError::TooLarge { bytes, limit_bytes: limits.component_bytes });
    }
    Ok(())
}

/// Returns the component as it is if it is in binary form; `None` if it has to be made
/// by [`make`]. Refuses what is no component, and text that is too long.
pub(crate) fn as_binary(bytes: &[u8]) -> Result<Option<&[u8]>, LoadError> {
    match sniff(bytes).map_err(LoadError::NotWebAssembly)? {
        Kind::Component if bytes.starts_with(b"\0asm") => Ok(Some(bytes)),
        Kind::Component if bytes.len() > TEXT_BYTES => {
            Err(LoadError::TextTooLarge { bytes: bytes.len(), limit_bytes: TEXT_BYTES })
        }
        Kind::Component | Kind::CoreModule => Ok(None),
    }
}

/// Makes a component in binary form of text or of a core module. Takes time and memory
/// that grow with its size.
pub(crate) fn make(bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    match sniff(bytes).map_err(LoadError::NotWebAssembly)? {
        Kind::CoreModule => Ok(encode(bytes)?),
        Kind::Component => wat::parse_bytes(bytes)
            .map(Cow::into_owned)
            .map_err(|error| LoadError::Invalid(on_one_line(&error.to_string()))),
    }
}
