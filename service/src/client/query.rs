//! Queries over twins, with paging.

use protocol::rest;
use reqwest::Method;
use serde_json::{Value, json};

use super::Client;
use super::send::HubRequest;
use crate::ServiceError;

/// A query over twins. Keeps track of the next page.
#[derive(Debug)]
pub struct TwinQuery<'a> {
    client: &'a Client,
    text: String,
    page_size: Option<u32>,
    next: NextPage,
}

#[derive(Debug, PartialEq)]
enum NextPage {
    First,
    After(String),
    End,
}

impl NextPage {
    /// Returns the page that a continuation token refers to. Treats an empty token like a
    /// missing one: some proxies send it on the last page, and it would restart the query.
    fn from_header(token: Option<&str>) -> NextPage {
        match token.filter(|token| !token.is_empty()) {
            Some(token) => NextPage::After(token.to_owned()),
            None => NextPage::End,
        }
    }
}

impl<'a> TwinQuery<'a> {
    pub(super) fn new(client: &'a Client, text: &str, page_size: Option<u32>) -> TwinQuery<'a> {
        TwinQuery { client, text: text.to_owned(), page_size, next: NextPage::First }
    }

    /// Returns the items of the next page: twins, or the selected parts of twins. Returns
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
        let body = Some(json!({"query": self.text}).to_string());
        let response = self.client.send(HubRequest { body, headers, ..request }).await?;
        self.next = NextPage::from_header(response.header(rest::HEADER_CONTINUATION));
        response.json().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_or_missing_continuation_token_ends_the_query() {
        assert_eq!(NextPage::from_header(None), NextPage::End);
        assert_eq!(NextPage::from_header(Some("")), NextPage::End);
        assert_eq!(NextPage::from_header(Some("page2")), NextPage::After("page2".to_owned()));
    }
}
