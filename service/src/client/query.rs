//! Queries over twins, page by page.

use protocol::rest;
use reqwest::Method;
use serde_json::{Value, json};

use super::Client;
use super::send::HubRequest;
use crate::ServiceError;

/// A query over twins, and its progress.
#[derive(Debug)]
pub struct TwinQuery<'a> {
    client: &'a Client,
    text: String,
    page_size: Option<u32>,
    next: NextPage,
}

#[derive(Debug)]
enum NextPage {
    First,
    After(String),
    End,
}

impl<'a> TwinQuery<'a> {
    pub(super) fn new(client: &'a Client, text: &str, page_size: Option<u32>) -> TwinQuery<'a> {
        TwinQuery { client, text: text.to_owned(), page_size, next: NextPage::First }
    }

    /// Returns the items of the next page: twins, or the selected parts of them;
    /// `None` after the last page.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Value>>, ServiceError> {
        let mut headers = Vec::new();
        match &self.next {
            NextPage::First => {}
            NextPage::After(token) => headers.push((rest::HEADER_CONTINUATION, token.clone())),
            NextPage::End => return Ok(None),
        }
        if let Some(size) = self.page_size {
            headers.push((rest::HEADER_MAX_ITEM_COUNT, size.to_string()));
        }
        let request = HubRequest::new(Method::POST, rest::QUERY.to_owned(), "query".to_owned());
        let body = Some(json!({"query": self.text}));
        let answer = self.client.send(HubRequest { body, headers, ..request }).await?;
        self.next = match answer.header(rest::HEADER_CONTINUATION) {
            Some(token) => NextPage::After(token.to_owned()),
            None => NextPage::End,
        };
        answer.json().map(Some)
    }
}
