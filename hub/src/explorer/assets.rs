//! The files of the page, which are part of the program.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};

use super::PREFIX;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Names of the files below [`PREFIX`], their types and contents.
const FILES: [(&str, &str, &str); 21] = [
    ("style.css", STYLE, include_str!("page/style.css")),
    ("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("app.js", SCRIPT, include_str!("page/app.js")),
    ("api.js", SCRIPT, include_str!("page/api.js")),
    ("elements.js", SCRIPT, include_str!("page/elements.js")),
    ("drafts.js", SCRIPT, include_str!("page/drafts.js")),
    ("ask.js", SCRIPT, include_str!("page/ask.js")),
    ("stream.js", SCRIPT, include_str!("page/stream.js")),
    ("devices.js", SCRIPT, include_str!("page/devices.js")),
    ("device.js", SCRIPT, include_str!("page/device.js")),
    ("modules.js", SCRIPT, include_str!("page/modules.js")),
    ("twin.js", SCRIPT, include_str!("page/twin.js")),
    ("methods.js", SCRIPT, include_str!("page/methods.js")),
    ("messages.js", SCRIPT, include_str!("page/messages.js")),
    ("faults.js", SCRIPT, include_str!("page/faults.js")),
    ("fault-kinds.js", SCRIPT, include_str!("page/fault-kinds.js")),
    ("tags.js", SCRIPT, include_str!("page/tags.js")),
    ("repeat.js", SCRIPT, include_str!("page/repeat.js")),
    ("configurations.js", SCRIPT, include_str!("page/configurations.js")),
    ("jobs.js", SCRIPT, include_str!("page/jobs.js")),
    ("enrollments.js", SCRIPT, include_str!("page/enrollments.js")),
];

/// Policy of the page: its own files only, no scripts or styles within the page, no frames, and
/// no conversion of text to HTML.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Returns the file at this path.
pub(super) fn find(path: &str) -> Option<Response> {
    let (content_type, contents) = match path {
        "/" => (HTML, include_str!("page/index.html")),
        _ => {
            let name = path.strip_prefix(PREFIX)?;
            let (_, content_type, contents) = FILES.iter().find(|(own, _, _)| *own == name)?;
            (*content_type, *contents)
        }
    };
    // The next version of the program can have other files.
    Some(([(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-cache")], contents).into_response())
}

/// Adds the headers that restrict what a browser does with a response.
pub(super) fn with_security_headers(mut response: Response) -> Response {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
