//! The query language of IoT Hub for device and module twins.
//!
//! [`parse`] converts a string to a [`Query`], and [`Query::page`] evaluates it. The caller
//! provides the twins as JSON documents, in order. Queries of jobs are not supported.

mod answer;
mod condition;
mod cursor;
mod evaluate;
mod lexer;
mod parser;
mod syntax;

use protocol::rest::MAX_QUERY_CHARACTERS;
use serde_json::Value;

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
    let characters = text.chars().count();
    if characters > MAX_QUERY_CHARACTERS {
        return Err(QueryError::TooLong(characters));
    }
    parser::parse(text)
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
