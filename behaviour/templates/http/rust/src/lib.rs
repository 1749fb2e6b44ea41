//! Answers the method `fetch` with the response to a GET request to the URL in its payload.

use device::behaviour::http::{Request, RequestError, send};
use device::behaviour::types::{MethodError, Response};
use exports::device::behaviour::methods::Guest;

wit_bindgen::generate!({ path: "wit", world: "plugin" });

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
        let request = Request {
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: vec![("accept".to_owned(), "application/json".to_owned())],
            body: Vec::new(),
            timeout_ms: None,
        };
        let response = send(&request).map_err(|error| MethodError::Failed(message(error)))?;
        // The body must be JSON, since it is the answer's payload.
        let body = String::from_utf8(response.body)
            .map_err(|_| MethodError::Failed("the response is not text".to_owned()))?;
        Ok(Response { status: response.status, payload: Some(body) })
    }
}

/// Returns the message of an error. The case is for programs.
fn message(error: RequestError) -> String {
    match error {
        RequestError::NotAllowed(reason)
        | RequestError::InvalidRequest(reason)
        | RequestError::QuotaExceeded(reason)
        | RequestError::TooLarge(reason)
        | RequestError::Unreachable(reason)
        | RequestError::NotTrusted(reason)
        | RequestError::TimedOut(reason)
        | RequestError::Other(reason) => reason,
    }
}

export!(Plugin);
