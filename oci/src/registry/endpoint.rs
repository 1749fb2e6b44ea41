//! Servers with the content of a registry.

use std::net::IpAddr;

use reqwest::Url;

/// A server and the path below which its API is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Endpoint {
    base: Url,
    /// The name in messages and in files of credentials: host and port.
    pub(super) name: String,
    /// `true` if another server is asked after this one.
    pub(super) is_mirror: bool,
}

/// Error for an unusable URL of a mirror.
#[derive(Debug, thiserror::Error)]
#[error("mirror `{url}` {problem}")]
pub struct EndpointError {
    url: String,
    problem: &'static str,
}

impl Endpoint {
    /// Parses the URL of a mirror.
    pub(super) fn parse(text: &str) -> Result<Endpoint, EndpointError> {
        let wrong = |problem| {
            let url = json::excerpt(&json::readable_url(text), 200).into_owned();
            EndpointError { url, problem }
        };
        let base: Url = text.parse().map_err(|_| wrong("is not a URL"))?;
        if !matches!(base.scheme(), "https" | "http") {
            return Err(wrong("is neither https nor http"));
        }
        if has_user(&base) {
            return Err(EndpointError {
                url: base.host_str().unwrap_or_default().to_owned(),
                problem: "has credentials, which belong in the credentials file",
            });
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(wrong("has a query or fragment"));
        }
        let host = base.host_str().ok_or_else(|| wrong("has no host"))?;
        let name = match base.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Endpoint { base, name, is_mirror: true })
    }

    /// Returns the endpoint of the registry in a reference.
    pub(super) fn of_registry(registry: &str, is_plain: bool) -> Endpoint {
        let host = match registry {
            // The name in references differs from the server's name.
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            registry => registry,
        };
        let scheme = if is_plain { "http" } else { "https" };
        let base = format!("{scheme}://{host}/");
        let base = base.parse().expect("the registry of a reference is a valid host");
        Endpoint { base, name: registry.to_owned(), is_mirror: false }
    }

    /// Returns the URL of a path of the API, such as `/v2/a/b/tags/list`.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(a, b)| (a, Some(b)));
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.set_query(query);
        url
    }

    pub(super) fn is_origin_of(&self, url: &Url) -> bool {
        has_same_origin(&self.base, url)
    }

    /// Returns `true` if a request to `url` may follow one to this server: TLS is never left,
    /// except that a server without TLS may use another one of this machine.
    pub(super) fn may_lead_to(&self, url: &Url) -> bool {
        !has_user(url)
            && match (self.base.scheme(), url.scheme()) {
                (_, "https") => true,
                ("http", "http") => self.is_origin_of(url) || is_loopback(url),
                _ => false,
            }
    }
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

pub(super) fn has_same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Returns `true` if credentials may be sent to a token server.
pub(super) fn is_loopback_or_tls(realm: &str) -> bool {
    realm.parse().is_ok_and(|url: Url| match url.scheme() {
        "https" => url.username().is_empty() && url.password().is_none(),
        "http" => is_loopback(&url),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_has_a_url_without_credentials() {
        for (url, problem) in [
            ("mirror.example", "is not a URL"),
            ("ftp://mirror.example", "is neither https nor http"),
            ("https://me:pw@mirror.example", "has credentials"),
            ("https://mirror.example?x=1", "has a query"),
        ] {
            let error = Endpoint::parse(url).unwrap_err().to_string();
            assert!(error.contains(problem) && !error.contains("pw"), "{error}");
        }
        let mirror = Endpoint::parse("https://mirror.example:5000/hub/").unwrap();
        assert_eq!(mirror.name, "mirror.example:5000");
        let url = mirror.url("/v2/a/blobs/uploads/?mount=b");
        assert_eq!(url.as_str(), "https://mirror.example:5000/hub/v2/a/blobs/uploads/?mount=b");
    }

    #[test]
    fn docker_hub_has_another_server() {
        let endpoint = Endpoint::of_registry("docker.io", false);
        assert_eq!(endpoint.url("/v2/").as_str(), "https://registry-1.docker.io/v2/");
        assert_eq!(endpoint.name, "docker.io");
        assert_eq!(
            Endpoint::of_registry("[::1]:5", true).url("/v2/").as_str(),
            "http://[::1]:5/v2/"
        );
    }

    #[test]
    fn tls_is_never_left() {
        let may =
            |from: &str, to: &str| Endpoint::parse(from).unwrap().may_lead_to(&to.parse().unwrap());
        assert!(may("https://a.b", "https://c.d/x"));
        assert!(may("http://a.b", "https://c.d/x"));
        assert!(may("http://a.b:5", "http://a.b:5/x"));
        assert!(may("http://localhost:5", "http://127.0.0.1:6/x"));
        assert!(!may("https://a.b", "http://a.b/x"));
        assert!(!may("https://a.b", "http://localhost/x"));
        assert!(!may("http://a.b", "http://c.d/x"));
        assert!(!may("https://a.b", "https://me@c.d/x"));
        assert!(!may("https://a.b", "file:///etc/passwd"));
    }
}
