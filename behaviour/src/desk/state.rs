//! The state of the plugin on a simulated device, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::{BoxFuture, ready};
use parking_lot::{Mutex, MutexGuard};
use plugin::{HostError, StateStore};

use super::record::{Action, Record, text};

/// The entries of a plugin's state: keys and their values.
pub type StateEntries = BTreeMap<String, Vec<u8>>;

pub(super) struct State {
    entries: Mutex<StateEntries>,
    record: Arc<Record>,
}

impl State {
    pub(super) fn new(before: StateEntries, record: Arc<Record>) -> State {
        State { entries: Mutex::new(before), record }
    }

    pub(super) fn all(&self) -> StateEntries {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, StateEntries> {
        self.entries.lock()
    }

    /// Sets a key, or deletes it if `value` is `None`. Changes nothing and returns `false` if
    /// `expected` is `Some` and differs from the current value.
    fn change(
        &self,
        key: String,
        value: Option<Vec<u8>>,
        expected: Option<Option<Vec<u8>>>,
        max_bytes: usize,
    ) -> Result<bool, HostError> {
        let mut entries = self.lock();
        if expected.is_some_and(|expected| entries.get(&key) != expected.as_ref()) {
            return Ok(false);
        }
        if let Some(value) = &value {
            let others = entries.iter().filter(|(other, _)| **other != key);
            let bytes = others.map(|(key, value)| key.len() + value.len()).sum::<usize>()
                + key.len()
                + value.len();
            if bytes > max_bytes {
                let reason = format!("state would have {bytes} bytes; {max_bytes} are allowed");
                return Err(HostError::QuotaExceeded(reason));
            }
        }
        match &value {
            Some(value) => entries.insert(key.clone(), value.clone()),
            None => entries.remove(&key),
        };
        drop(entries);
        self.record.add(Action::State { key, value: value.as_deref().map(text) });
        Ok(true)
    }
}

impl StateStore for State {
    fn get<'a>(
        &'a self,
        _plugin: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, HostError>> {
        Box::pin(ready(Ok(self.lock().get(key).cloned())))
    }

    fn keys<'a>(
        &'a self,
        _plugin: &'a str,
        prefix: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<String>, HostError>> {
        let entries = self.lock();
        let keys = entries.keys().filter(|key| key.starts_with(prefix));
        Box::pin(ready(Ok(keys.take(limit as usize).cloned().collect())))
    }

    fn set<'a>(
        &'a self,
        _plugin: &'a str,
        key: String,
        value: Vec<u8>,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        let result = self.change(key, Some(value), None, max_bytes).map(drop);
        Box::pin(ready(result))
    }

    fn delete<'a>(&'a self, _plugin: &'a str, key: String) -> BoxFuture<'a, Result<(), HostError>> {
        let result = self.change(key, None, None, usize::MAX).map(drop);
        Box::pin(ready(result))
    }

    fn swap<'a>(
        &'a self,
        _plugin: &'a str,
        key: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<bool, HostError>> {
        Box::pin(ready(self.change(key, value, Some(expected), max_bytes)))
    }
}
