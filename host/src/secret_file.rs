//! Files with secrets, which other users must not be able to read.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use program::text;

/// Permissions that such a file must not have: any for others, and writing for the group.
/// Reading is allowed for the group, since Debian's `ssl-cert` and systemd units use it.
const FORBIDDEN_MODE: u32 = 0o027;

/// Reason why a file with a secret is not used.
#[derive(Debug)]
pub(crate) enum SecretFileError {
    /// File that cannot be read.
    Read(io::Error),
    /// File that others can read or change, with its permission bits.
    Mode(u32),
}

/// Reads a file. Blocks.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, SecretFileError> {
    let metadata = fs::metadata(path).map_err(SecretFileError::Read)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & FORBIDDEN_MODE != 0 {
        return Err(SecretFileError::Mode(mode));
    }
    text::read_bytes(path).map_err(SecretFileError::Read)
}
