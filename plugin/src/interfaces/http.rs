//! `device:behaviour/http`: requests of a call, sent by
//! [`Requests`](crate::call::http::Requests).

use crate::HttpError;
use crate::call::http::{FIELD_BYTES, Http};
use crate::call::state::CallState;
use bindings::device::behaviour::http::{
    self as wit, Host, Request as WitRequest, RequestError, Response as WitResponse,
};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use std::time::Duration;
use wasmtime::component::{HasSelf, Linker};

/// Header fields of the connection or of the body, which the host determines.
const RESERVED: [HeaderName; 6] =
    [CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE];

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package plugin:http; world with-http { import device:behaviour/http@0.1.2; }",
        imports: { default: async },
    });
}

pub(super) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    wit::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)
}

impl Host for CallState {
    async fn send(&mut self, request: WitRequest) -> Result<WitResponse, RequestError> {
        let Http { requests, copied, .. } =
            self.http.as_deref_mut().expect("only plugins with the capability are linked to it");
        *copied = None;
        let timeout = request.timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        let (request, host) = checked(request).map_err(|problem| requests.refuse(problem))?;
        let reserved = requests.reserve(&host, request.body().len());
        let _body = reserved.map_err(|problem| requests.refuse_valid(&request, problem))?;
        let (response, reservation) = requests.send(request.map(Full::new), timeout).await?;
        let headers = fields(response.headers(), &host);
        let headers = headers.map_err(|problem| requests.refuse(problem))?;
        *copied = Some(reservation);
        let status = response.status().as_u16();
        Ok(WitResponse { status, headers, body: response.into_body().into() })
    }
}

/// Parses a request, and returns it with its host and port. An error names the invalid part.
fn checked(request: WitRequest) -> Result<(Request<Bytes>, String), HttpError> {
    let WitRequest { method, url, headers, body, timeout_ms: _ } = request;
    let method: Method =
        method.parse().map_err(|_| invalid("method", &method, "is not a method of HTTP"))?;
    let uri: Uri = url.parse().map_err(|_| invalid("URL", &url, "is not a URL"))?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority().filter(|authority| is_http && !authority.host().is_empty());
    let authority = authority
        .ok_or_else(|| {
            invalid("URL", &url, "does not begin with `https://` or `http://` and a host")
        })?
        .to_string();
    let fields = parsed_fields(&authority, &headers)?;
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = fields;
    Ok((request, authority))
}

/// Parses the header fields of a request to `host`, and adds the field `host`.
fn parsed_fields(host: &str, headers: &[(String, String)]) -> Result<HeaderMap, HttpError> {
    let too_large = || {
        HttpError::TooLarge(format!(
            "`{host}`: the header fields of the request exceed {FIELD_BYTES} bytes"
        ))
    };
    if headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > FIELD_BYTES {
        return Err(too_large());
    }
    let mut fields = HeaderMap::new();
    let own = HeaderValue::from_str(host).map_err(|_| invalid("host", host, "is not a host"))?;
    fields.insert(HOST, own);
    for (name, value) in headers {
        let field: HeaderName =
            name.parse().map_err(|_| invalid("header field", name, "is not a name of a field"))?;
        if RESERVED.contains(&field) {
            return Err(invalid("header field", name, "is set by the host"));
        }
        // The message must not quote the value, which can be a secret.
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| invalid("header field", name, "has a value with control characters"))?;
        fields.try_append(field, value).map_err(|_| too_large())?;
    }
    Ok(fields)
}

fn invalid(what: &str, text: &str, reason: &str) -> HttpError {
    HttpError::Invalid(format!("{what} `{}` {reason}", json::readable(text)))
}

/// Returns the header fields of a response as text.
fn fields(headers: &HeaderMap, host: &str) -> Result<Vec<(String, String)>, HttpError> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > FIELD_BYTES {
        return Err(HttpError::TooLarge(format!(
            "`{host}`: the header fields of the response exceed {FIELD_BYTES} bytes"
        )));
    }
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Ok(headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect())
}

impl From<HttpError> for RequestError {
    fn from(error: HttpError) -> RequestError {
        match error {
            HttpError::Denied(text) => RequestError::NotAllowed(text),
            HttpError::Invalid(text) => RequestError::InvalidRequest(text),
            HttpError::QuotaExceeded(text) => RequestError::QuotaExceeded(text),
            HttpError::TooLarge(text) => RequestError::TooLarge(text),
            HttpError::Failed(text) => RequestError::Unreachable(text),
            HttpError::NotTrusted(text) => RequestError::NotTrusted(text),
            HttpError::TimedOut(text) => RequestError::TimedOut(text),
            HttpError::Other(text) => RequestError::Other(text),
        }
    }
}
