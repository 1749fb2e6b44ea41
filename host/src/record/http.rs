//! HTTP requests of a recorded call, in the form of a case.
//!
//! The header fields of a request are not recorded, so that a replay does not compare them.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, TRANSFER_ENCODING};
use http::{Method, Response, Uri};
use plugin::{HttpError, HttpRequest};
use serde_json::{Value, json};

use super::encode::base64;
use super::secrets::{NameRule, Secrets};

/// The delay of a response that the plugin did not wait for, in milliseconds. It is longer than
/// any timeout.
const ENDLESS_MS: u64 = 24 * 60 * 60 * 1000;

/// Header fields of the connection, which a replay does not have.
const OF_CONNECTION: [HeaderName; 3] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING];

/// A request and its response.
pub(super) struct Exchange {
    request: Value,
    response: Value,
    bytes: usize,
}

impl Exchange {
    /// Returns an exchange whose response never arrives.
    pub(super) fn new(request: &HttpRequest<'_>) -> Exchange {
        let request = &request.request;
        let mut noted =
            json!({"method": request.method().as_str(), "url": request.uri().to_string()});
        note_body(request.body(), &mut noted);
        let bytes = request.body().len() + request.uri().path().len();
        Exchange { request: noted, response: json!({"delay_ms": ENDLESS_MS}), bytes }
    }

    /// Returns the exchange of a request that the sandbox has refused. Its body is not recorded.
    pub(super) fn refused(method: &Method, url: &Uri, error: &HttpError) -> Exchange {
        Exchange {
            request: json!({"method": method.as_str(), "url": url.to_string()}),
            response: failure(error),
            bytes: url.path().len(),
        }
    }

    pub(super) fn end(&mut self, result: &Result<Response<Bytes>, HttpError>) {
        self.response = match result {
            Ok(response) => {
                self.bytes += response.body().len();
                noted(response)
            }
            Err(error) => failure(error),
        };
    }

    /// Returns the size of the exchange and its form in a case.
    pub(super) fn take(&mut self) -> (usize, Value) {
        let exchange = json!({"request": self.request.take(), "response": self.response.take()});
        (self.bytes, exchange)
    }
}

fn failure(error: &HttpError) -> Value {
    json!({"error": error.to_string(), "cause": error.cause()})
}

fn noted(response: &Response<Bytes>) -> Value {
    let mut noted = json!({"status": response.status().as_u16()});
    let headers = fields(response.headers());
    if !headers.is_empty() {
        noted["headers"] = json!(headers);
    }
    note_body(response.body(), &mut noted);
    noted
}

/// Returns the header fields that a case can contain. Repeated fields are joined.
fn fields(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let Ok(value) = value.to_str() else { continue };
        if OF_CONNECTION.contains(name) {
            continue;
        }
        fields
            .entry(name.to_string())
            .and_modify(|earlier| *earlier = format!("{earlier}, {value}"))
            .or_insert_with(|| value.to_owned());
    }
    fields
}

/// Adds a body that is not empty to a message: an object, an array or text, or the base64 of
/// other bytes.
fn note_body(bytes: &[u8], message: &mut Value) {
    match std::str::from_utf8(bytes) {
        Ok("") => {}
        Ok(text) => {
            message["body"] = match serde_json::from_str(text) {
                Ok(nested @ (Value::Object(_) | Value::Array(_))) => nested,
                _ => text.into(),
            };
        }
        Err(_) => message["body_base64"] = base64(bytes).into(),
    }
}

/// Removes the secrets from the exchanges of a case.
pub(super) fn redact(exchanges: &mut Value, secrets: &mut Secrets) {
    for (index, exchange) in exchanges.as_array_mut().into_iter().flatten().enumerate() {
        let at = format!("/http/{index}");
        if let Some(Value::String(url)) = exchange.pointer_mut("/request/url") {
            secrets.redact_query(&format!("{at}/request/url"), url);
        }
        if let Some(Value::String(cookies)) = exchange.pointer("/response/headers/set-cookie") {
            // The plugin can use the value without its name.
            let pairs = cookies.split(", ").filter_map(|cookie| cookie.split(';').next());
            let values = pairs.filter_map(|pair| pair.split_once('='));
            values.for_each(|(_name, value)| secrets.search_for(value));
        }
        for part in ["/request/body", "/response"] {
            if let Some(value) = exchange.pointer_mut(part) {
                secrets.redact(&format!("{at}{part}"), value, NameRule::Data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn exchange(result: Option<Result<Response<Bytes>, HttpError>>) -> Value {
        let url = "https://a.org/x?city=Bern&api_key=geheim-1234&sig=abc%2Fdef#";
        let request = Request::post(url).body(Bytes::from_static(br#"{"password":"hunter22"}"#));
        let request = HttpRequest {
            request: request.unwrap(),
            response_bytes: 0,
            may_be_private: false,
            ca_file: None,
        };
        let mut exchange = Exchange::new(&request);
        if let Some(result) = result {
            exchange.end(&result);
        }
        exchange.take().1
    }

    #[test]
    fn a_response_is_recorded_without_secrets() {
        let response = Response::builder()
            .header("set-cookie", "session=12345678")
            .header("X-Auth-Token", "abcdefgh")
            .header("vary", "a")
            .header("vary", "b")
            .header("content-length", "3")
            .body(Bytes::from_static(br#"{"token":"ijklmnop","n":1}"#));
        let mut recorded = json!([exchange(Some(Ok(response.unwrap())))]);
        let mut secrets = Secrets::default();
        redact(&mut recorded, &mut secrets);
        assert_eq!(
            recorded[0],
            json!({
                "request": {
                    "method": "POST",
                    "url": "https://a.org/x?city=Bern&api_key=redacted&sig=redacted",
                    "body": {"password": "redacted"},
                },
                "response": {
                    "status": 200,
                    "headers": {
                        "set-cookie": "redacted", "x-auth-token": "redacted", "vary": "a, b",
                    },
                    "body": {"token": "redacted", "n": 1},
                },
            })
        );
        assert!(secrets.occur_in("of geheim-1234") && secrets.occur_in("of 12345678"));
        assert_eq!(secrets.left_out[0], "/http/0/request/url");
    }

    #[test]
    fn an_error_is_recorded_with_its_cause() {
        let error = HttpError::NotTrusted("the certificate of `a.org` has expired".to_owned());
        let recorded = exchange(Some(Err(error)));
        let expected =
            json!({"error": "the certificate of `a.org` has expired", "cause": "not-trusted"});
        assert_eq!(recorded["response"], expected);
    }

    #[test]
    fn a_dropped_request_is_recorded_as_one_without_end() {
        assert_eq!(exchange(None)["response"], json!({"delay_ms": 86_400_000}));
    }

    #[test]
    fn a_body_that_is_not_text_is_recorded_as_base64() {
        let response = Response::new(Bytes::from_static(b"\xff\xfe"));
        let recorded = exchange(Some(Ok(response)));
        assert_eq!(recorded["response"], json!({"status": 200, "body_base64": "//4="}));
        let response = Response::new(Bytes::from_static(b"text"));
        let recorded = exchange(Some(Ok(response)));
        assert_eq!(recorded["response"], json!({"status": 200, "body": "text"}));
    }
}
