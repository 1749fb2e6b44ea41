//! Header fields of requests to a receiver, which are secrets.

use std::fmt;
use std::path::PathBuf;

use http::{HeaderName, HeaderValue, header};

use super::OtlpError;
use crate::secret_file::{self, SecretFileError};

/// Header fields of each request.
#[derive(Clone, Default)]
pub(in crate::otlp) struct Headers(pub(in crate::otlp) Vec<(HeaderName, HeaderValue)>);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} header fields", self.0.len())
    }
}

/// Problem of a header field. The message is a predicate, and has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// Malformed name or value.
    #[error("is no header field")]
    Malformed,
    /// Field that the host sets itself.
    #[error("sets `{0}`, which describes the request and is set by the host")]
    OfRequest(&'static str),
}

/// Fields that describe the request, its body or its connection. With another value, the receiver
/// could not read the request, or would read another one.
static OF_REQUEST: [HeaderName; 12] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

impl Headers {
    /// Reads the header fields of a file. Empty lines and lines that begin with `#` are ignored.
    pub(super) fn of_file(key: String, path: PathBuf) -> Result<Headers, OtlpError> {
        let content = match secret_file::read(&path) {
            Ok(content) => content,
            Err(SecretFileError::Read(source)) => {
                return Err(OtlpError::Read { key, path, source });
            }
            Err(SecretFileError::Mode(mode)) => return Err(OtlpError::Mode { key, path, mode }),
        };
        let text = String::from_utf8_lossy(&content);
        let mut fields = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let parsed = line.split_once(':').ok_or(FieldProblem::Malformed);
            match parsed.and_then(|(name, value)| field(name, value)) {
                Ok(parsed) => fields.push(parsed),
                Err(problem) => {
                    return Err(OtlpError::Line { key, path, line: index + 1, problem });
                }
            }
        }
        Ok(Headers(fields))
    }

    /// Creates the header fields of names and values.
    pub(super) fn of_pairs(pairs: &[(String, String)]) -> Result<Headers, FieldProblem> {
        let fields = pairs.iter().map(|(name, value)| field(name, value));
        fields.collect::<Result<_, _>>().map(Headers)
    }
}

fn field(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), FieldProblem> {
    let mut value = HeaderValue::from_str(value.trim()).map_err(|_| FieldProblem::Malformed)?;
    value.set_sensitive(true);
    let name: HeaderName = name.trim().parse().map_err(|_| FieldProblem::Malformed)?;
    match OF_REQUEST.iter().find(|of_request| **of_request == name) {
        // The name is one of the list, so it does not need to be escaped.
        Some(of_request) => Err(FieldProblem::OfRequest(of_request.as_str())),
        None => Ok((name, value)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn header_fields_are_read_from_a_file_that_others_cannot_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("headers");
        let write = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Headers::of_file("host.otlp.headers_file".to_owned(), path.clone())
        };
        let found = write("# a comment\napi-key: secret:1\n", 0o600).unwrap();
        assert_eq!(found.0[0].1, "secret:1");
        assert!(!format!("{found:?}").contains("secret"), "the secret is not shown");
        let error = write("api-key: secret", 0o644).unwrap_err();
        assert!(error.to_string().ends_with("has mode 644, so others can read or change it"));
        let error = write("\nsecret", 0o600).unwrap_err().to_string();
        assert!(error.contains("line 2") && !error.contains("secret"), "{error}");
        for field in ["content-length: 5", "Transfer-Encoding: chunked", "host: h", "TE: trailers"]
        {
            let error = write(&format!("api-key: secret\n{field}"), 0o600).unwrap_err();
            let name = field.split(':').next().unwrap().to_ascii_lowercase();
            assert!(error.to_string().contains(&format!("headers sets `{name}`")), "{error}");
        }
    }
}
