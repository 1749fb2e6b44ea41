//! Random bytes for keys and ids.

use super::error::StateError;

/// Returns random bytes from the operating system.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], StateError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| StateError::Random)?;
    Ok(bytes)
}
