//! State of plugins: keys and values in the journal, separate for each plugin.
//!
//! Nothing is cached in memory: a read sees the last commit, and a change returns when
//! its own is on disk.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use plugin::{HostError, StateStore};

use crate::journal::{Broken, Journal, Pages, RecordKind, Snapshot, Stop};

/// Keys that one plugin may have. Each costs some 100 bytes beside its own, which
/// the limit on bytes does not count.
const MOST_KEYS: u64 = 10_000;

/// State of plugins.
pub(crate) struct State {
    journal: Arc<Journal>,
}

impl State {
    pub(crate) fn new(journal: Arc<Journal>) -> State {
        State { journal }
    }

    async fn change(
        &self,
        plugin: &str,
        key: String,
        expected: Option<Option<Vec<u8>>>,
        value: Option<Vec<u8>>,
        most_bytes: usize,
    ) -> Result<bool, HostError> {
        let name = plugin.to_owned();
        let change = move |pages: &Pages<'_>| {
            change(pages, &name, &key, expected, value.as_deref(), most_bytes)
        };
        self.journal.write_for(plugin, change, drop).await
    }
}

/// Size of one plugin's state: its keys, and the bytes of keys and values.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Size {
    keys: u64,
    bytes: u64,
}

/// Sets or deletes a key, if its value is as expected; says whether it was.
fn change(
    pages: &Pages<'_>,
    plugin: &str,
    key: &str,
    expected: Option<Option<Vec<u8>>>,
    value: Option<&[u8]>,
    most_bytes: usize,
) -> Result<bool, Stop> {
    let place = place(plugin, key);
    let before = pages.get(RecordKind::State, &place)?;
    if expected.is_some_and(|expected| expected != before) {
        return Ok(false);
    }
    let Size { keys, bytes } = Size::of(plugin, pages)?;
    let one = |value: Option<&[u8]>| value.map_or((0, 0), |v| (1, (key.len() + v.len()) as u64));
    let ((keys_before, bytes_before), (keys_after, bytes_after)) =
        (one(before.as_deref()), one(value));
    let size = Size {
        keys: (keys + keys_after).saturating_sub(keys_before),
        bytes: (bytes + bytes_after).saturating_sub(bytes_before),
    };
    // A plugin above a lowered limit may still delete.
    if size.bytes > bytes && size.bytes > most_bytes as u64 {
        let why = format!("state would have {} bytes; {most_bytes} are allowed", size.bytes);
        return Err(HostError::QuotaExceeded(why).into());
    }
    if size.keys > keys && size.keys > MOST_KEYS {
        let why = format!("state has {keys} keys; no more are allowed");
        return Err(HostError::QuotaExceeded(why).into());
    }
    match value {
        Some(value) => pages.put(RecordKind::State, &place, value)?,
        None => pages.remove(RecordKind::State, &place)?,
    }
    size.put(plugin, pages)?;
    Ok(true)
}

impl Size {
    fn of(plugin: &str, pages: &Pages<'_>) -> Result<Size, Broken> {
        let found = pages.get(RecordKind::StateSize, plugin.as_bytes())?.unwrap_or_default();
        let number = |at: usize| {
            let bytes = found.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_be_bytes)
        };
        Ok(Size { keys: number(0), bytes: number(8) })
    }

    fn put(self, plugin: &str, pages: &Pages<'_>) -> Result<(), Broken> {
        let value = [self.keys.to_be_bytes(), self.bytes.to_be_bytes()].concat();
        pages.put(RecordKind::StateSize, plugin.as_bytes(), &value)
    }
}

/// The key in the journal. A plugin's name has no zero in it.
fn place(plugin: &str, key: &str) -> Vec<u8> {
    [plugin.as_bytes(), b"\0", key.as_bytes()].concat()
}

impl StateStore for State {
    fn get<'a>(
        &'a self,
        plugin: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, HostError>> {
        let place = place(plugin, key);
        Box::pin(self.journal.read_apart(move |view| view.get(RecordKind::State, &place)))
    }

    fn keys<'a>(
        &'a self,
        plugin: &'a str,
        prefix: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<String>, HostError>> {
        let prefix = place(plugin, prefix);
        let keys = move |view: &Snapshot| view.keys(RecordKind::State, &prefix, limit as usize);
        Box::pin(async move {
            let found = self.journal.read_apart(keys).await?;
            let name =
                |place: Vec<u8>| String::from_utf8_lossy(&place[plugin.len() + 1..]).into_owned();
            Ok(found.into_iter().map(name).collect())
        })
    }

    fn set<'a>(
        &'a self,
        plugin: &'a str,
        key: String,
        value: Vec<u8>,
        most_bytes: usize,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(
            async move { self.change(plugin, key, None, Some(value), most_bytes).await.map(drop) },
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
        most_bytes: usize,
    ) -> BoxFuture<'a, Result<bool, HostError>> {
        Box::pin(self.change(plugin, key, Some(expected), value, most_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::{TestDisk, journal};

    const MOST: usize = 1000;

    async fn set(state: &State, key: &str, value: &[u8]) -> Result<(), HostError> {
        state.set("p", key.into(), value.to_vec(), MOST).await
    }

    #[tokio::test]
    async fn what_a_plugin_sets_is_its_own_and_outlives_the_host() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::new(Arc::new(journal(&directory)));
        set(&state, "a", b"1").await.unwrap();
        set(&state, "a", b"2").await.unwrap();
        set(&state, "gone", b"1").await.unwrap();
        state.delete("p", "gone".into()).await.unwrap();
        state.delete("p", "never".into()).await.unwrap();
        state.set("pp", "a".into(), b"other".to_vec(), MOST).await.unwrap();
        state.journal.close().await;
        drop(state);

        let state = State::new(Arc::new(journal(&directory)));
        assert_eq!(state.get("p", "a").await.unwrap().as_deref(), Some(b"2".as_slice()));
        assert_eq!(state.get("p", "gone").await.unwrap(), None);
        assert_eq!(state.get("pp", "a").await.unwrap().as_deref(), Some(b"other".as_slice()));
        assert_eq!(state.keys("p", "", 10).await.unwrap(), ["a"]);
    }

    #[tokio::test]
    async fn keys_come_in_order_by_prefix_and_no_more_than_asked_for() {
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
    async fn of_many_swaps_at_once_each_number_is_won_once() {
        let directory = tempfile::tempdir().unwrap();
        let state = Arc::new(State::new(Arc::new(journal(&directory))));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let state = Arc::clone(&state);
            tasks.spawn(async move {
                let mut won = 0;
                while won < 5 {
                    let now = state.get("p", "n").await.unwrap();
                    let next = now.as_ref().map_or(0, |bytes| bytes[0]) + 1;
                    let swap = state.swap("p", "n".into(), now, Some(vec![next]), MOST);
                    won += u32::from(swap.await.unwrap());
                }
            });
        }
        tasks.join_all().await;
        assert_eq!(state.get("p", "n").await.unwrap(), Some(vec![40]));
        assert!(state.swap("p", "n".into(), Some(vec![40]), None, MOST).await.unwrap());
        assert!(!state.swap("p", "n".into(), Some(vec![40]), None, MOST).await.unwrap());
    }

    #[tokio::test]
    async fn what_is_past_the_limit_is_refused_and_less_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::new(Arc::new(journal(&directory)));
        set(&state, "big", &[0; 900]).await.unwrap();

        let error = set(&state, "more", &[0; 200]).await.unwrap_err();
        let why = "state would have 1107 bytes; 1000 are allowed";
        assert_eq!(error, HostError::QuotaExceeded(why.into()));
        assert_eq!(state.get("p", "more").await.unwrap(), None);

        set(&state, "big", &[0; 10]).await.unwrap();
        set(&state, "more", &[0; 200]).await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_is_told_and_the_old_value_stays() {
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
