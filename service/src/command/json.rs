//! JSON and lengths of time on the command line.

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

/// One value, one line.
pub(super) fn print(value: &Value) {
    println!("{value}");
}

/// `30s`, `250ms`, `1m 30s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a length of time such as 30s or 2m");
    let signed: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(signed).map_err(|_| wrong())
}
