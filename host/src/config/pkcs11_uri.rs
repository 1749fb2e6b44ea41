//! `key_uri`: a key in a token, as a PKCS #11 URI (RFC 7512).
//!
//! ```text
//! pkcs11:token=device;object=dev-g1?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/host/pin
//! ```

use std::fmt;
use std::path::{Path, PathBuf};

/// Key in a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11Uri {
    /// Attributes of the token that contains the key.
    pub token: TokenAttributes,
    /// Label of the key.
    pub object: Option<String>,
    /// Id of the key.
    pub id: Option<Vec<u8>>,
    /// Library of the token.
    pub module: PathBuf,
    /// File of the PIN; `None` for a token without one.
    pub pin_file: Option<PathBuf>,
    /// Text before the query, which contains no secret.
    path: String,
}

/// Attributes of a token, each `None` if any value matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenAttributes {
    /// Label.
    pub token: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Manufacturer.
    pub manufacturer: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Number of the slot, which many tokens change at each start.
    pub slot: Option<u64>,
}

/// Malformed PKCS #11 URI. The message never shows the query, which may contain a PIN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Text that does not start with `pkcs11:`.
    #[error("does not start with `pkcs11:`")]
    Scheme,
    /// Attribute without a value.
    #[error("an attribute is not NAME=VALUE")]
    NotAPair,
    /// Unknown attribute.
    #[error("attribute `{0}` is unknown")]
    Unknown(String),
    /// Repeated attribute.
    #[error("attribute `{0}` is repeated")]
    Duplicate(&'static str),
    /// Attribute with a malformed value.
    #[error("attribute `{0}` has a malformed value")]
    Value(&'static str),
    /// Object of another type than a private key.
    #[error("`type` is not `private`")]
    Type,
    /// PIN in the configuration, which is not secret.
    #[error("`pin-value` would put the PIN into the configuration")]
    PinValue,
    /// No attribute that identifies the key.
    #[error("neither `object` nor `id` names the key")]
    NoKey,
    /// No library.
    #[error("`module-path` is missing")]
    NoModule,
}

/// Attributes that a URI can have, in both of its parts.
const NAMES: [&str; 12] = [
    "token",
    "serial",
    "manufacturer",
    "model",
    "slot-id",
    "object",
    "id",
    "type",
    "module-path",
    "pin-source",
    "pin-value",
    "module-name",
];

impl Pkcs11Uri {
    /// Parses a URI whose file names are relative to `directory`.
    pub(super) fn parse(text: &str, directory: &Path) -> Result<Pkcs11Uri, UriError> {
        let rest = text.strip_prefix("pkcs11:").ok_or(UriError::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut values: Vec<(&'static str, Vec<u8>)> = Vec::new();
        let attributes = path.split(';').chain(query.split('&')).filter(|it| !it.is_empty());
        for attribute in attributes {
            let (name, value) = attribute.split_once('=').ok_or(UriError::NotAPair)?;
            let Some(name) = NAMES.iter().find(|known| **known == name) else {
                return Err(UriError::Unknown(json::excerpt(name, 40).into_owned()));
            };
            if values.iter().any(|(seen, _)| seen == name) {
                return Err(UriError::Duplicate(name));
            }
            values.push((name, decode(value).ok_or(UriError::Value(name))?));
        }
        let bytes = |name: &str| values.iter().find(|(known, _)| *known == name).map(|it| &it.1);
        let text = |name: &'static str| {
            let value = bytes(name).map(|bytes| String::from_utf8(bytes.clone()));
            value.transpose().map_err(|_| UriError::Value(name))
        };
        if bytes("pin-value").is_some() {
            return Err(UriError::PinValue);
        }
        if text("type")?.is_some_and(|kind| kind != "private") {
            return Err(UriError::Type);
        }
        let slot = text("slot-id")?.map(|text| text.parse()).transpose();
        let uri = Pkcs11Uri {
            token: TokenAttributes {
                token: text("token")?,
                serial: text("serial")?,
                manufacturer: text("manufacturer")?,
                model: text("model")?,
                slot: slot.map_err(|_| UriError::Value("slot-id"))?,
            },
            object: text("object")?,
            id: bytes("id").cloned(),
            module: directory.join(text("module-path")?.ok_or(UriError::NoModule)?),
            pin_file: text("pin-source")?
                .map(|source| directory.join(source.strip_prefix("file:").unwrap_or(&source))),
            path: path.to_owned(),
        };
        match (&uri.object, &uri.id) {
            (None, None) => Err(UriError::NoKey),
            _ => Ok(uri),
        }
    }
}

impl fmt::Display for Pkcs11Uri {
    /// Writes the URI without its query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pkcs11:{}", json::readable(&self.path))
    }
}

/// Decodes a percent-encoded value.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        // `from_str_radix` also accepts a sign.
        let digits = std::str::from_utf8(digits).ok().filter(|it| !it.starts_with('+'))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Pkcs11Uri, UriError> {
        Pkcs11Uri::parse(text, Path::new("/etc/host"))
    }

    #[test]
    fn the_attributes_of_a_key_are_read_from_both_parts() {
        let text = "pkcs11:token=my%20device;object=dev-g1;id=%01%fF;type=private?pin-source=file:pin&module-path=/usr/lib/p11.so";
        let uri = parse(text).unwrap();
        assert_eq!(uri.token.token.as_deref(), Some("my device"));
        assert_eq!(
            (uri.object.as_deref(), uri.id.as_deref()),
            (Some("dev-g1"), Some(&[1, 255][..]))
        );
        assert_eq!(uri.module, Path::new("/usr/lib/p11.so"));
        assert_eq!(uri.pin_file.as_deref(), Some(Path::new("/etc/host/pin")));
        assert_eq!(
            uri.to_string(),
            "pkcs11:token=my%20device;object=dev-g1;id=%01%fF;type=private"
        );
    }

    #[test]
    fn an_error_names_the_attribute_and_never_the_pin() {
        for (text, expected) in [
            ("token=a", UriError::Scheme),
            ("pkcs11:token", UriError::NotAPair),
            ("pkcs11:tokn=a", UriError::Unknown("tokn".to_owned())),
            ("pkcs11:token=a;token=b", UriError::Duplicate("token")),
            ("pkcs11:token=a%2", UriError::Value("token")),
            ("pkcs11:token=a%+1", UriError::Value("token")),
            ("pkcs11:slot-id=x;object=k?module-path=m", UriError::Value("slot-id")),
            ("pkcs11:object=k;type=cert?module-path=m", UriError::Type),
            ("pkcs11:object=k?module-path=m&pin-value=1234", UriError::PinValue),
            ("pkcs11:token=a?module-path=m", UriError::NoKey),
            ("pkcs11:object=k", UriError::NoModule),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("1234"));
        }
    }
}
