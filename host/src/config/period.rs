//! Lengths of time as people write them: `"250ms"`, `"30s"`, `"1m 30s"`, `"1h"`.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de::Error};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) Duration);

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Period, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map(Period).map_err(D::Error::custom)
    }
}

fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a length of time such as \"30s\", \"250ms\" or \"1h\"");
    let signed: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(signed).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, millis) in
            [("250ms", 250), ("30s", 30_000), ("1m 30s", 90_000), ("1h", 3_600_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_quoted() {
        for text in ["", "30", "-5s", "soon"] {
            assert!(parse(text).unwrap_err().starts_with(&format!("`{text}` is not")), "{text}");
        }
    }
}
