//! Disk with simulated failures.

use std::io;
use std::sync::atomic::{AtomicI64, AtomicUsize};

use redb::StorageBackend;
use redb::backends::FileBackend;

use super::super::*;

/// Disk that a test can make full.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestDisk {
    /// Number of writes and syncs that still succeed, if `limited` is set.
    left: Arc<AtomicI64>,
    limited: Arc<AtomicBool>,
    pub(super) syncs: Arc<AtomicUsize>,
    /// `true` if the next write or sync panics.
    panics: Arc<AtomicBool>,
    /// Lock that blocks syncs while a test holds it.
    pub(super) pause: Arc<Mutex<()>>,
}

impl TestDisk {
    pub(crate) fn journal(&self, directory: &Path) -> Journal {
        self.journal_with(directory, CommitLimits::default())
    }

    pub(super) fn journal_with(&self, directory: &Path, commits: CommitLimits) -> Journal {
        let disk = self.clone();
        let open = move |builder: &redb::Builder, file| {
            let file = FileBackend::new(file)?;
            builder.create_with_backend(Backend { file, disk: disk.clone() })
        };
        Journal::open_on(Disk(Box::new(open)), directory, "d1", commits).unwrap()
    }

    /// Makes the disk full after this number of writes.
    pub(crate) fn fill_after(&self, writes: i64) {
        self.left.store(writes, Ordering::SeqCst);
        self.limited.store(true, Ordering::SeqCst);
    }

    pub(crate) fn panic_at_next_write(&self) {
        self.panics.store(true, Ordering::SeqCst);
    }

    pub(crate) fn make_room(&self) {
        self.limited.store(false, Ordering::SeqCst);
    }

    fn take(&self) -> io::Result<()> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "the disk is broken");
        if self.limited.load(Ordering::SeqCst) && self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Backend {
    file: FileBackend,
    disk: TestDisk,
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.take()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        drop(self.disk.pause.lock());
        self.disk.take()?;
        self.disk.syncs.fetch_add(1, Ordering::SeqCst);
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.take()?;
        self.file.write(offset, data)
    }
}
