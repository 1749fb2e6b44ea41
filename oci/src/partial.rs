//! A file that receives a blob and survives an interruption.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use crate::{Descriptor, Digest, Hasher, SourceError};

/// Length of the pieces in which a file is read.
const PIECE: usize = 64 * 1024;

/// A file with the start of a blob, and the digest of that start.
pub(crate) struct Partial {
    path: PathBuf,
    file: tokio::fs::File,
    hasher: Hasher,
    length: u64,
    expected: Digest,
}

impl Partial {
    /// Opens or creates a file, and reads the bytes that it has. A file that is longer than the
    /// blob is cleared.
    pub(crate) async fn open(path: &Path, blob: &Descriptor) -> Result<Partial, SourceError> {
        let (owned, size) = (path.to_owned(), blob.size);
        let opening = tokio::task::spawn_blocking(move || open(&owned, size));
        let opened = opening.await.map_err(io::Error::other).flatten();
        let (file, hasher, length) = opened.map_err(|error| failed(path, error))?;
        let file = tokio::fs::File::from_std(file);
        Ok(Partial { path: path.to_owned(), file, hasher, length, expected: blob.digest })
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) async fn append(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        let written = self.file.write_all(bytes).await;
        written.map_err(|error| failed(&self.path, error))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    pub(crate) async fn clear(&mut self) -> Result<(), SourceError> {
        if self.length == 0 {
            return Ok(());
        }
        self.hasher = Hasher::new();
        self.length = 0;
        let cleared = async {
            self.file.set_len(0).await?;
            self.file.seek(SeekFrom::Start(0)).await.map(drop)
        };
        cleared.await.map_err(|error| failed(&self.path, error))
    }

    /// Compares the digest of the bytes with that of the blob.
    pub(crate) fn check(&self) -> Result<(), SourceError> {
        match self.hasher.clone().finish() {
            digest if digest == self.expected => Ok(()),
            digest => Err(SourceError::WrongDigest {
                subject: self.expected.to_string(),
                found: digest.to_string(),
            }),
        }
    }

    /// Waits until the operating system has the bytes.
    pub(crate) async fn flush(&mut self) -> Result<(), SourceError> {
        self.file.flush().await.map_err(|error| failed(&self.path, error))
    }

    /// Waits until the bytes are on disk.
    pub(crate) async fn finish(mut self) -> Result<(), SourceError> {
        self.flush().await?;
        self.file.sync_all().await.map_err(|error| failed(&self.path, error))
    }
}

fn open(path: &Path, size: u64) -> io::Result<(fs::File, Hasher, u64)> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
    let mut hasher = Hasher::new();
    let length = file.metadata()?.len();
    if length > size {
        file.set_len(0)?;
        return Ok((file, hasher, 0));
    }
    let mut piece = vec![0; PIECE];
    let mut read = 0;
    while read < length {
        match file.read(&mut piece)? {
            0 => break,
            count => {
                hasher.update(&piece[..count]);
                read += count as u64;
            }
        }
    }
    file.seek(SeekFrom::Start(read))?;
    Ok((file, hasher, read))
}

fn failed(path: &Path, source: io::Error) -> SourceError {
    SourceError::File { path: path.to_owned(), source }
}
