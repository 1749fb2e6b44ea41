//! `device:behaviour/state`: the plugin's persistent state.

use super::bindings::device::behaviour::state::Host;
use super::{Error, check_size};
use crate::HostError;
use crate::call::state::CallState;

/// Maximum length of a key or prefix, in bytes.
const MAX_KEY_BYTES: usize = 256;

/// Maximum number of keys returned by one call of `keys`.
const MAX_KEYS: u32 = 1000;

impl Host for CallState {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, Error> {
        check_key(&key)?;
        Ok(self.lent.state.get(&self.plugin.name, &key).await?)
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), Error> {
        check_key(&key)?;
        self.check_value(&value)?;
        self.count_state_change()?;
        let max_bytes = self.plugin.limits.state_bytes;
        Ok(self.lent.state.set(&self.plugin.name, key, value, max_bytes).await?)
    }

    async fn delete(&mut self, key: String) -> Result<(), Error> {
        check_key(&key)?;
        self.count_state_change()?;
        Ok(self.lent.state.delete(&self.plugin.name, key).await?)
    }

    async fn keys(&mut self, prefix: String, limit: u32) -> Result<Vec<String>, Error> {
        check_size("prefix", prefix.len(), MAX_KEY_BYTES)?;
        Ok(self.lent.state.keys(&self.plugin.name, &prefix, limit.min(MAX_KEYS)).await?)
    }

    async fn swap(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
    ) -> Result<bool, Error> {
        check_key(&key)?;
        self.check_value(value.as_deref().unwrap_or_default())?;
        self.count_state_change()?;
        let max_bytes = self.plugin.limits.state_bytes;
        Ok(self.lent.state.swap(&self.plugin.name, key, expected, value, max_bytes).await?)
    }
}

impl CallState {
    fn check_value(&self, value: &[u8]) -> Result<(), HostError> {
        check_size("value", value.len(), self.plugin.limits.state_value_bytes)
    }
}

fn check_key(key: &str) -> Result<(), HostError> {
    if key.is_empty() {
        return Err(HostError::Invalid("key is empty".to_owned()));
    }
    check_size("key", key.len(), MAX_KEY_BYTES)
}
