//! Conversion of text and of core modules to components in binary form.

use super::encode::encode;
use super::sniff::{FileFormat, sniff};
use crate::LoadError;
use crate::error::on_one_line;
use std::borrow::Cow;

/// Maximum size of a component in text form, in bytes. Parsing takes ten times as much memory.
const TEXT_BYTES: usize = 1024 * 1024;

/// Returns the bytes if they are a component in binary form, or `None` if [`to_binary`] has
/// to convert them. Returns an error if they are not a component, or are a text that is too
/// long.
pub(crate) fn as_binary(bytes: &[u8]) -> Result<Option<&[u8]>, LoadError> {
    match sniff(bytes).map_err(LoadError::NotWebAssembly)? {
        FileFormat::Component if bytes.starts_with(b"\0asm") => Ok(Some(bytes)),
        FileFormat::Component if bytes.len() > TEXT_BYTES => {
            Err(LoadError::TextTooLarge { bytes: bytes.len(), limit_bytes: TEXT_BYTES })
        }
        FileFormat::Component | FileFormat::CoreModule => Ok(None),
    }
}

/// Converts text or a core module to a component in binary form. Time and memory grow with
/// the size of the input.
pub(crate) fn to_binary(bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    match sniff(bytes).map_err(LoadError::NotWebAssembly)? {
        FileFormat::CoreModule => Ok(encode(bytes)?),
        FileFormat::Component => wat::parse_bytes(bytes)
            .map(Cow::into_owned)
            .map_err(|error| LoadError::Invalid(on_one_line(&error.to_string()))),
    }
}
