//! Tests of the journal on working, full, failing and corrupt disks.

use std::fs;
use std::sync::atomic::AtomicUsize;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tempfile::TempDir;

use super::*;

mod damage;
mod disk;
mod power;
mod rates;

pub(crate) use disk::TestDisk;
pub(crate) use power::mutations;

pub(crate) fn journal(directory: &TempDir) -> Journal {
    Journal::open(directory.path(), "d1", CommitLimits::default()).unwrap()
}

async fn put(journal: &Journal, key: &str, value: &str) -> Result<(), HostError> {
    let (key, value) = (key.to_owned(), value.to_owned());
    let put = move |pages: &Pages<'_>| {
        Ok(pages.put(RecordKind::Desired, key.as_bytes(), value.as_bytes())?)
    };
    journal.write(put).await
}

fn get(journal: &Journal, key: &str) -> Option<String> {
    let value = journal.read(|view| view.get(RecordKind::Desired, key.as_bytes())).unwrap();
    value.map(|value| String::from_utf8(value).unwrap())
}

#[tokio::test]
async fn written_records_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let first = journal(&directory);
    put(&first, "a", "1").await.unwrap();
    put(&first, "b", "2").await.unwrap();
    put(&first, "a", "3").await.unwrap();
    first.close().await;
    assert!(put(&first, "a", "4").await.is_err());

    let second = journal(&directory);
    assert_eq!(get(&second, "a").as_deref(), Some("3"));
    assert_eq!(get(&second, "b").as_deref(), Some("2"));
    assert_eq!(second.set_aside(), None);
}

#[tokio::test]
async fn a_refused_change_does_not_affect_others() {
    let directory = tempfile::tempdir().unwrap();
    let journal = journal(&directory);
    let no = || HostError::Denied("no".into());
    let refused = journal.write(move |_| -> Result<(), ChangeError> { Err(no().into()) });
    let (refused, done) = tokio::join!(refused, put(&journal, "a", "1"));

    assert_eq!(refused, Err(no()));
    done.unwrap();
    assert_eq!(get(&journal, "a").as_deref(), Some("1"));
}

#[tokio::test]
async fn concurrent_changes_share_their_syncs() {
    let directory = tempfile::tempdir().unwrap();
    let disk = TestDisk::default();
    let journal = disk.journal(directory.path());
    put(&journal, "first", "1").await.unwrap();
    let before = disk.syncs.load(Ordering::SeqCst);

    let pause = disk.pause.lock();
    let keys: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let mut all = std::pin::pin!(join_all(keys.iter().map(|key| put(&journal, key, "x"))));
    // The first poll puts all changes into the writer's queue.
    assert!(all.as_mut().now_or_never().is_none());
    drop(pause);
    assert!(all.await.iter().all(Result::is_ok));

    let syncs = disk.syncs.load(Ordering::SeqCst) - before;
    assert!(syncs <= 10, "{syncs} syncs for 100 changes");
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_writing_works_again_once_there_is_space() {
    let directory = tempfile::tempdir().unwrap();
    let disk = TestDisk::default();
    let journal = disk.journal(directory.path());
    put(&journal, "a", "1").await.unwrap();

    disk.fill_after(0);
    let undone = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&undone);
    let write = |pages: &Pages<'_>| Ok(pages.put(RecordKind::Desired, b"a", b"2")?);
    let error = journal.write_or(write, move |()| flag.store(true, Ordering::SeqCst)).await;
    let HostError::Other(reason) = error.unwrap_err() else { panic!("not the disk's error") };
    assert!(reason.starts_with("not written to disk"), "{reason}");
    assert!(undone.load(Ordering::SeqCst));

    disk.make_room();
    put(&journal, "b", "2").await.unwrap();
    assert_eq!(get(&journal, "a").as_deref(), Some("1"));
    assert_eq!(get(&journal, "b").as_deref(), Some("2"));
}

#[tokio::test]
async fn acknowledged_changes_survive_a_commit_that_fails_at_any_write() {
    let directory = tempfile::tempdir().unwrap();
    let disk = TestDisk::default();
    let journal = disk.journal(directory.path());
    let mut acknowledged = "none".to_owned();
    put(&journal, "key", &acknowledged).await.unwrap();
    let mut failures = 0;
    for writes in 0..24 {
        disk.fill_after(writes);
        let value = format!("after {writes} {}", "x".repeat(10_000));
        match put(&journal, "key", &value).await {
            Ok(()) => acknowledged.clone_from(&value),
            Err(_) => failures += 1,
        }
        disk.make_room();
        put(&journal, "other", &value).await.unwrap();
        // A refused change may still have been persisted, but the value is never older than the
        // last acknowledged one.
        let found = get(&journal, "key").unwrap();
        assert!(found == acknowledged || found == value, "{found:.20} for {acknowledged:.20}");
        acknowledged = found;
    }
    assert!(failures > 2, "the disk never failed within a commit");
    journal.close().await;
    let journal = disk.journal(directory.path());
    assert_eq!(get(&journal, "key"), Some(acknowledged));
    assert_eq!(journal.set_aside(), None);
}

/// Source with a single number.
#[derive(Default)]
struct Number {
    value: AtomicUsize,
    saved: AtomicUsize,
}

impl Source for Number {
    fn save(&self, pages: &Pages<'_>) -> Result<bool, DiskError> {
        let value = self.value.load(Ordering::SeqCst).to_string();
        pages.put(RecordKind::Desired, b"number", value.as_bytes())?;
        Ok(true)
    }

    fn saved(&self, written: bool) {
        self.saved.fetch_add(written.into(), Ordering::SeqCst);
    }

    fn lost(&self) {}
}

#[tokio::test]
async fn a_source_is_persisted_after_a_nudge_with_every_write_and_on_closing() {
    let directory = tempfile::tempdir().unwrap();
    let first = journal(&directory);
    let number = Arc::new(Number::default());
    first.keep(Arc::clone(&number) as _);

    number.value.store(1, Ordering::SeqCst);
    first.nudge();
    while get(&first, "number").as_deref() != Some("1") {
        tokio::task::yield_now().await;
    }
    number.value.store(2, Ordering::SeqCst);
    put(&first, "a", "1").await.unwrap();
    assert_eq!(get(&first, "number").as_deref(), Some("2"));
    number.value.store(3, Ordering::SeqCst);
    first.close().await;

    assert_eq!(get(&journal(&directory), "number").as_deref(), Some("3"));
    assert!(number.saved.load(Ordering::SeqCst) >= 3);
}

#[tokio::test]
async fn a_directory_in_use_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let first = journal(&directory);

    let error = Journal::open(directory.path(), "d1", CommitLimits::default()).err().unwrap();
    assert!(matches!(error, JournalError::InUse(_)), "{error}");
    assert!(error.to_string().contains(&directory.path().display().to_string()), "{error}");

    first.close().await;
    Journal::open(directory.path(), "d1", CommitLimits::default()).unwrap();
}

#[tokio::test]
async fn a_journal_of_another_device_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let first = journal(&directory);
    put(&first, "a", "1").await.unwrap();
    first.close().await;

    let second = Journal::open(directory.path(), "d2", CommitLimits::default()).unwrap();

    assert_eq!(get(&second, "a"), None);
    assert!(second.set_aside().is_some_and(|file| file.exists()));
}

#[tokio::test]
async fn a_corrupt_file_is_renamed_and_replaced_by_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    let first = journal(&directory);
    for n in 0..200 {
        put(&first, &n.to_string(), &"x".repeat(1000)).await.unwrap();
    }
    first.close().await;
    let path = directory.path().join("journal.redb");
    let whole = fs::read(&path).unwrap();
    let mut scribbled = whole.clone();
    scribbled[4096..20_000].fill(0xA5);

    for (what, bytes) in [
        ("not a database", b"hello, this is no database".repeat(1000)),
        ("cut in half", whole[..whole.len() / 2].to_vec()),
        ("cut to one page", whole[..4096].to_vec()),
        ("cut to ten bytes", whole[..10].to_vec()),
        ("scribbled over", scribbled),
    ] {
        fs::write(&path, &bytes).unwrap();

        let again = journal(&directory);

        let aside = again.set_aside().unwrap_or_else(|| panic!("{what}: taken as good"));
        assert_eq!(fs::read(aside).unwrap(), bytes, "{what}");
        assert_eq!(get(&again, "1"), None, "{what}");
        put(&again, "1", "anew").await.unwrap();
        again.close().await;
    }
    let kept = fs::read_dir(directory.path()).unwrap().filter(|entry| {
        entry.as_ref().unwrap().path().extension().is_some_and(|it| it == "damaged")
    });
    assert_eq!(kept.count(), 3);
}

#[tokio::test]
async fn a_single_corrupt_byte_never_prevents_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let first = journal(&directory);
    for n in 0..20 {
        put(&first, &n.to_string(), "a value of some length").await.unwrap();
    }
    first.close().await;
    let path = directory.path().join("journal.redb");
    let whole = fs::read(&path).unwrap();
    // Positions in every part of the header, and throughout the file.
    for at in (0..320).step_by(7).chain((320..whole.len()).step_by(whole.len() / 40)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&path, &bytes).unwrap();

        let again = journal(&directory);

        if again.set_aside().is_none() {
            assert_eq!(get(&again, "7").as_deref(), Some("a value of some length"), "byte {at}");
        }
        put(&again, "new", "1").await.unwrap();
        again.close().await;
    }
}
