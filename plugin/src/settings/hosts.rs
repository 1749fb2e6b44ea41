//! Allowed HTTP hosts, in the notation of the configuration.
//!
//! Examples are `api.example.com`, `api.example.com:8443`, `*.example.com`, and for
//! development `http://localhost:8080`. The default scheme is HTTPS. A host with its full
//! name can be in any network. A host that matches a pattern must not be in a private
//! network; otherwise the owner of the domain could direct requests into it.

use http::uri::{Authority, Scheme, Uri};
use std::fmt;
use std::str::FromStr;

/// An allowed host, or all hosts of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpHost {
    scheme: Scheme,
    /// Name in lower case. A pattern is stored without its `*`: `.example.com`.
    name: String,
    port: u16,
}

/// An invalid host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpHostError {
    /// The text is not a host with an optional port.
    #[error(
        "`{0}` is not a host like `api.example.com`, `api.example.com:8443` or `*.example.com`"
    )]
    NotAHost(String),
    /// The text has a path, a query or a fragment.
    #[error(
        "`{0}` has a path: an entry is a host with an optional port, and allows all of its paths"
    )]
    WithPath(String),
    /// The pattern would include hosts of other owners.
    #[error("`{0}`: a pattern needs HTTPS and two labels after `*.`")]
    TooWide(String),
}

/// Name that admits all hosts. No configuration can contain it.
const ANY: &str = "*";

impl HttpHost {
    /// Returns a host that admits every request. Suits a client that checks the hosts itself.
    #[must_use]
    pub fn any() -> HttpHost {
        HttpHost { scheme: Scheme::HTTPS, name: ANY.to_owned(), port: 443 }
    }

    /// Returns `Some` if a request to the URI is allowed, with `true` if its host can be in
    /// a private network.
    pub(crate) fn admits(&self, scheme: &Scheme, uri: &Uri) -> Option<bool> {
        let authority = uri.authority()?;
        if self.name == ANY {
            return Some(true);
        }
        // User information before the host can look like a host.
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

    /// Returns the host of a request to the URI if it is allowed.
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
        let not_a_host = || HttpHostError::NotAHost(json::readable_url(text).into_owned());
        let (scheme, rest) = match text.split_once("://") {
            Some(("https", rest)) => (Scheme::HTTPS, rest),
            Some(("http", rest)) => (Scheme::HTTP, rest),
            Some(_) => return Err(not_a_host()),
            None => (Scheme::HTTPS, text),
        };
        if rest.contains(['/', '?', '#']) {
            return Err(HttpHostError::WithPath(json::readable_url(text).into_owned()));
        }
        let (is_pattern, rest) = match rest.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let authority: Authority = rest.parse().map_err(|_| not_a_host())?;
        let name = authority.host().to_ascii_lowercase();
        let readable =
            |character: char| character.is_ascii_alphanumeric() || "-._[]:".contains(character);
        let with_port = |port: u16| format!("{}:{port}", authority.host());
        let whole = match authority.port_u16() {
            Some(port) => with_port(port) == rest,
            None => authority.host() == rest,
        };
        // A pattern is stored as a name with a leading dot.
        if name.is_empty() || name.starts_with('.') || !name.chars().all(readable) || !whole {
            return Err(not_a_host());
        }
        let port = authority.port_u16().or_else(|| port_of(&scheme));
        let port = port.filter(|port| *port != 0).ok_or_else(not_a_host)?;
        if !is_pattern {
            return Ok(HttpHost { scheme, name, port });
        }
        let two_parts = name.trim_matches('.').contains('.');
        let is_address = name.rsplit('.').next().is_none_or(|last| last.parse::<u32>().is_ok());
        if !two_parts || is_address || scheme != Scheme::HTTPS {
            return Err(HttpHostError::TooWide(json::readable_url(text).into_owned()));
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

    const FULL_NAME: Option<bool> = Some(true);
    const BY_PATTERN: Option<bool> = Some(false);

    #[track_caller]
    fn check(host: &str, uri: &str, expected: Option<bool>) {
        let uri: Uri = uri.parse().unwrap();
        let host: HttpHost = host.parse().unwrap();
        assert_eq!(host.admits(uri.scheme().unwrap(), &uri), expected, "{host} {uri}");
    }

    #[test]
    fn a_host_admits_itself_with_its_scheme_and_port_only() {
        check("api.example.com", "https://api.example.com/a?b", FULL_NAME);
        check("api.example.com", "https://API.Example.com:443/", FULL_NAME);
        check("api.example.com", "https://api.example.com:8443/", None);
        check("api.example.com", "http://api.example.com/", None);
        check("api.example.com", "http://api.example.com:443/", None);
        check("api.example.com", "https://example.com/", None);
        check("api.example.com", "https://api.example.com.evil.org/", None);
        check("api.example.com:8443", "https://api.example.com:8443/", FULL_NAME);
        check("http://localhost:8080", "http://localhost:8080/", FULL_NAME);
        check("http://localhost:8080", "https://localhost:8080/", None);
        check("192.168.0.7", "https://192.168.0.7/", FULL_NAME);
        check("[::1]:8443", "https://[::1]:8443/", FULL_NAME);
    }

    #[test]
    fn a_uri_with_user_information_is_not_admitted() {
        check("api.example.com", "https://api.example.com@evil.org/", None);
        check("api.example.com", "https://user@api.example.com/", None);
    }

    #[test]
    fn any_host_admits_every_request_and_is_no_valid_configuration() {
        for uri in ["http://localhost:8080/", "https://u@a.org/"] {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(HttpHost::any().admits(uri.scheme().unwrap(), &uri), FULL_NAME);
        }
        "*".parse::<HttpHost>().unwrap_err();
    }

    #[test]
    fn a_pattern_admits_subdomains_but_not_in_a_private_network() {
        check("*.example.com", "https://api.example.com/", BY_PATTERN);
        check("*.example.com", "https://a.b.example.com/", BY_PATTERN);
        check("*.example.com", "https://example.com/", None);
        check("*.example.com", "https://.example.com/", None);
        check("*.example.com", "https://evilexample.com/", None);
    }

    #[test]
    fn an_invalid_host_is_refused() {
        for text in [
            "",
            ".com",
            "*..com",
            "https://",
            "ftp://a.org",
            "a b",
            "u@a.org",
            "a.org:",
            "a.org:99999",
            "a.org:0",
            "user:passw0rd@a.org",
        ] {
            let error = text.parse::<HttpHost>().unwrap_err();
            assert!(!error.to_string().contains("passw0rd"), "{error}");
            assert!(matches!(error, HttpHostError::NotAHost(_)), "{text}: {error}");
        }
        for text in ["a.org/path", "http://a/b", "https://a.org/", "a.org?x"] {
            let error = text.parse::<HttpHost>().unwrap_err();
            assert!(matches!(error, HttpHostError::WithPath(_)), "{text}: {error}");
        }
        for text in ["*.com", "*.localhost", "*.0.0.1", "http://*.example.com"] {
            let error = text.parse::<HttpHost>().unwrap_err();
            assert!(matches!(error, HttpHostError::TooWide(_)), "{text}: {error}");
        }
    }
}
