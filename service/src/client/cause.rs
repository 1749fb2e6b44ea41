//! Causes of requests without a response.

use std::error::Error;
use std::io;

use trust::Distrust;

/// Returns the innermost cause of a `reqwest` error. If the cause is an untrusted certificate,
/// also returns the reason.
pub(super) fn cause(error: &reqwest::Error) -> (String, Option<Distrust>) {
    if let Some(reason) = trust::distrust(error) {
        return (format!("its certificate {}", reason.text()), Some(reason));
    }
    let mut innermost: &(dyn Error + 'static) = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    (describe(innermost), None)
}

fn describe(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        // The message of rustls refers to its own documentation, which does not help users.
        Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            "connection closed before the response".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_connection_is_described_without_a_link() {
        let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "peer closed connection: https://");
        assert_eq!(describe(&cut), "connection closed before the response");
        assert_eq!(describe(&io::Error::other("no route to host")), "no route to host");
    }
}
