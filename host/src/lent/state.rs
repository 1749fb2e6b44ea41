//! The state of plugins: keys and values in the journal, separate for each plugin.
//!
//! There is no cache: a read returns the last committed value, and a change returns once it is
//! persisted.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use plugin::{HostError, StateStore};

use crate::journal::{ChangeError, DiskError, Journal, Pages, RecordKind, Snapshot};

/// The maximum number of keys of a plugin. Each key has an overhead of about 100 bytes that the
/// limit on bytes does not include.
const MAX_KEYS: u64 = 10_000;

/// The state of all plugins.
pub(crate) struct State {
    journal: Arc<Journal>,
}

impl State {
    pub(crate) fn new(journal: Arc<Journal>) -> State {
        State { journal }
    }

    /// Sets or deletes a key, as the function [`change`] does, and waits until it is persisted.
    async fn change(
        &self,
        plugin: &str,
        key: String,
        expected: Option<Option<Vec<u8>>>,
        value: Option<Vec<u8>>,
        max_bytes: usize,
    ) -> Result<bool, HostError> {
        let name = plugin.to_owned();
        let change = move |pages: &Pages<'_>| {
            change(pages, &name, &key, expected, value.as_deref(), max_bytes)
        };
        self.journal.write_for(plugin, change, drop).await
    }
}

/// The size of one plugin's state: the number of its keys, and the bytes of all keys and values.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Size {
    keys: u64,
    bytes: u64,
}

/// Sets a key, or deletes it if `value` is `None`. Returns `false`, without a change, if
/// `expected` is set and differs from the current value.
fn change(
    pages: &Pages<'_>,
    plugin: &str,
    key: &str,
    expected: Option<Option<Vec<u8>>>,
    value: Option<&[u8]>,
    max_bytes: usize,
) -> Result<bool, ChangeError> {
    let record = record_key(plugin, key);
    let before = pages.get(RecordKind::State, &record)?;
    if expected.is_some_and(|expected| expected != before) {
        return Ok(false);
    }
    let Size { keys, bytes } = Size::read(plugin, pages)?;
    let one = |value: Option<&[u8]>| value.map_or((0, 0), |v| (1, (key.len() + v.len()) as u64));
    let ((keys_before, bytes_before), (keys_after, bytes_after)) =
        (one(before.as_deref()), one(value));
    let size = Size {
        keys: (keys + keys_after).saturating_sub(keys_before),
        bytes: (bytes + bytes_after).saturating_sub(bytes_before),
    };
    // A plugin above a lowered limit may still delete.
    if size.bytes > bytes && size.bytes > max_bytes as u64 {
        let reason = format!("state would have {} bytes; {max_bytes} are allowed", size.bytes);
        return Err(HostError::QuotaExceeded(reason).into());
    }
    if size.keys > keys && size.keys > MAX_KEYS {
        let reason = format!("state has {keys} keys; at most {MAX_KEYS} are allowed");
        return Err(HostError::QuotaExceeded(reason).into());
    }
    match value {
        Some(value) => pages.put(RecordKind::State, &record, value)?,
        None => pages.remove(RecordKind::State, &record)?,
    }
    size.put(plugin, pages)?;
    Ok(true)
}

impl Size {
    /// Reads the size of a plugin's state.
    fn read(plugin: &str, pages: &Pages<'_>) -> Result<Size, DiskError> {
        let found = pages.get(RecordKind::StateSize, plugin.as_bytes())?.unwrap_or_default();
        let number = |at: usize| {
            let bytes = found.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_be_bytes)
        };
        Ok(Size { keys: number(0), bytes: number(8) })
    }

    /// Stores the size of a plugin's state.
    fn put(self, plugin: &str, pages: &Pages<'_>) -> Result<(), DiskError> {
        let value = [self.keys.to_be_bytes(), self.bytes.to_be_bytes()].concat();
        pages.put(RecordKind::StateSize, plugin.as_bytes(), &value)
    }
}

/// Returns the key of a record in the journal. The name of a plugin contains no zero byte, so the
/// first one ends it.
fn record_key(plugin: &str, key: &str) -> Vec<u8> {
    [plugin.as_bytes(), b"\0", key.as_bytes()].concat()
}

impl StateStore for State {
    fn get<'a>(
        &'a self,
        plugin: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, HostError>> {
        let record = record_key(plugin, key);
        Box::pin(self.journal.read_apart(move |view| view.get(RecordKind::State, &record)))
    }

    fn keys<'a>(
        &'a self,
        plugin: &'a str,
        prefix: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<String>, HostError>> {
        let prefix = record_key(plugin, prefix);
        let keys = move |view: &Snapshot| view.keys(RecordKind::State, &prefix, limit as usize);
        Box::pin(async move {
            let found = self.journal.read_apart(keys).await?;
            let name =
                |record: Vec<u8>| String::from_utf8_lossy(&record[plugin.len() + 1..]).into_owned();
            Ok(found.into_iter().map(name).collect())
        })
    }

    fn set<'a>(
        &'a self,
        plugin: &'a str,
        key: String,
        value: Vec<u8>,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(
            async move { self.change(plugin, key, None, Some(value), max_bytes).await.map(drop) },
        )
    }

    fn delete<'a>(&'a self, plugin: &'a str, key: String) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async move { self.change(plugin, key, None, None, 0).await.map(drop) })
    }

    fn swap<'a>(
        &'a self,
        plugin: &'a str,
        key: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<bool, HostError>> {
        Box::pin(self.change(plugin, key, Some(expected), value, max_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::{TestDisk, journal};

    const MAX_BYTES: usize = 1000;

    async fn set(state: &State, key: &str, value: &[u8]) -> Result<(), HostError> {
        state.set("p", key.into(), value.to_vec(), MAX_BYTES).await
    }

    #[tokio::test]
    async fn a_value_is_private_to_its_plugin_and_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::new(Arc::new(journal(&directory)));
        set(&state, "a", b"1").await.unwrap();
        set(&state, "a", b"2").await.unwrap();
        set(&state, "gone", b"1").await.unwrap();
        state.delete("p", "gone".into()).await.unwrap();
        state.delete("p", "never".into()).await.unwrap();
        state.set("pp", "a".into(), b"other".to_vec(), MAX_BYTES).await.unwrap();
        state.journal.close().await;
        drop(state);

        let state = State::new(Arc::new(journal(&directory)));
        assert_eq!(state.get("p", "a").await.unwrap().as_deref(), Some(b"2".as_slice()));
        assert_eq!(state.get("p", "gone").await.unwrap(), None);
        assert_eq!(state.get("pp", "a").await.unwrap().as_deref(), Some(b"other".as_slice()));
        assert_eq!(state.keys("p", "", 10).await.unwrap(), ["a"]);
    }

    #[tokio::test]
    async fn keys_are_sorted_and_limited_by_prefix_and_number() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::new(Arc::new(journal(&directory)));
        for key in ["b2", "b1", "a", "b3", "c"] {
            set(&state, key, b"").await.unwrap();
        }
        assert_eq!(state.keys("p", "b", 10).await.unwrap(), ["b1", "b2", "b3"]);
        assert_eq!(state.keys("p", "b", 2).await.unwrap(), ["b1", "b2"]);
        assert_eq!(state.keys("p", "", 10).await.unwrap().len(), 5);
        assert!(state.keys("q", "", 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn of_concurrent_swaps_from_one_value_exactly_one_succeeds() {
        let directory = tempfile::tempdir().unwrap();
        let state = Arc::new(State::new(Arc::new(journal(&directory))));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let state = Arc::clone(&state);
            tasks.spawn(async move {
                let mut succeeded = 0;
                while succeeded < 5 {
                    let current = state.get("p", "n").await.unwrap();
                    let next = current.as_ref().map_or(0, |bytes| bytes[0]) + 1;
                    let swap = state.swap("p", "n".into(), current, Some(vec![next]), MAX_BYTES);
                    succeeded += u32::from(swap.await.unwrap());
                }
            });
        }
        tasks.join_all().await;
        assert_eq!(state.get("p", "n").await.unwrap(), Some(vec![40]));
        assert!(state.swap("p", "n".into(), Some(vec![40]), None, MAX_BYTES).await.unwrap());
        assert!(!state.swap("p", "n".into(), Some(vec![40]), None, MAX_BYTES).await.unwrap());
    }

    #[tokio::test]
    async fn a_change_past_the_limit_is_rejected_and_a_smaller_one_accepted() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::new(Arc::new(journal(&directory)));
        set(&state, "big", &[0; 900]).await.unwrap();

        let error = set(&state, "more", &[0; 200]).await.unwrap_err();
        let reason = "state would have 1107 bytes; 1000 are allowed";
        assert_eq!(error, HostError::QuotaExceeded(reason.into()));
        assert_eq!(state.get("p", "more").await.unwrap(), None);

        set(&state, "big", &[0; 10]).await.unwrap();
        set(&state, "more", &[0; 200]).await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_is_an_error_and_the_old_value_remains() {
        let directory = tempfile::tempdir().unwrap();
        let disk = TestDisk::default();
        let state = State::new(Arc::new(disk.journal(directory.path())));
        set(&state, "a", b"1").await.unwrap();
        disk.fill_after(0);
        set(&state, "a", b"2").await.unwrap_err();
        disk.make_room();
        set(&state, "b", b"3").await.unwrap();
        assert_eq!(state.get("p", "a").await.unwrap().as_deref(), Some(b"1".as_slice()));
    }
}
