//! The query language of IoT Hub for twins of devices and modules, and for jobs of devices.
//!
//! [`parse`] converts a string to a [`Query`], and [`Query::page`] evaluates it. The caller
//! provides the items as JSON documents, in order. [`TwinFilter`] is a condition alone.

mod answer;
mod condition;
mod cursor;
mod evaluate;
mod filter;
mod lexer;
mod parser;
mod syntax;

use protocol::rest::MAX_QUERY_CHARACTERS;
use serde_json::Value;

pub(crate) use filter::{TargetError, TwinFilter};
pub(crate) use syntax::{Query, Source};

/// An invalid query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    #[error("query has {0} characters; at most {MAX_QUERY_CHARACTERS} are allowed")]
    TooLong(usize),
    #[error("query, character {position}: {reason}")]
    Syntax { position: usize, reason: String },
}

impl QueryError {
    fn at(position: usize, reason: String) -> QueryError {
        QueryError::Syntax { position, reason }
    }
}

/// Parses a query.
pub(crate) fn parse(text: &str) -> Result<Query, QueryError> {
    parser::parse(checked(text)?)
}

/// Checks the length of a query or condition.
fn checked(text: &str) -> Result<&str, QueryError> {
    let characters = text.chars().count();
    if characters > MAX_QUERY_CHARACTERS {
        return Err(QueryError::TooLong(characters));
    }
    Ok(text)
}

/// Converts a number to JSON. A whole number becomes an integer.
fn number(value: f64) -> Value {
    // 2^53: a double represents every integer up to this one.
    if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
        Value::from(value as i64)
    } else {
        Value::from(value)
    }
}

#[cfg(test)]
mod tests;
