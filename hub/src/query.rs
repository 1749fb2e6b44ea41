//! Query language of IoT Hub over device and module twins.
//!
//! [`parse`] turns text into a [`Query`], and [`Query::page`] runs it over twins
//! that the caller provides as JSON documents, in order.
//!
//! This module does not know where twins are stored. Jobs cannot be queried.

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

/// Reason why a text is not a query.
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

/// Returns a JSON number, an integer if the value is whole.
fn number(value: f64) -> Value {
    // 2^53: up to here a double represents every integer.
    if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
        Value::from(value as i64)
    } else {
        Value::from(value)
    }
}

#[cfg(test)]
mod tests;
