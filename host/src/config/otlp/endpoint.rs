//! URL of a receiver of OTLP.

use http::Uri;
use plugin::readable_url;
use protocol::host_name::HostName;

use crate::config::OtlpSignal;

/// URL of a receiver: with the scheme `http` or `https`, and without a password and a query, which
/// the log would show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint(Uri);

/// Text that is not the URL of a receiver. The message has neither its password nor its query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` {problem}")]
pub struct OtlpUrlError {
    url: String,
    pub(crate) problem: OtlpUrlProblem,
}

/// Problem of a URL. The message is a predicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OtlpUrlProblem {
    #[error("is not a URL such as `https://otlp.example.com:4318`")]
    NotAUrl,
    #[error("has a user name or a password")]
    UserInfo,
    #[error("has a query")]
    Query,
    #[error("has a host that is neither a name nor an address")]
    Host,
    #[error("has a port that is not a number from 1 to 65535")]
    Port,
    /// URL of one signal where the path of each signal is appended.
    #[error("ends in `/v1/{}`, which is appended to it", .0.name())]
    OfSignal(OtlpSignal),
}

impl OtlpEndpoint {
    /// Parses the complete URL of a signal.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is not the URL of a receiver.
    pub fn parse(text: &str) -> Result<OtlpEndpoint, OtlpUrlError> {
        parse(text).map_err(|problem| {
            let url = readable_url(text.split('?').next().unwrap_or_default()).into_owned();
            OtlpUrlError { url, problem }
        })
    }

    /// Parses the URL of all signals, to which their paths are appended.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is not the URL of a receiver, or that of one signal.
    pub fn parse_base(text: &str) -> Result<OtlpEndpoint, OtlpUrlError> {
        let endpoint = OtlpEndpoint::parse(text)?;
        let path = endpoint.0.path().trim_end_matches('/');
        let signals = [OtlpSignal::Metrics, OtlpSignal::Traces, OtlpSignal::Logs];
        match signals.into_iter().find(|it| path.ends_with(&format!("/v1/{}", it.name()))) {
            Some(signal) => Err(OtlpUrlError {
                url: readable_url(text).into_owned(),
                problem: OtlpUrlProblem::OfSignal(signal),
            }),
            None => Ok(endpoint),
        }
    }

    /// Returns the endpoint below this one.
    pub(crate) fn below(&self, path: &str) -> OtlpEndpoint {
        let text = format!("{}{path}", self.0.to_string().trim_end_matches('/'));
        OtlpEndpoint(text.parse().expect("a path below a URL makes a URL"))
    }

    /// Returns the URL.
    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }
}

impl OtlpUrlError {
    /// Returns a hint on how to fix the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self.problem {
            OtlpUrlProblem::UserInfo => {
                "write `authorization: Basic …` into the file of `headers_file`, with the base64 \
                 of NAME:PASSWORD"
            }
            OtlpUrlProblem::Query => "write a key into the file of `headers_file`",
            OtlpUrlProblem::OfSignal(OtlpSignal::Metrics) => {
                "set `endpoint` under [host.otlp.metrics] to this URL, or remove its end"
            }
            OtlpUrlProblem::OfSignal(OtlpSignal::Traces) => {
                "set `endpoint` under [host.otlp.traces] to this URL, or remove its end"
            }
            OtlpUrlProblem::OfSignal(OtlpSignal::Logs) => {
                "set `endpoint` under [host.otlp.logs] to this URL, or remove its end"
            }
            OtlpUrlProblem::NotAUrl | OtlpUrlProblem::Host | OtlpUrlProblem::Port => {
                "write the scheme, the host and the port, as in https://otlp.example.com:4318"
            }
        }
    }
}

fn parse(text: &str) -> Result<OtlpEndpoint, OtlpUrlProblem> {
    let uri: Uri = text.parse().map_err(|_| match text.contains('@') {
        // A password with other characters than those of a URL.
        true => OtlpUrlProblem::UserInfo,
        false => OtlpUrlProblem::NotAUrl,
    })?;
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(OtlpUrlProblem::NotAUrl);
    };
    if authority.as_str().contains('@') {
        return Err(OtlpUrlProblem::UserInfo);
    }
    if uri.query().is_some() {
        return Err(OtlpUrlProblem::Query);
    }
    // `Uri` accepts any text after the colon, and then has no port.
    let (host, authority) = (authority.host(), authority.as_str());
    if host.parse::<HostName>().is_err() {
        return Err(OtlpUrlProblem::Host);
    }
    match authority.parse::<HostName>() {
        Ok(_) => Ok(OtlpEndpoint(uri)),
        Err(_) => Err(OtlpUrlProblem::Port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_without_a_password_and_with_a_valid_port() {
        for text in ["http://localhost:4318", "https://otlp.example.com/base/", "http://[::1]:1"] {
            assert!(OtlpEndpoint::parse(text).is_ok(), "{text}");
        }
        for (text, problem) in [
            ("localhost:4318", OtlpUrlProblem::NotAUrl),
            ("ftp://a", OtlpUrlProblem::NotAUrl),
            ("http://", OtlpUrlProblem::NotAUrl),
            ("", OtlpUrlProblem::NotAUrl),
            ("http://u:p@a", OtlpUrlProblem::UserInfo),
            ("http://u:p w@a", OtlpUrlProblem::UserInfo),
            ("http://u:p/w@a", OtlpUrlProblem::Port),
            ("https://a?key=b", OtlpUrlProblem::Query),
            ("http://a~b", OtlpUrlProblem::Host),
            ("http://:1", OtlpUrlProblem::Host),
            ("http://h:", OtlpUrlProblem::Port),
            ("http://h:abc", OtlpUrlProblem::Port),
            ("https://h:0", OtlpUrlProblem::Port),
            ("http://127.0.0.1:99999/v1/logs", OtlpUrlProblem::Port),
            ("http://[::1]:65536", OtlpUrlProblem::Port),
        ] {
            assert_eq!(OtlpEndpoint::parse(text).unwrap_err().problem, problem, "{text}");
        }
    }

    #[test]
    fn an_error_shows_the_url_without_its_secrets() {
        for text in ["https://user:passw0rd@h:1/a", "https://h:1/a?key=passw0rd"] {
            let error = OtlpEndpoint::parse(text).unwrap_err().to_string();
            assert!(error.contains("h:1/a` has") && !error.contains("passw0rd"), "{error}");
        }
    }

    #[test]
    fn the_path_of_a_signal_is_appended_to_the_base() {
        let endpoint = OtlpEndpoint::parse_base("https://a.example/base/").unwrap();
        let metrics = endpoint.below("/v1/metrics");
        assert_eq!(metrics.uri().to_string(), "https://a.example/base/v1/metrics");
    }

    #[test]
    fn the_url_of_one_signal_is_not_that_of_all() {
        let text = "https://a.example/base/v1/logs/";
        assert!(OtlpEndpoint::parse(text).is_ok());
        let error = OtlpEndpoint::parse_base(text).unwrap_err();
        assert_eq!(error.problem, OtlpUrlProblem::OfSignal(OtlpSignal::Logs));
        assert!(error.hint().contains("[host.otlp.logs]"), "{}", error.hint());
    }
}
