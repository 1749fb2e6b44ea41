//! Sends HTTP requests.

#![allow(dead_code, reason = "a plugin may need only a part")]

use crate::wasi::http::outgoing_handler::handle;
use crate::wasi::http::types::{ErrorCode, Fields, Method, OutgoingBody, OutgoingRequest, Scheme};
use crate::wasi::io::streams::StreamError;

/// The host accepts this many bytes of a body at once.
const CHUNK: usize = 4096;

pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// Sends a request to an absolute URL, and waits for the response. The error is the reason why
/// there is none. The host refuses URLs whose hosts are not in `hosts` of host.toml.
pub fn send(
    method: &Method,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Response, String> {
    let invalid = |_| format!("`{url}` is not an HTTP URL");
    let (scheme, rest) = match url.split_once("://") {
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(("http", rest)) => (Scheme::Http, rest),
        _ => return Err(invalid(())),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| ((*name).into(), value.as_bytes().to_vec())).collect();
    let headers = Fields::from_list(&headers).map_err(|error| format!("headers: {error:?}"))?;
    let request = OutgoingRequest::new(headers);
    request.set_method(method).map_err(invalid)?;
    request.set_scheme(Some(&scheme)).map_err(invalid)?;
    request.set_authority(Some(authority)).map_err(invalid)?;
    let path = if path.is_empty() { "/" } else { path };
    request.set_path_with_query(Some(path)).map_err(invalid)?;
    let outgoing = request.body().map_err(invalid)?;

    let response = handle(request, None).map_err(reason)?;
    {
        let stream = outgoing.write().map_err(invalid)?;
        for chunk in body.chunks(CHUNK) {
            // A refused request has no body; the response has the reason.
            if stream.blocking_write_and_flush(chunk).is_err() {
                break;
            }
        }
    }
    // The body ends only after its stream, which is dropped above.
    let _ = OutgoingBody::finish(outgoing, None);
    response.subscribe().block();
    let response = match response.get() {
        Some(Ok(response)) => response.map_err(reason)?,
        _ => return Err("no response".to_owned()),
    };

    let incoming = response.consume().map_err(invalid)?;
    let stream = incoming.stream().map_err(invalid)?;
    let mut body = Vec::new();
    loop {
        match stream.blocking_read(65536) {
            Ok(bytes) => body.extend(bytes),
            Err(StreamError::Closed) => break,
            Err(error) => return Err(format!("the response is incomplete: {error:?}")),
        }
    }
    Ok(Response { status: response.status(), headers: response.headers().entries(), body })
}

/// Returns the host's reason. It refuses a request with a text, except for an untrusted
/// certificate.
fn reason(error: ErrorCode) -> String {
    match error {
        ErrorCode::InternalError(Some(reason)) => reason,
        ErrorCode::TlsCertificateError => "the certificate is not trusted".to_owned(),
        other => format!("{other:?}"),
    }
}
