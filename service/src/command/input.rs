//! Arguments that are JSON.

use std::io::Read as _;

use anyhow::Context as _;
use serde_json::Value;

/// Parses an argument that is JSON, or `-` for standard input.
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
        .with_context(|| format!("{name} is not JSON (a string needs its own quotes: '\"text\"')"))
}
