//! A query over twins, page by page.

use protocol::rest;
use reqwest::Method;
use serde_json::{Value, json};

use super::Client;
use super::send::Request;
use crate::ServiceError;

/// A query that is being read.
#[derive(Debug)]
pub struct Query<'a> {
    client: &'a Client,
    text: String,
    page_size: Option<u32>,
    next: Next,
}

#[derive(Debug)]
enum Next {
    First,
    After(String),
    End,
}

impl<'a> Query<'a> {
    pub(super) fn new(client: &'a Client, text: &str, page_size: Option<u32>) -> Query<'a> {
        Query { client, text: text.to_owned(), page_size, next: Next::First }
    }

    /// The next items, twins or what the query selects of them; `None` behind
    /// the last page.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Value>>, ServiceError> {
        let mut headers = Vec::new();
        match &self.next {
            Next::First => {}
            Next::After(token) => headers.push((rest::HEADER_CONTINUATION, token.clone())),
            Next::End => return Ok(None),
        }
        if let Some(size) = self.page_size {
            headers.push((rest::HEADER_MAX_ITEM_COUNT, size.to_string()));
        }
        let request = Request::new(Method::POST, rest::QUERY.to_owned(), "query".to_owned());
        let body = Some(json!({"query": self.text}));
        let answer = self.client.send(Request { body, headers, ..request }).await?;
        self.next = match answer.header(rest::HEADER_CONTINUATION) {
            Some(token) => Next::After(token.to_owned()),
            None => Next::End,
        };
        answer.json().map(Some)
    }
}
