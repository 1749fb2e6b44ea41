//! Tests of corruption that is detected at run time, and of files of other versions.

use super::*;
use crate::supervision::Supervisor;

#[tokio::test]
async fn a_panic_in_a_commit_fails_only_the_changes_of_this_commit() {
    let directory = tempfile::tempdir().unwrap();
    let disk = TestDisk::default();
    let journal = disk.journal(directory.path());
    put(&journal, "a", "1").await.unwrap();
    disk.panic_at_next_write();

    let HostError::Other(reason) = put(&journal, "a", "2").await.unwrap_err() else { panic!() };
    assert_eq!(reason, "not written to disk: the disk is broken");
    put(&journal, "b", "2").await.unwrap();
    assert_eq!(get(&journal, "a").as_deref(), Some("1"));
    assert_eq!(get(&journal, "b").as_deref(), Some("2"));
}

#[tokio::test]
async fn a_panic_in_a_read_is_an_error_and_makes_the_journal_check_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Arc::new(journal(&directory));
    put(&journal, "a", "1").await.unwrap();

    let read = journal.read(|_| -> Result<(), DiskError> { panic!("a bad page") });
    assert_eq!(read, Err(HostError::Other("journal: a bad page".into())));
    put(&journal, "b", "2").await.unwrap();
    assert_eq!(get(&journal, "a").as_deref(), Some("1"));
    let read = journal.read_apart(|view| view.get(RecordKind::Desired, b"b")).await;
    assert_eq!(read, Ok(Some(b"2".to_vec())));
}

#[tokio::test]
async fn a_file_that_becomes_corrupt_at_run_time_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let disk = TestDisk::default();
    let journal = disk.journal(directory.path());
    put(&journal, "a", "1").await.unwrap();
    let path = directory.path().join("journal.redb");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0xA5);
    fs::write(&path, bytes).unwrap();
    disk.panic_at_next_write();

    put(&journal, "b", "2").await.unwrap_err();
    put(&journal, "c", "3").await.unwrap();
    assert_eq!(get(&journal, "a"), None);
    assert_eq!(get(&journal, "c").as_deref(), Some("3"));
    assert_eq!(set_aside(&directory), 1);
}

#[tokio::test]
async fn a_panic_of_the_writer_ends_the_host() {
    let directory = tempfile::tempdir().unwrap();
    let disk = TestDisk::default();
    let journal = disk.journal(directory.path());
    let supervisor = Supervisor::new(None);
    journal.supervise(supervisor.pulse("journal"));
    disk.fill_after(0);
    let write = |pages: &Pages<'_>| Ok(pages.put(RecordKind::Desired, b"a", b"1")?);
    journal.write_or(write, |()| panic!("cannot be undone")).await.unwrap_err();
    let ended = supervisor.ended().await.to_string();
    assert_eq!(ended, "task `journal` panicked: cannot be undone");
    put(&journal, "b", "1").await.unwrap_err();
    journal.close().await;
}

#[tokio::test]
async fn a_journal_of_another_layout_is_refused_and_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let first = journal(&directory);
    first.write(|pages| Ok(pages.put(RecordKind::About, b"layout", b"2")?)).await.unwrap();
    first.close().await;
    check_refused(&directory, "journal has layout `2`; this version of the host reads `1`");
}

#[tokio::test]
async fn a_journal_of_another_format_is_refused_and_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    journal(&directory).close().await;
    let path = directory.path().join("journal.redb");
    let whole = fs::read(&path).unwrap();
    for format in [2, 4] {
        let mut bytes = whole.clone();
        (bytes[64], bytes[192]) = (format, format);
        fs::write(&path, bytes).unwrap();
        let reason =
            format!("journal has file format `{format}`; this version of the host reads `3`");
        check_refused(&directory, &reason);
    }
}

fn check_refused(directory: &TempDir, reason: &str) {
    let error = Journal::open(directory.path(), "d1", CommitLimits::default()).err().unwrap();
    assert!(matches!(error, JournalError::Layout { .. }), "{error}");
    let path = directory.path().display();
    assert_eq!(error.to_string(), format!("data directory {path}: {reason}"));
    assert!(directory.path().join("journal.redb").exists());
    assert_eq!(set_aside(directory), 0);
}

/// Returns the number of corrupt files that were kept.
fn set_aside(directory: &TempDir) -> usize {
    let names = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|it| it == "damaged")).count()
}
