//! Ids of 16 bytes.

use std::fmt;
use std::str::FromStr;

/// An id of 16 bytes: the nonce of a connection, the id of a request, or the ready id of a
/// method. Its text is 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CorrelationId([u8; 16]);

/// An id that does not have 16 bytes or 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("correlation id is not 16 bytes or 32 hexadecimal digits")]
pub struct CorrelationIdError;

impl CorrelationId {
    /// Returns an id of random bytes, marked as a UUID of version 4.
    #[must_use]
    pub fn from_random(mut bytes: [u8; 16]) -> CorrelationId {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        CorrelationId(bytes)
    }

    /// Returns the bytes of the id.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<[u8; 16]> for CorrelationId {
    fn from(bytes: [u8; 16]) -> CorrelationId {
        CorrelationId(bytes)
    }
}

impl TryFrom<&[u8]> for CorrelationId {
    type Error = CorrelationIdError;

    fn try_from(bytes: &[u8]) -> Result<CorrelationId, CorrelationIdError> {
        bytes.try_into().map(CorrelationId).map_err(|_| CorrelationIdError)
    }
}

impl FromStr for CorrelationId {
    type Err = CorrelationIdError;

    /// Parses 32 digits of either case, since clients differ.
    fn from_str(text: &str) -> Result<CorrelationId, CorrelationIdError> {
        if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(CorrelationIdError);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| CorrelationIdError)?;
        Ok(CorrelationId(number.to_be_bytes()))
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
