//! Real requests, each on its own connection. This module and `service/src/client` are the
//! only ones that depend on `reqwest`.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use plugin::{HttpError, HttpRequest};
use program::chain;
use trust::{Trust, distrust};

/// Time limit of a request. Virtual time, and so the limit of the sandbox, stands still while
/// the request runs.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends a request.
pub(super) async fn send(request: HttpRequest<'_>) -> Result<Response<Bytes>, HttpError> {
    let HttpRequest { request, response_bytes, ca_file, may_be_private: _ } = request;
    let ca_file = ca_file.map(Path::to_owned);
    // Virtual time does not advance while a blocking thread is busy.
    let sending = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| HttpError::Other(error.to_string()))?;
        runtime.block_on(exchange(request, response_bytes, ca_file.as_deref()))
    });
    sending.await.map_err(|error| HttpError::Other(error.to_string()))?
}

async fn exchange(
    request: Request<Bytes>,
    max_bytes: usize,
    ca_file: Option<&Path>,
) -> Result<Response<Bytes>, HttpError> {
    let host = request.uri().host().unwrap_or_default().to_owned();
    let failed = |error: reqwest::Error| match distrust(&error) {
        Some(reason) => {
            HttpError::NotTrusted(format!("the certificate of `{host}` {}", reason.text()))
        }
        None if error.is_timeout() => {
            HttpError::TimedOut(format!("`{host}` has not answered within {TIMEOUT:?}"))
        }
        None => HttpError::Failed(format!("`{host}`: {}", chain(&error))),
    };
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers;
    // The client sets these itself.
    headers.remove(http::header::HOST);
    headers.remove(http::header::CONTENT_LENGTH);
    headers.remove(http::header::TRANSFER_ENCODING);
    let sent = client(ca_file)?
        .request(parts.method, parts.uri.to_string())
        .headers(headers)
        .body(body)
        .send();
    let mut response = sent.await.map_err(failed)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > max_bytes {
            return Err(HttpError::TooLarge(format!(
                "`{host}`: response body exceeds {max_bytes} bytes"
            )));
        }
    }
    Ok(response_of(status, headers, bytes))
}

fn client(ca_file: Option<&Path>) -> Result<reqwest::Client, HttpError> {
    let failed = |error: &(dyn Error + 'static)| HttpError::Other(chain(error).to_string());
    let mut trust = Trust::of_system();
    if let Some(path) = ca_file {
        trust.add_file(path).map_err(|error| failed(&error))?;
    }
    let mut tls = trust.into_optional_client_config();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(TIMEOUT)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build();
    client.map_err(|error| failed(&error))
}

fn response_of(status: http::StatusCode, headers: HeaderMap, body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
