//! Consistent reading of a file that can be replaced or overwritten at any time.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use program::FileStamp;
use sha2::{Digest, Sha256};

/// The maximum number of attempts to read a file that changes meanwhile.
const MAX_ATTEMPTS: usize = 3;

/// The content of a file at one moment.
#[derive(Debug)]
pub(crate) struct WholeFile {
    pub(crate) bytes: Vec<u8>,
    /// The SHA-256 digest of the bytes, in hexadecimal.
    pub(crate) digest: String,
    /// User who owns the file, and its permissions.
    pub(crate) owner: Owner,
}

/// Owner of a file and its permissions, from its inode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) user: u32,
    pub(crate) mode: u32,
}

/// The reason why a file cannot be read.
#[derive(Debug)]
pub(crate) enum FileError {
    Read(io::Error),
    /// A file above the limit.
    TooLarge {
        bytes: u64,
        limit_bytes: usize,
    },
}

impl WholeFile {
    /// Reads a regular file of at most `limit_bytes`. Repeats a read during which the file changed, and
    /// returns an error if it keeps changing.
    pub(crate) fn read(path: &Path, limit_bytes: usize) -> Result<WholeFile, FileError> {
        for _ in 0..MAX_ATTEMPTS {
            let file = program::open(path).map_err(FileError::Read)?;
            let before = file.metadata().map_err(FileError::Read)?;
            if before.len() > limit_bytes as u64 {
                return Err(FileError::TooLarge { bytes: before.len(), limit_bytes });
            }
            let mut bytes = Vec::new();
            let max_bytes = limit_bytes as u64 + 1;
            (&file).take(max_bytes).read_to_end(&mut bytes).map_err(FileError::Read)?;
            let after = file.metadata().map_err(FileError::Read)?;
            let is_same = FileStamp::new(&before) == FileStamp::new(&after);
            if is_same && bytes.len() as u64 == after.len() {
                let digest = hex(&Sha256::digest(&bytes));
                let owner = Owner { user: after.uid(), mode: after.mode() };
                return Ok(WholeFile { bytes, digest, owner });
            }
        }
        Err(FileError::Read(io::Error::other("is being written")))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_file_is_that_of_sha256sum() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let file = WholeFile::read(&path, 3).unwrap();
        assert!(file.digest.starts_with("ba7816bf8f01cfea414140de5dae2223"), "{}", file.digest);
    }

    #[test]
    fn a_file_above_the_limit_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let error = WholeFile::read(&path, 2).unwrap_err();
        assert!(matches!(error, FileError::TooLarge { bytes: 3, limit_bytes: 2 }), "{error:?}");
    }
}
