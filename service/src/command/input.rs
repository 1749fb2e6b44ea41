//! JSON arguments.

use anyhow::{Context as _, anyhow};
use behaviour_service::{Json, JsonError};
use program::text;
use serde_json::Value;

/// Validates a JSON argument and keeps it byte for byte. `-` reads standard input.
pub(super) fn json(name: &str, text: &str) -> anyhow::Result<Json> {
    Json::new(read(text)?).map_err(|error| refused(name, error))
}

/// Parses a JSON argument. `-` reads standard input.
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
