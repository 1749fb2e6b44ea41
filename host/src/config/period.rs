//! Durations in `host.toml`, in the grammar of all programs: `"250ms"`, `"1m 30s"`.

use std::time::Duration;

use program::duration;
use serde::{Deserialize, Deserializer, de::Error};

/// Duration in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) Duration);

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Period, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration::parse(&text).map(Period).map_err(D::Error::custom)
    }
}
