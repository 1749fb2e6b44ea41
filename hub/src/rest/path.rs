//! Paths of requests: encoded slashes and paths for devices.

use axum::http::{Method, Request, Uri};

/// Replaces encoded slashes in the path of a request. Azure IoT Explorer encodes the whole
/// path. Ids cannot contain slashes, so `%2F` is always a separator.
pub(crate) fn decode_slashes<B>(mut request: Request<B>) -> Request<B> {
    let uri = request.uri();
    if !uri.path().contains("%2F") && !uri.path().contains("%2f") {
        return request;
    }
    let path = uri.path().replace("%2F", "/").replace("%2f", "/");
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = format!("{path}{query}").parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

/// Returns the name of the device API that a path belongs to: IoT Hub over HTTPS. Returns
/// `None` for the paths of services.
pub(super) fn api_for_devices(method: &Method, path: &str) -> Option<&'static str> {
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match segments[..] {
        // A cloud-to-device message from a service.
        ["devices", _, "messages", bound]
            if *method == Method::POST && bound.eq_ignore_ascii_case("devicebound") =>
        {
            None
        }
        ["devices", _, "files", ..] => Some("file upload"),
        ["devices", _, "messages", ..] => Some("this path of devices"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_slashes_are_separators() {
        for (uri, decoded) in [
            ("/devices%2Fquery?api-version=1", "/devices/query?api-version=1"),
            ("/twins%2fa%23b%2Fmethods", "/twins/a%23b/methods"),
            ("https://localhost/twins%2Fd1?a=%2F", "https://localhost/twins/d1?a=%2F"),
            ("/twins/d1?a=%2F", "/twins/d1?a=%2F"),
        ] {
            let request = Request::builder().uri(uri).body(()).unwrap();
            assert_eq!(decode_slashes(request).uri().to_string(), decoded);
        }
    }
}
