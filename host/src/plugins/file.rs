//! A file that may be replaced, or written over, while it is read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use program::FileStamp;
use sha2::{Digest, Sha256};

/// Attempts to read a file that changes while it is read.
const READS: usize = 3;

/// A file's bytes as they were at one moment.
#[derive(Debug)]
pub(crate) struct WholeFile {
    pub(crate) bytes: Vec<u8>,
    /// SHA-256 in hex.
    pub(crate) digest: String,
}

#[derive(Debug)]
pub(crate) enum FileError {
    Read(io::Error),
    TooLarge { bytes: u64, limit_bytes: usize },
}

impl WholeFile {
    /// Reads no more than the limit, and nothing that is written meanwhile.
    pub(crate) fn read(path: &Path, limit_bytes: usize) -> Result<WholeFile, FileError> {
        for _ in 0..READS {
            let file = File::open(path).map_err(FileError::Read)?;
            let before = file.metadata().map_err(FileError::Read)?;
            if before.len() > limit_bytes as u64 {
                return Err(FileError::TooLarge { bytes: before.len(), limit_bytes });
            }
            let mut bytes = Vec::new();
            let most = limit_bytes as u64 + 1;
            (&file).take(most).read_to_end(&mut bytes).map_err(FileError::Read)?;
            let after = file.metadata().map_err(FileError::Read)?;
            let is_same = FileStamp::new(&before) == FileStamp::new(&after);
            if is_same && bytes.len() as u64 == after.len() {
                let digest = hex(&Sha256::digest(&bytes));
                return Ok(WholeFile { bytes, digest });
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
    fn a_file_is_known_by_the_digest_that_sha256sum_gives() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let file = WholeFile::read(&path, 3).unwrap();
        assert!(file.digest.starts_with("ba7816bf8f01cfea414140de5dae2223"), "{}", file.digest);
    }

    #[test]
    fn no_more_is_read_than_is_allowed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let error = WholeFile::read(&path, 2).unwrap_err();
        assert!(matches!(error, FileError::TooLarge { bytes: 3, limit_bytes: 2 }), "{error:?}");
    }
}
