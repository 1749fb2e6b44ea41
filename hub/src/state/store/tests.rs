//! Restarts, concurrent writers and unusable files.

use super::*;

fn put(key: &str, value: &str) -> RecordChange {
    RecordChange { kind: RecordKind::Twin, key: key.into(), value: Some(value.into()) }
}

fn twins(records: &[Record]) -> Vec<(&str, &[u8])> {
    let twins = records.iter().filter(|record| record.kind == RecordKind::Twin);
    twins.map(|record| (record.key.as_str(), record.value.as_slice())).collect()
}

#[test]
fn written_records_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (store, records) = Store::open(dir.path()).unwrap();
    assert!(twins(&records).is_empty());
    store.write(vec![put("a", "1"), put("b", "2")]).wait().unwrap();
    store.write(vec![put("b", "3")]).wait().unwrap();
    let removal = RecordChange { kind: RecordKind::Twin, key: "a".into(), value: None };
    store.write(vec![removal]).wait().unwrap();
    drop(store);

    let (_store, records) = Store::open(dir.path()).unwrap();
    assert_eq!(twins(&records), [("b", b"3".as_slice())]);
}

#[test]
fn concurrent_writes_are_all_persisted() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..20 {
                    store.write(vec![put(&format!("{writer}-{n}"), "x")]).wait().unwrap();
                }
            });
        }
    });
    drop(store);

    assert_eq!(twins(&Store::open(dir.path()).unwrap().1).len(), 160);
}

#[test]
fn an_unusable_directory_or_file_is_not_reported_as_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |dir: &Path| Store::open(dir).err().unwrap();
    let text = |error: &StateError| {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    };

    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = refused(&file);
    assert!(matches!(error, StateError::Directory { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("cannot create the data directory `{}`", file.display()));
    assert!(matches!(refused(&file.join("below")), StateError::Directory { .. }));

    let taken = dir.path().join("taken");
    std::fs::create_dir_all(taken.join(FILE_NAME)).unwrap();
    let error = refused(&taken);
    assert!(matches!(error, StateError::Open { .. }), "{error:?}");
    assert_eq!(
        text(&error),
        format!(
            "cannot open the state file `{}`: Is a directory (os error 21)",
            taken.join(FILE_NAME).display()
        )
    );

    // `/dev/full` fails like a full disk.
    let full = dir.path().join("full");
    std::fs::create_dir(&full).unwrap();
    std::os::unix::fs::symlink("/dev/full", full.join(FILE_NAME)).unwrap();
    let error = refused(&full);
    assert!(matches!(error, StateError::Io { .. }), "{error:?}");
}

#[test]
fn a_file_with_another_layout_is_not_reported_as_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let layout =
        RecordChange { kind: RecordKind::About, key: LAYOUT_KEY.into(), value: Some("2".into()) };
    store.write(vec![layout]).wait().unwrap();
    drop(store);

    let error = Store::open(dir.path()).err().unwrap();

    let path = dir.path().join(FILE_NAME);
    assert_eq!(
        error.to_string(),
        format!("state file `{}` has layout 2; this version reads layout 1", path.display())
    );
}

#[test]
fn a_file_in_use_is_reported_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let _store = Store::open(dir.path()).unwrap();

    let error = Store::open(dir.path()).err().unwrap();

    assert!(matches!(error, StateError::InUse { .. }), "{error}");
    let path = dir.path().join(FILE_NAME);
    assert_eq!(
        error.to_string(),
        format!("state file `{}` is in use by another process", path.display())
    );
}

#[test]
fn a_corrupt_file_is_reported_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let many = (0..500).map(|n| put(&n.to_string(), &"x".repeat(1000))).collect();
    store.write(many).wait().unwrap();
    drop(store);
    let path = dir.path().join(FILE_NAME);
    let intact = std::fs::read(&path).unwrap();
    let mut overwritten = intact.clone();
    overwritten[4096..20_000].fill(0xA5);

    for (case, bytes) in [
        ("not a database", b"hello, this is no database".repeat(1000)),
        ("truncated to half its size", intact[..intact.len() / 2].to_vec()),
        ("truncated to one page", intact[..4096].to_vec()),
        ("partly overwritten", overwritten),
    ] {
        std::fs::write(&path, &bytes).unwrap();

        let error = Store::open(dir.path()).err().unwrap_or_else(|| panic!("{case}"));

        assert!(matches!(error, StateError::Damaged { .. }), "{case}: {error}");
        assert!(error.to_string().contains("hub.redb"), "{case}: {error}");
    }
}
