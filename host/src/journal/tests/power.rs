//! Simulated disk that can fail at any operation and lose unsynced writes.

use std::io;

use redb::StorageBackend;

use super::*;

/// Disk in memory.
#[derive(Debug, Clone, Default)]
struct Volatile(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    synced: Vec<u8>,
    /// Changes since the last sync, in order.
    unsynced: Vec<Change>,
    now: Vec<u8>,
    /// Number of operations that still succeed; `None` for all.
    left: Option<u32>,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Write(at, data) => {
                let end = at + data.len();
                to.resize(to.len().max(end), 0);
                to[*at..end].copy_from_slice(data);
            }
            Change::Length(length) => to.resize(*length, 0),
        }
    }
}

impl Volatile {
    fn journal(&self, directory: &TempDir) -> Journal {
        let disk = self.clone();
        let open = move |builder: &redb::Builder, _| builder.create_with_backend(disk.clone());
        Journal::open_on(Disk(Box::new(open)), directory.path(), "d1", CommitLimits::default())
            .unwrap()
    }

    /// Makes all operations after this number fail.
    fn fail_after(&self, operations: u32) {
        self.0.lock().left = Some(operations);
    }

    fn mend(&self) {
        self.0.lock().left = None;
    }

    /// Discards each unsynced change for which `keeps` returns `false`.
    fn lose_power(&self, mut keeps: impl FnMut() -> bool) {
        let mut contents = self.0.lock();
        let mut after = contents.synced.clone();
        for change in contents.unsynced.drain(..) {
            // A file system always keeps the length of a file in this simulation.
            if matches!(change, Change::Length(_)) || keeps() {
                change.apply(&mut after);
            }
        }
        (contents.synced, contents.now) = (after.clone(), after);
        contents.left = None;
    }

    /// Returns the contents for one operation, or an error if the disk fails.
    fn operate(&self) -> io::Result<parking_lot::MutexGuard<'_, Contents>> {
        let mut contents = self.0.lock();
        match &mut contents.left {
            Some(0) => return Err(io::Error::other("input/output error")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(contents)
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut contents = self.operate()?;
        change.apply(&mut contents.now);
        contents.unsynced.push(change);
        Ok(())
    }
}

impl StorageBackend for Volatile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.operate()?.now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let contents = self.operate()?;
        let at = usize::try_from(offset).unwrap();
        let end = at + out.len();
        let found = contents.now.get(at..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(usize::try_from(len).unwrap()))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut contents = self.operate()?;
        contents.synced = contents.now.clone();
        contents.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write(usize::try_from(offset).unwrap(), data.to_vec()))
    }
}

/// Returns altered copies of a record, with one flipped bit or several random changes each.
pub(crate) fn mutations(record: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let (flipped, changed) = (record.to_vec(), record.to_vec());
    let flips = (0..record.len() * 8).map(move |bit| {
        let mut bytes = flipped.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let changes = (0..5_000).map(move |_| {
        let mut bytes = changed.clone();
        for _ in 0..=random.below(6) {
            let at = usize::try_from(random.below(bytes.len() as u64 + 1)).unwrap();
            match random.below(3) {
                0 => bytes
                    .insert(at, b"\0{}[]\":,9-\xff"[usize::try_from(random.below(11)).unwrap()]),
                1 => bytes.truncate(at),
                _ => drop(bytes.drain(at..(at + 3).min(bytes.len()))),
            }
        }
        bytes
    });
    flips.chain(changes)
}

/// Pseudo-random number generator with a fixed seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[tokio::test]
async fn acknowledged_changes_survive_a_loss_of_power_at_any_write() {
    for seed in 1..60 {
        let directory = tempfile::tempdir().unwrap();
        let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let disk = Volatile::default();
        let mut acknowledged = 0;
        for round in 0..4 {
            let journal = disk.journal(&directory);
            assert_eq!(journal.set_aside(), None, "seed {seed}, round {round}");
            let found = get(&journal, "number").map_or(0, |text| text.trim().parse().unwrap());
            assert!(found >= acknowledged, "seed {seed}: {found} for {acknowledged}");
            acknowledged = found;
            let fails_at = random.below(40);
            disk.fail_after(u32::try_from(fails_at).unwrap());
            for number in found + 1..found + 20 {
                let text = format!("{number:<3000}");
                match put(&journal, "number", &text).await {
                    Ok(()) => acknowledged = number,
                    Err(_) => break,
                }
            }
            // After the loss of power, the host can write nothing.
            disk.fail_after(0);
            journal.close().await;
            drop(journal);
            disk.lose_power(|| random.below(2) == 0);
        }
    }
}

#[tokio::test]
async fn acknowledged_changes_survive_an_io_error_at_any_operation() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Volatile::default();
    let journal = disk.journal(&directory);
    put(&journal, "number", "0").await.unwrap();
    let mut acknowledged = 0;
    let mut failures = 0;
    for step in 0..80 {
        disk.fail_after(step);
        let number = i64::from(step) + 1;
        match put(&journal, "number", &format!("{number:<3000}")).await {
            Ok(()) => acknowledged = number,
            Err(_) => failures += 1,
        }
        disk.mend();
        put(&journal, "other", "x").await.unwrap();
        let found: i64 = get(&journal, "number").unwrap().trim().parse().unwrap();
        assert!(found == acknowledged || found == number, "{found} for {acknowledged}");
        acknowledged = found;
    }
    assert!(failures > 5, "the disk never failed within a commit");
    assert_eq!(get(&journal, "other").as_deref(), Some("x"));
    journal.close().await;
    drop(journal);
    let again = disk.journal(&directory);
    assert_eq!(again.set_aside(), None);
    assert_eq!(get(&again, "number").unwrap().trim(), acknowledged.to_string());
}
