//! Durations in `host.toml`, in the syntax of [`program::duration`].

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// Duration in a configuration, such as `"250ms"`, `"30s"` or `"1m 30s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) Duration);

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Period, D::Error> {
        let text = String::deserialize(deserializer)?;
        program::duration::parse(&text).map(Period).map_err(D::Error::custom)
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Duration {
        period.0
    }
}
