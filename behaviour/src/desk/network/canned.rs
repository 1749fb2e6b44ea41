//! Responses that a case contains.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use plugin::HttpError;
use serde::Deserialize;
use serde_json::Value;

use crate::desk::encoded::Base64;

/// An expected request and its response.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CannedExchange {
    /// The request.
    pub request: CannedRequest,
    /// The response.
    #[serde(default)]
    pub response: CannedResponse,
}

/// An expected request. Headers and a body that are missing here are not compared.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CannedRequest {
    /// The method; `GET` by default.
    #[serde(default = "get")]
    pub method: String,
    /// The absolute URL.
    pub url: String,
    /// The headers that the request must have.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body: a string is the text of the body, any other value is compared as JSON.
    pub body: Option<Value>,
    /// The body as base64, in place of `body`.
    pub body_base64: Option<Base64>,
}

/// A response.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CannedResponse {
    /// The status; 200 by default.
    #[serde(default = "ok")]
    pub status: u16,
    /// The headers. The body's type is `application/json` by default, unless it is a string.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body: a string is the text of the body, any other value is sent as JSON.
    pub body: Option<Value>,
    /// The body as base64, in place of `body`.
    pub body_base64: Option<Base64>,
    /// The time that the response takes, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// The reason why there is no response, which the plugin receives as an error.
    pub error: Option<String>,
    /// The case of the error, as `request-error` in the WIT names it; `unreachable` by default.
    pub cause: Option<String>,
}

impl Default for CannedResponse {
    fn default() -> CannedResponse {
        CannedResponse {
            status: ok(),
            headers: BTreeMap::new(),
            body: None,
            body_base64: None,
            delay_ms: 0,
            error: None,
            cause: None,
        }
    }
}

fn get() -> String {
    "GET".to_owned()
}

fn ok() -> u16 {
    200
}

/// The exchanges of a call.
pub(super) struct Canned {
    exchanges: Vec<CannedExchange>,
}

impl CannedExchange {
    /// Checks the exchange. An error message names the key.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL, the method, a header or the status is invalid.
    pub fn check(&self) -> Result<(), String> {
        let CannedRequest { method, url, headers, body, body_base64 } = &self.request;
        let CannedResponse { body: sent, body_base64: sent_base64, .. } = &self.response;
        for (part, text, base64) in
            [("request", body, body_base64), ("response", sent, sent_base64)]
        {
            if text.is_some() && base64.is_some() {
                return Err(format!("{part}: `body` and `body_base64` exclude each other"));
            }
        }
        let uri: Uri = url.parse().map_err(|error| format!("request.url: `{url}`: {error}"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(format!("request.url: `{url}` is not a URL such as https://example.com/"));
        }
        method.parse::<Method>().map_err(|error| format!("request.method: `{method}`: {error}"))?;
        for name in headers.keys() {
            name.parse::<HeaderName>()
                .map_err(|error| format!("request.headers: `{name}`: {error}"))?;
        }
        let parts = self.response.to_parts().map(drop);
        parts
            .and_then(|()| self.response.check_cause())
            .map_err(|error| format!("response: {error}"))
    }
}

impl CannedRequest {
    fn is_for(&self, method: &Method, url: &Uri) -> bool {
        method.as_str() == self.method
            && self.url.parse::<Uri>().is_ok_and(|expected| same(&expected, url))
    }

    fn matches(&self, request: &Request<Bytes>) -> bool {
        let has_header = |(name, value): (&String, &String)| {
            request.headers().get(name).is_some_and(|found| found.as_bytes() == value.as_bytes())
        };
        self.is_for(request.method(), request.uri())
            && self.headers.iter().all(has_header)
            && self.body.as_ref().is_none_or(|body| is_body(body, request.body()))
            && self.body_base64.as_ref().is_none_or(|Base64(body)| body == request.body())
    }
}

/// Returns `true` if two URLs are equal. An empty path equals `/`.
fn same(expected: &Uri, found: &Uri) -> bool {
    expected.scheme() == found.scheme()
        && expected.authority() == found.authority()
        && (expected.path(), expected.query()) == (found.path(), found.query())
}

fn is_body(expected: &Value, found: &[u8]) -> bool {
    match expected {
        Value::String(text) => text.as_bytes() == found,
        json => serde_json::from_slice::<Value>(found).is_ok_and(|found| found == *json),
    }
}

/// Formats the method and the URL.
impl fmt::Display for CannedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url)
    }
}

impl CannedResponse {
    pub(super) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }

    /// Returns the response, or the error in its place.
    pub(super) fn to_http(&self) -> Result<Response<Bytes>, HttpError> {
        match (&self.error, &self.cause) {
            (Some(reason), cause) => Err(cause
                .as_ref()
                .and_then(|cause| HttpError::of_cause(cause, reason.clone()))
                .unwrap_or_else(|| HttpError::Failed(reason.clone()))),
            (None, _) => self.to_parts().map_err(HttpError::Other),
        }
    }

    fn check_cause(&self) -> Result<(), String> {
        match (&self.cause, &self.error) {
            (Some(cause), _) if HttpError::of_cause(cause, String::new()).is_none() => {
                Err(format!("cause: `{cause}` is not a case of `request-error` in wit/http.wit"))
            }
            (Some(_), None) => Err("cause: needs `error`".to_owned()),
            _ => Ok(()),
        }
    }

    fn to_parts(&self) -> Result<Response<Bytes>, String> {
        let body = match (&self.body, &self.body_base64) {
            (None, None) => Bytes::new(),
            (None, Some(Base64(bytes))) => bytes.clone().into(),
            (Some(Value::String(text)), _) => text.clone().into(),
            (Some(json), _) => json.to_string().into(),
        };
        let is_json = self.body.as_ref().is_some_and(|body| !body.is_string());
        let mut response = Response::new(body);
        *response.status_mut() = http::StatusCode::from_u16(self.status)
            .map_err(|error| format!("status {}: {error}", self.status))?;
        if is_json {
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(http::header::CONTENT_TYPE, json);
        }
        for (name, value) in &self.headers {
            let invalid = |error: &dyn fmt::Display| format!("headers: `{name}`: {error}");
            let header: HeaderName = name.parse().map_err(|error| invalid(&error))?;
            let value: HeaderValue = value.parse().map_err(|error| invalid(&error))?;
            response.headers_mut().insert(header, value);
        }
        Ok(response)
    }
}

impl Canned {
    pub(super) fn new(exchanges: Vec<CannedExchange>) -> Canned {
        Canned { exchanges }
    }

    /// Removes and returns the response to a request.
    pub(super) fn answer(&mut self, request: &Request<Bytes>) -> Result<CannedResponse, HttpError> {
        let found = self.exchanges.iter().position(|exchange| exchange.request.matches(request));
        if let Some(index) = found {
            return Ok(self.exchanges.remove(index).response);
        }
        let left = match &self.exchanges[..] {
            [] => "none is left".to_owned(),
            [next, ..] => format!("the next expected one is `{}`", next.request),
        };
        Err(HttpError::Denied(format!(
            "`{} {}`: the case has no response to this request; {left}",
            request.method(),
            request.uri()
        )))
    }

    /// Removes the exchange of a request that the sandbox has refused for the cause that the
    /// case expects.
    pub(super) fn refuse(&mut self, method: &Method, url: &Uri, error: &HttpError) {
        let found = self.exchanges.iter().position(|CannedExchange { request, response }| {
            request.is_for(method, url) && response.cause.as_deref() == Some(error.cause())
        });
        if let Some(index) = found {
            self.exchanges.remove(index);
        }
    }

    pub(super) fn unsent(&self) -> Vec<CannedRequest> {
        self.exchanges.iter().map(|exchange| exchange.request.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn exchange(json: Value) -> CannedExchange {
        serde_json::from_value(json).unwrap()
    }

    fn request(method: &str, url: &str, body: &'static str) -> Request<Bytes> {
        Request::builder().method(method).uri(url).body(Bytes::from(body)).unwrap()
    }

    #[test]
    fn each_response_answers_one_request_that_matches() {
        let mut canned = Canned::new(vec![
            exchange(json!({
                "request": { "method": "POST", "url": "https://a.org/x", "body": { "n": 1 } },
                "response": { "status": 201, "body": { "ok": true } },
            })),
            exchange(json!({ "request": { "url": "https://a.org" } })),
        ]);
        let wrong = canned.answer(&request("POST", "https://a.org/x", "{}")).unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "`POST https://a.org/x`: the case has no response to this request; the next expected \
             one is `POST https://a.org/x`"
        );
        let response = canned.answer(&request("POST", "https://a.org/x", "{ \"n\": 1 }")).unwrap();
        let response = response.to_http().unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.body()[..]),
            (201, &b"{\"ok\":true}"[..])
        );
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(canned.unsent().len(), 1);
        canned.answer(&request("GET", "https://a.org/", "")).unwrap();
        let none = canned.answer(&request("GET", "https://a.org/", "")).unwrap_err();
        assert!(none.to_string().ends_with("; none is left"), "{none}");
    }

    #[test]
    fn a_body_that_is_not_text_is_base64() {
        let mut canned = Canned::new(vec![exchange(json!({
            "request": { "method": "PUT", "url": "https://a.org/", "body_base64": "YQ==" },
            "response": { "body_base64": "AP8=" },
        }))]);
        canned.answer(&request("PUT", "https://a.org/", "b")).unwrap_err();
        let response = canned.answer(&request("PUT", "https://a.org/", "a")).unwrap();
        let response = response.to_http().unwrap();
        assert_eq!(&response.body()[..], [0x00, 0xff]);
        assert_eq!(response.headers().get("content-type"), None);
    }

    #[test]
    fn a_refused_request_uses_up_the_expected_refusal_only() {
        let mut canned = Canned::new(vec![
            exchange(json!({ "request": { "url": "https://a.org/" } })),
            exchange(json!({
                "request": { "url": "https://a.org/" },
                "response": { "error": "too many", "cause": "quota-exceeded" },
            })),
        ]);
        let url = "https://a.org/".parse().unwrap();
        canned.refuse(&Method::GET, &url, &HttpError::TooLarge("large".to_owned()));
        assert_eq!(canned.unsent().len(), 2);
        canned.refuse(&Method::GET, &url, &HttpError::QuotaExceeded("20 requests".to_owned()));
        assert_eq!(canned.unsent().len(), 1);
        canned.answer(&request("GET", "https://a.org/", "")).unwrap().to_http().unwrap();
    }

    #[test]
    fn a_response_can_be_an_error() {
        let response = exchange(json!({
            "request": { "url": "https://a.org/" }, "response": { "error": "connection refused" },
        }));
        let error = response.response.to_http().unwrap_err();
        assert_eq!(error, HttpError::Failed("connection refused".to_owned()));
        let response = exchange(json!({
            "request": { "url": "https://a.org/" },
            "response": { "error": "too slow", "cause": "timed-out" },
        }));
        let error = response.response.to_http().unwrap_err();
        assert_eq!(error, HttpError::TimedOut("too slow".to_owned()));
    }

    #[test]
    fn an_invalid_exchange_is_reported_with_its_key() {
        for (json, expected) in [
            (
                json!({ "request": { "url": "a.org" } }),
                "request.url: `a.org` is not a URL such as https://example.com/",
            ),
            (
                json!({ "request": { "url": "https://a.org/", "method": "G T" } }),
                "request.method: `G T`: invalid HTTP method",
            ),
            (
                json!({ "request": { "url": "https://a.org/" }, "response": { "status": 99 } }),
                "response: status 99: invalid status code",
            ),
            (
                json!({ "request": { "url": "https://a.org/" }, "response": { "error": "a", "cause": "b" } }),
                "response: cause: `b` is not a case of `request-error` in wit/http.wit",
            ),
            (
                json!({ "request": { "url": "https://a.org/" }, "response": { "cause": "other" } }),
                "response: cause: needs `error`",
            ),
            (
                json!({ "request": { "url": "https://a.org/", "body": "", "body_base64": "" } }),
                "request: `body` and `body_base64` exclude each other",
            ),
        ] {
            assert_eq!(exchange(json).check().unwrap_err(), expected);
        }
    }
}
