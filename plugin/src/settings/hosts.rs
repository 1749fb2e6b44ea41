//! Hosts that a plugin may send requests to, in the operator's notation.
//!
//! `api.example.com`, `api.example.com:8443`, `*.example.com`, and for development
//! `http://localhost:8080`. Without a scheme it is HTTPS. A host that is named in full
//! may be anywhere. A host that only matches a pattern must not be in a private
//! network; otherwise the owner of the pattern's names could reach into it.

use http::uri::{Authority, Scheme, Uri};
use std::fmt;
use std::str::FromStr;

/// A host that may be asked, or all below a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpHost {
    scheme: Scheme,
    /// In lower case, without the `*`: `.example.com`.
    name: String,
    port: u16,
}

/// A text that names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpHostError {
    /// Not a host with or without a port.
    #[error(
        "`{0}` is not a host like `api.example.com`, `api.example.com:8443` or `*.example.com`"
    )]
    NotAHost(String),
    /// A pattern that would include names of strangers.
    #[error("`{0}`: `*.` goes before a name of two parts or more, and only with HTTPS")]
    TooWide(String),
}

impl HttpHost {
    /// Returns `Some` if a request to this URI may be sent: `true` if its host may be
    /// in a private network.
    pub(crate) fn admits(&self, scheme: &Scheme, uri: &Uri) -> Option<bool> {
        let authority = uri.authority()?;
        // A name before the host is not a host, but can look like one.
        let plain = !authority.as_str().contains('@');
        let name = authority.host().to_ascii_lowercase();
        let port = authority.port_u16().or_else(|| port_of(scheme));
        if !plain || *scheme != self.scheme || port != Some(self.port) {
            return None;
        }
        match self.is_pattern() {
            false => (name == self.name).then_some(true),
            true => {
                let below = name.strip_suffix(&self.name).is_some_and(|below| !below.is_empty());
                below.then_some(false)
            }
        }
    }

    /// Returns the host that a request to this URI is sent to, if it may be sent. For
    /// fuzzing only.
    #[doc(hidden)]
    #[must_use]
    pub fn admitted(&self, uri: &Uri) -> Option<String> {
        self.admits(uri.scheme()?, uri)?;
        Some(uri.host()?.to_ascii_lowercase())
    }

    fn is_pattern(&self) -> bool {
        self.name.starts_with('.')
    }
}

fn port_of(scheme: &Scheme) -> Option<u16> {
    match scheme.as_str() {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}

impl FromStr for HttpHost {
    type Err = HttpHostError;

    fn from_str(text: &str) -> Result<HttpHost, HttpHostError> {
        let not_a_host = || HttpHostError::NotAHost(text.escape_debug().to_string());
        let (scheme, rest) = match text.split_once("://") {
            Some(("https", rest)) => (Scheme::HTTPS, rest),
            Some(("http", rest)) => (Scheme::HTTP, rest),
            Some(_) => return Err(not_a_host()),
            None => (Scheme::HTTPS, text),
        };
        let (is_pattern, rest) = match rest.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let authority: Authority = rest.parse().map_err(|_| not_a_host())?;
        let name = authority.host().to_ascii_lowercase();
        let readable = |sign: char| sign.is_ascii_alphanumeric() || "-._[]:".contains(sign);
        let with_port = |port: u16| format!("{}:{port}", authority.host());
        let whole = match authority.port_u16() {
            Some(port) => with_port(port) == rest,
            None => authority.host() == rest,
        };
        // A pattern is kept as a name with a dot in front.
        if name.is_empty() || name.starts_with('.') || !name.chars().all(readable) || !whole {
            return Err(not_a_host());
        }
        let port = authority.port_u16().or_else(|| port_of(&scheme)).ok_or_else(not_a_host)?;
        if !is_pattern {
            return Ok(HttpHost { scheme, name, port });
        }
        let two_parts = name.trim_matches('.').contains('.');
        let is_address = name.rsplit('.').next().is_none_or(|last| last.parse::<u32>().is_ok());
        if !two_parts || is_address || scheme != Scheme::HTTPS {
            return Err(HttpHostError::TooWide(text.escape_debug().to_string()));
        }
        Ok(HttpHost { scheme, name: format!(".{name}"), port })
    }
}

impl fmt::Display for HttpHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.is_pattern() { "*" } else { "" };
        write!(f, "{}://{star}{}:{}", self.scheme, self.name, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Option<bool> = Some(true);
    const BY_PATTERN: Option<bool> = Some(false);

    #[track_caller]
    fn check(host: &str, uri: &str, expected: Option<bool>) {
        let uri: Uri = uri.parse().unwrap();
        let host: HttpHost = host.parse().unwrap();
        assert_eq!(host.admits(uri.scheme().unwrap(), &uri), expected, "{host} {uri}");
    }

    #[test]
    fn a_host_admits_itself_with_its_scheme_and_port_only() {
        check("api.example.com", "https://api.example.com/a?b", WHOLE);
        check("api.example.com", "https://API.Example.com:443/", WHOLE);
        check("api.example.com", "https://api.example.com:8443/", None);
        check("api.example.com", "http://api.example.com/", None);
        check("api.example.com", "http://api.example.com:443/", None);
        check("api.example.com", "https://example.com/", None);
        check("api.example.com", "https://api.example.com.evil.org/", None);
        check("api.example.com:8443", "https://api.example.com:8443/", WHOLE);
        check("http://localhost:8080", "http://localhost:8080/", WHOLE);
        check("http://localhost:8080", "https://localhost:8080/", None);
        check("192.168.0.7", "https://192.168.0.7/", WHOLE);
        check("[::1]:8443", "https://[::1]:8443/", WHOLE);
    }

    #[test]
    fn a_name_before_the_host_admits_nothing() {
        check("api.example.com", "https://api.example.com@evil.org/", None);
        check("api.example.com", "https://user@api.example.com/", None);
    }

    #[test]
    fn a_pattern_admits_what_is_below_it_but_not_into_a_private_network() {
        check("*.example.com", "https://api.example.com/", BY_PATTERN);
        check("*.example.com", "https://a.b.example.com/", BY_PATTERN);
        check("*.example.com", "https://example.com/", None);
        check("*.example.com", "https://.example.com/", None);
        check("*.example.com", "https://evilexample.com/", None);
    }

    #[test]
    fn what_names_no_host_is_refused() {
        for text in [
            "",
            ".com",
            "*..com",
            "https://",
            "ftp://a.org",
            "a.org/path",
            "a b",
            "u@a.org",
            "a.org:",
            "a.org:99999",
        ] {
            let error = text.parse::<HttpHost>().unwrap_err();
            assert!(matches!(error, HttpHostError::NotAHost(_)), "{text}: {error}");
        }
        for text in ["*.com", "*.localhost", "*.0.0.1", "http://*.example.com"] {
            let error = text.parse::<HttpHost>().unwrap_err();
            assert!(matches!(error, HttpHostError::TooWide(_)), "{text}: {error}");
        }
    }
}
