//! A hub's host name, with or without a port.
//!
//! Host names in Azure have no port. Some clients accept one in the connection string
//! of a local hub (`localhost:8884`) and then send it in the user name and in the
//! token. Therefore the port is ignored when names are compared.

use std::fmt;
use std::str::FromStr;

/// A host name or IP address, with an optional port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName {
    name: String,
    port: Option<u16>,
}

/// A malformed host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    /// An empty name.
    #[error("host name is empty")]
    Empty,
    /// A character that neither host names nor IP addresses contain.
    #[error("host name `{0}` has a {1:?}, which is not allowed")]
    Character(String, char),
    /// A base64 character that no host name contains. The error does not show the whole
    /// string, as it may be a key.
    #[error("host name has a {0:?}, which is not allowed")]
    Base64(char),
    /// A malformed port after the colon.
    #[error("host name `{0}` ends in a port that is not a number from 1 to 65535")]
    Port(String),
    /// A name longer than DNS allows.
    #[error("host name has {0} characters; at most 253 are allowed")]
    TooLong(usize),
}

impl HostName {
    /// Validates `name` and returns it with its port.
    pub fn new(name: &str, port: Option<u16>) -> Result<HostName, HostNameError> {
        let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
        if bare.is_empty() {
            return Err(HostNameError::Empty);
        }
        if bare.len() > 253 {
            return Err(HostNameError::TooLong(bare.len()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        match bare.chars().find(|c| !allowed(*c)) {
            None => Ok(HostName { name: bare.to_owned(), port }),
            Some(_) if let Some(c) = bare.chars().find(|c| matches!(c, '=' | '+' | '/')) => {
                Err(HostNameError::Base64(c))
            }
            Some(c) => Err(HostNameError::Character(json::readable_url(name).into_owned(), c)),
        }
    }

    /// Returns the name without the port. An IPv6 address has no brackets.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the port, if there is one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Returns `true` if both are the same host. Case and port are ignored.
    #[must_use]
    pub fn matches(&self, other: &HostName) -> bool {
        self.name.eq_ignore_ascii_case(&other.name)
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<HostName, HostNameError> {
        let bad_port = || HostNameError::Port(json::readable_url(text).into_owned());
        let port = |digits: &str| match digits.parse::<u16>() {
            Ok(port) if port > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
            _ => Err(bad_port()),
        };
        if text.starts_with('[') {
            let end = text.find(']').ok_or_else(bad_port)?;
            let (name, rest) = text.split_at(end + 1);
            return match rest.strip_prefix(':') {
                None if rest.is_empty() => HostName::new(name, None),
                None => Err(bad_port()),
                Some(digits) => HostName::new(name, Some(port(digits)?)),
            };
        }
        match text.split_once(':') {
            // More than one colon: an IPv6 address without brackets.
            Some((_, rest)) if rest.contains(':') => HostName::new(text, None),
            Some((name, digits)) => HostName::new(name, Some(port(digits)?)),
            None => HostName::new(text, None),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v6 = self.name.contains(':');
        match (v6, self.port) {
            (true, Some(port)) => write!(f, "[{}]:{port}", self.name),
            (false, Some(port)) => write!(f, "{}:{port}", self.name),
            (_, None) => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_survives_a_round_trip() {
        for text in ["myhub.azure-devices.net", "localhost", "localhost:8884", "127.0.0.1:1", "::1"]
        {
            assert_eq!(text.parse::<HostName>().unwrap().to_string(), text);
        }
        assert_eq!("[::1]:8883".parse::<HostName>().unwrap().to_string(), "[::1]:8883");
    }

    #[test]
    fn case_and_port_do_not_distinguish_hosts() {
        let one: HostName = "MyHub.azure-devices.net".parse().unwrap();
        assert!(one.matches(&"myhub.azure-devices.net:8883".parse().unwrap()));
        assert!(!one.matches(&"other.azure-devices.net".parse().unwrap()));
    }

    #[test]
    fn a_malformed_host_name_is_refused() {
        for bad in ["", ":8883", "a b", "host:", "host:0", "host:99999", "host:+1", "a/b", "[::1"] {
            assert!(bad.parse::<HostName>().is_err(), "{bad:?}");
        }
        for secret in ["user:passw0rd@h", "user:passw0rd@h:1", "https://user:passw0rd@h"] {
            let error = secret.parse::<HostName>().unwrap_err().to_string();
            assert!(!error.contains("passw0rd"), "{error}");
        }
    }
}
