//! Arguments that are JSON.

use anyhow::{Context as _, anyhow};
use behaviour_service::{Json, JsonError};
use program::text;
use serde_json::Value;

/// Checks an argument that is JSON, or `-` for standard input, and keeps its text.
pub(super) fn json(name: &str, text: &str) -> anyhow::Result<Json> {
    Json::new(read(text)?).map_err(|error| refused(name, error))
}

/// Parses an argument that is JSON, or `-` for standard input.
pub(super) fn value(name: &str, text: &str) -> anyhow::Result<Value> {
    json::value(&read(text)?).map_err(|error| refused(name, error))
}

fn read(argument: &str) -> anyhow::Result<String> {
    match argument {
        "-" => text::read_stdin().context("standard input"),
        json => Ok(json.to_owned()),
    }
}

fn refused(name: &str, error: JsonError) -> anyhow::Error {
    match error {
        JsonError::Syntax(cause) => {
            anyhow!("{name} is not JSON (a string needs its own quotes: '\"text\"'): {cause}")
        }
        rule => anyhow!("{name} {rule}"),
    }
}
