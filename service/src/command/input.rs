//! What stands on the command line: JSON, and lengths of time.

use std::io::Read as _;
use std::time::Duration;

use anyhow::Context as _;
use jiff::SignedDuration;
use serde_json::Value;

/// An argument that is JSON, or `-` for standard input.
pub(super) fn read(name: &str, text: &str) -> anyhow::Result<Value> {
    let mut input = String::new();
    let text = match text {
        "-" => {
            std::io::stdin().read_to_string(&mut input).context("standard input")?;
            &input
        }
        text => text,
    };
    serde_json::from_str(text)
        .with_context(|| format!("{name} is not JSON (a text needs quotes of its own: '\"text\"')"))
}

/// `30s`, `250ms`, `1m 30s`; a bare number counts seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let wrong = || format!("`{text}` is not a length of time such as 30, 30s or 2m");
    let signed: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(signed).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_seconds_unless_it_says_otherwise() {
        for (text, milliseconds) in
            [("30", 30_000), ("30s", 30_000), ("250ms", 250), ("2m", 120_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "soon", "-5", "-5s", "5 parsecs"] {
            let error = duration(text).unwrap_err();
            assert!(error.contains("is not a length of time such as"), "{error}");
        }
    }
}
