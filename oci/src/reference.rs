//! References to images: registry, repository, tag and digest.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};

use crate::Digest;

/// Maximum length of registry and repository together. Many registries refuse longer names.
const MAX_NAME: usize = 255;

/// Maximum length of a tag (distribution specification, "Pulling manifests").
const MAX_TAG: usize = 128;

/// A reference to an image, in the form `HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]`.
///
/// The registry is always part of the text: no registry is assumed. With a digest, the tag is
/// for people only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Error for a text that is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("image reference `{text}`: {problem}")]
pub struct ReferenceError {
    text: String,
    problem: &'static str,
}

impl Reference {
    /// Returns the host of the registry, with its port if the text has one.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the repository, such as `plugins/reboot`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Returns registry and repository, without tag and digest.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Returns the reference with another digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { digest: Some(digest), ..self.clone() }
    }

    /// Returns a reference to another tag of the repository. The tag must be valid.
    pub(crate) fn with_tag(&self, tag: &str) -> Reference {
        debug_assert_eq!(check_tag(tag), Ok(()));
        Reference { tag: Some(tag.to_owned()), digest: None, ..self.clone() }
    }

    /// Returns the part of the URL that selects the manifest: the digest if there is one, else
    /// the tag.
    pub(crate) fn selector(&self) -> Option<String> {
        self.digest.map(|digest| digest.to_string()).or_else(|| self.tag.clone())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        parse(text).map_err(|problem| ReferenceError {
            text: json::excerpt(&json::readable_url(text), MAX_NAME).into_owned(),
            problem,
        })
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Reference, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    if text.contains("://") {
        return Err("has a scheme; write HOST/REPOSITORY");
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => {
            let digest = digest.parse().map_err(|_| "its digest is not a SHA-256 digest")?;
            (name, Some(digest))
        }
        None => (text, None),
    };
    let (registry, rest) = name.split_once('/').ok_or("has no repository")?;
    let (repository, tag) = match rest.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (rest, None),
    };
    check_registry(registry)?;
    if registry.len() + 1 + repository.len() > MAX_NAME {
        return Err("is longer than 255 characters");
    }
    if !repository.split('/').all(is_path_part) {
        return Err(
            "its repository may have lower-case letters and digits, separated by `/`, `.`, `_`, `__` or `-`",
        );
    }
    tag.map_or(Ok(()), check_tag)?;
    Ok(Reference {
        registry: registry.to_owned(),
        repository: repository.to_owned(),
        tag: tag.map(str::to_owned),
        digest,
    })
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !registry.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    };
    if port.is_some_and(|port| !is_port(port)) {
        return Err("its port is not a number from 1 to 65535");
    }
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address: Result<std::net::Ipv6Addr, _> = address.parse();
        return address.map(drop).map_err(|_| "its registry is not an IPv6 address");
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if !host.split('.').all(is_label) {
        return Err("its registry is not a host name");
    }
    // Docker's tools read `library/alpine` as a repository of Docker Hub.
    if port.is_none() && !host.contains('.') && host != "localhost" {
        return Err("names no registry; write HOST/REPOSITORY, with a `.` or a port in the host");
    }
    Ok(())
}

/// Returns `true` for letters and digits joined by `.`, `_`, `__` or hyphens.
fn is_path_part(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    if !bytes.first().is_some_and(|byte| is_word(*byte))
        || !bytes.last().is_some_and(|byte| is_word(*byte))
    {
        return false;
    }
    let separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    separators.into_iter().all(|separator| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
    })
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = tag.as_bytes();
    let is_tag = bytes.len() <= MAX_TAG
        && bytes.first().is_some_and(|byte| is_word(*byte))
        && bytes.iter().all(|byte| is_word(*byte) || b".-".contains(byte));
    match is_tag {
        true => Ok(()),
        false => Err(
            "its tag may have 128 letters, digits, `_`, `.` and `-`, and starts with none of the last two",
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    #[test]
    fn a_reference_has_a_registry_a_repository_and_optionally_a_tag_and_a_digest() {
        let parse = |text: &str| text.parse::<Reference>().unwrap();
        let image = parse("reg.example:5000/plugins/re__boot");
        assert_eq!(image.registry(), "reg.example:5000");
        assert_eq!(image.repository(), "plugins/re__boot");
        assert_eq!((image.tag(), image.digest()), (None, None));
        let image = parse(&format!("localhost/a:1.2.3@sha256:{HEX}"));
        assert_eq!(image.tag(), Some("1.2.3"));
        assert_eq!(image.selector().unwrap(), format!("sha256:{HEX}"));
        assert_eq!(image.name(), "localhost/a");
        for text in ["[::1]:5000/a", "[::1]/a:b", "a.b/c---d.e_f/0", "localhost:1/a"] {
            assert_eq!(parse(text).to_string(), text);
        }
    }

    #[test]
    fn a_malformed_reference_is_refused_with_the_reason() {
        let cases = [
            ("", "has no repository"),
            ("reboot", "has no repository"),
            ("plugins/reboot", "names no registry"),
            ("https://a.b/c", "has a scheme"),
            ("a.b/C", "its repository may have"),
            ("a.b/c//d", "its repository may have"),
            ("a.b/../c", "its repository may have"),
            ("a.b/c.-d", "its repository may have"),
            ("a.b/c___d", "its repository may have"),
            ("a.b/", "its repository may have"),
            ("a.b/c:", "its tag may have"),
            ("a.b/c:-d", "its tag may have"),
            ("a.b/c:d:e", "its tag may have"),
            ("a.b/c@sha256:12", "its digest is not"),
            ("a.b/c@", "its digest is not"),
            ("a.b:0/c", "its port is not"),
            ("a.b:99999/c", "its port is not"),
            ("a.b:+80/c", "its port is not"),
            ("a..b/c", "its registry is not a host name"),
            ("user@a.b/c", "its digest is not"),
            ("[::g]/c", "its registry is not an IPv6 address"),
        ];
        for (text, problem) in cases {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(error.problem.starts_with(problem), "{text}: {error}");
        }
        let error = "user:passw0rd@a.b/c".parse::<Reference>().unwrap_err().to_string();
        assert!(error.contains("`…@a.b/c`"), "{error}");
        assert!(format!("a.b/{}", "c".repeat(252)).parse::<Reference>().is_err());
        assert!(format!("a.b/c:{}", "d".repeat(129)).parse::<Reference>().is_err());
    }

    proptest! {
        #[test]
        fn every_accepted_text_is_printed_unchanged(
            text in "[a-z0-9.:/@_A-Z-]{0,40}|[a-z.]{1,9}(:[0-9]{1,5})?/[a-z0-9._-]{1,9}(:[a-z.-]{1,5})?"
        ) {
            if let Ok(image) = text.parse::<Reference>() {
                prop_assert_eq!(image.to_string(), text);
            }
        }
    }
}
