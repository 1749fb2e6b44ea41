//! Answers the method `fetch` with the response to a GET request to the URL in its payload.

mod http;

use device::behaviour::types::{MethodError, Response};
use exports::device::behaviour::methods::Guest;
use wasi::http::types::Method;

wit_bindgen::generate!({ path: "wit", world: "plugin", generate_all });

struct Plugin;

impl Guest for Plugin {
    // `payload` is JSON text. To refuse the call, return a `MethodError`.
    fn invoke(name: String, payload: String) -> Result<Response, MethodError> {
        if name != "fetch" {
            return Err(MethodError::UnknownMethod);
        }
        let url = payload.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let url =
            url.ok_or_else(|| MethodError::InvalidPayload("expected a URL in quotes".to_owned()))?;
        let response = http::send(&Method::Get, url, &[("accept", "application/json")], b"")
            .map_err(MethodError::Failed)?;
        // The body must be JSON, since it is the answer's payload.
        let body = String::from_utf8(response.body)
            .map_err(|_| MethodError::Failed("the response is not text".to_owned()))?;
        Ok(Response { status: response.status, payload: Some(body) })
    }
}

export!(Plugin);
