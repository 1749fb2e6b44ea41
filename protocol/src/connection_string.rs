//! Connection strings of devices and services.
//!
//! ```text
//! HostName={hub};DeviceId={d}[;ModuleId={m}];SharedAccessKey={base64}[;GatewayHostName={gw}]
//! HostName={hub};DeviceId={d};SharedAccessSignature={token}
//! HostName={hub};DeviceId={d};x509=true
//! HostName={hub};SharedAccessKeyName={policy};SharedAccessKey={base64}
//! ```
//!
//! Parsing is strict: an unknown, repeated or empty part is an error that names the
//! part. A device with an incomplete connection string could not connect anyway.
//! Neither errors nor `Debug` ever show a key or a token.

use std::fmt;
use std::str::FromStr;

use crate::host_name::HostName;
use crate::id::{DeviceId, ModuleId, client_id};
use crate::sas::{Key, SasToken};

pub use error::ConnectionStringError;
use error::ConnectionStringError as Error;

mod error;

/// The connection string of a device or of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceConnectionString {
    /// The hub's host name.
    pub host: HostName,
    /// The device that connects.
    pub device: DeviceId,
    /// The module of the device, if a module connects.
    pub module: Option<ModuleId>,
    /// The host to connect to instead of the hub. Tokens still contain the hub's name.
    pub gateway: Option<HostName>,
    /// The device's credential.
    pub credential: DeviceCredential,
}

/// The credential of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceCredential {
    /// A key, which signs tokens.
    Key(Key),
    /// A token, valid until it expires.
    Token(SasToken),
    /// A client certificate, which is not part of the connection string.
    X509,
}

/// The connection string of a service. The service has the permissions of a shared
/// access policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConnectionString {
    /// The hub's host name.
    pub host: HostName,
    /// The name of the shared access policy.
    pub policy: String,
    /// The policy's key.
    pub key: Key,
}

/// The parts of a connection string by name. Names are unique.
struct ConnectionStringParts<'a>(Vec<(&'static str, &'a str)>);

impl<'a> ConnectionStringParts<'a> {
    fn split(text: &'a str, kind: &'static str, names: &[&'static str]) -> Result<Self, Error> {
        let mut parts: Vec<(&'static str, &'a str)> = Vec::new();
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::EmptyString);
        }
        if text.starts_with(['"', '\'', '“', '‘']) {
            return Err(Error::Quoted);
        }
        let text = text.strip_suffix(';').unwrap_or(text);
        let has = |name: &str| text.split(';').any(|part| part.split('=').next() == Some(name));
        match kind {
            "device" if has("SharedAccessKeyName") && !has("DeviceId") => {
                return Err(Error::ServiceString);
            }
            "service" if has("DeviceId") => return Err(Error::DeviceString),
            _ => {}
        }
        for (index, part) in text.split(';').enumerate() {
            let (name, value) = part.split_once('=').ok_or(Error::NotAPair(index + 1))?;
            let Some(name) = names.iter().find(|known| **known == name) else {
                return Err(match looks_like_name(name) {
                    true => Error::Unknown(name.to_owned(), kind),
                    false => Error::NotAName(index + 1, kind),
                });
            };
            if parts.iter().any(|(seen, _)| seen == name) {
                return Err(Error::Duplicate(name));
            }
            if value.is_empty() {
                return Err(Error::Empty(name));
            }
            parts.push((name, value));
        }
        Ok(ConnectionStringParts(parts))
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn required(&self, name: &'static str) -> Result<&'a str, Error> {
        self.get(name).ok_or(Error::Missing(name))
    }

    fn host(&self, name: &'static str) -> Result<Option<HostName>, Error> {
        self.get(name).map(|text| text.parse().map_err(|e| Error::Host(name, e))).transpose()
    }
}

/// Returns `true` if `text` looks like the name of a part, so that an error can quote it: it
/// has only letters and is no longer than the longest name. The shortest key of IoT Hub has
/// 22 characters before its `=`, so a key is never quoted.
fn looks_like_name(text: &str) -> bool {
    text.len() <= "SharedAccessSignature".len()
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

const DEVICE_PARTS: &[&str] = &[
    "HostName",
    "DeviceId",
    "ModuleId",
    "GatewayHostName",
    "SharedAccessKey",
    "SharedAccessSignature",
    "x509",
];

impl FromStr for DeviceConnectionString {
    type Err = ConnectionStringError;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = ConnectionStringParts::split(text, "device", DEVICE_PARTS)?;
        let host = parts.host("HostName")?.ok_or(Error::Missing("HostName"))?;
        let device = parts.required("DeviceId")?.parse().map_err(|e| Error::Id("DeviceId", e))?;
        let module = match parts.get("ModuleId") {
            Some(id) => Some(id.parse().map_err(|e| Error::Id("ModuleId", e))?),
            None => None,
        };
        let key = parts.get("SharedAccessKey");
        let token = parts.get("SharedAccessSignature");
        let x509 = parts.get("x509");
        let credential = match (key, token, x509) {
            (Some(_), Some(_), _) => {
                return Err(Error::Both("SharedAccessKey", "SharedAccessSignature"));
            }
            (Some(_), _, Some(_)) => return Err(Error::Both("SharedAccessKey", "x509")),
            (_, Some(_), Some(_)) => return Err(Error::Both("SharedAccessSignature", "x509")),
            (Some(key), ..) => DeviceCredential::Key(key.parse().map_err(Error::Key)?),
            (_, Some(token), _) => DeviceCredential::Token(token.parse().map_err(Error::Token)?),
            (.., Some("true")) => DeviceCredential::X509,
            (.., Some(_)) => return Err(Error::X509),
            (None, None, None) => return Err(Error::Missing("SharedAccessKey")),
        };
        Ok(Self { host, device, module, gateway: parts.host("GatewayHostName")?, credential })
    }
}

impl DeviceConnectionString {
    /// Returns the whole connection string, including its secret. Must not be logged.
    #[must_use]
    pub fn to_text_with_key(&self) -> String {
        let mut text = format!("HostName={};DeviceId={}", self.host, self.device);
        if let Some(module) = &self.module {
            text += &format!(";ModuleId={module}");
        }
        text += &match &self.credential {
            DeviceCredential::Key(key) => format!(";SharedAccessKey={}", key.to_base64()),
            DeviceCredential::Token(token) => format!(";SharedAccessSignature={token}"),
            DeviceCredential::X509 => ";x509=true".to_owned(),
        };
        if let Some(gateway) = &self.gateway {
            text += &format!(";GatewayHostName={gateway}");
        }
        text
    }

    /// Returns the MQTT client id: `{device}` or `{device}/{module}`.
    #[must_use]
    pub fn client_id(&self) -> String {
        client_id(&self.device, self.module.as_ref())
    }

    /// Returns the resource of this device's tokens: `{hub}/devices/{d}[/modules/{m}]`.
    #[must_use]
    pub fn resource(&self) -> String {
        match &self.module {
            None => format!("{}/devices/{}", self.host, self.device),
            Some(module) => format!("{}/devices/{}/modules/{module}", self.host, self.device),
        }
    }
}

impl fmt::Display for DeviceConnectionString {
    /// Writes the connection string without its secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostName={};DeviceId={}", self.host, self.device)?;
        match &self.module {
            Some(module) => write!(f, ";ModuleId={module};…"),
            None => f.write_str(";…"),
        }
    }
}

impl FromStr for ServiceConnectionString {
    type Err = ConnectionStringError;

    fn from_str(text: &str) -> Result<Self, Error> {
        let names = &["HostName", "SharedAccessKeyName", "SharedAccessKey"];
        let parts = ConnectionStringParts::split(text, "service", names)?;
        Ok(Self {
            host: parts.host("HostName")?.ok_or(Error::Missing("HostName"))?,
            policy: parts.required("SharedAccessKeyName")?.to_owned(),
            key: parts.required("SharedAccessKey")?.parse().map_err(Error::Key)?,
        })
    }
}

impl ServiceConnectionString {
    /// Returns the whole connection string, including its key. Must not be logged.
    #[must_use]
    pub fn to_text_with_key(&self) -> String {
        format!(
            "HostName={};SharedAccessKeyName={};SharedAccessKey={}",
            self.host,
            self.policy,
            self.key.to_base64()
        )
    }
}

impl fmt::Display for ServiceConnectionString {
    /// Writes the connection string without its key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostName={};SharedAccessKeyName={};…", self.host, self.policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

    fn device(text: &str) -> Result<DeviceConnectionString, Error> {
        text.replace("KEY", KEY).parse()
    }

    #[test]
    fn every_form_of_a_device_string_survives_a_round_trip() {
        for text in [
            "HostName=hub.azure-devices.net;DeviceId=d1;SharedAccessKey=KEY",
            "HostName=hub.azure-devices.net;DeviceId=d1;ModuleId=m1;SharedAccessKey=KEY",
            "HostName=localhost:8884;DeviceId=d1;SharedAccessKey=KEY",
            "HostName=h;DeviceId=d1;x509=true",
            "HostName=h;DeviceId=d=1;SharedAccessKey=KEY;GatewayHostName=localhost",
            "HostName=h;DeviceId=d1;SharedAccessSignature=SharedAccessSignature sr=h&sig=YQ%3D%3D&se=7",
        ] {
            let text = text.replace("KEY", KEY);
            let parsed: DeviceConnectionString = text.parse().unwrap();
            assert_eq!(parsed.to_text_with_key(), text);
        }
    }

    #[test]
    fn a_service_string_survives_a_round_trip() {
        let text = format!("HostName=h:8443;SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}");
        let parsed: ServiceConnectionString = text.parse().unwrap();
        assert_eq!(parsed.to_text_with_key(), text);
    }

    #[test]
    fn an_error_names_the_wrong_part() {
        let cases = [
            ("", "connection string is empty"),
            (" \n", "connection string is empty"),
            ("\"HostName=h;DeviceId=d\"", "connection string is in quotes; leave them out"),
            ("'HostName=h'", "connection string is in quotes; leave them out"),
            ("HostName", "part 1 of the connection string is not NAME=VALUE"),
            ("HostName=h;DeviceId=d", "connection string has no `SharedAccessKey`"),
            ("DeviceId=d;SharedAccessKey=KEY", "connection string has no `HostName`"),
            ("HostName=h;SharedAccessKey=KEY", "connection string has no `DeviceId`"),
            ("HostName=h;HostName=h", "connection string has `HostName` twice"),
            ("HostName=;DeviceId=d", "connection string has an empty `HostName`"),
            ("HostName=h;DeviceId=d;x509=yes", "connection string's `x509` is not `true`"),
            (
                "HostName=h;DeviceId=d;SharedAccessKey=KEY;x509=true",
                "connection string has both `SharedAccessKey` and `x509`",
            ),
            (
                "HostName=h;SharedAccessKeyName=p;SharedAccessKey=KEY",
                "connection string belongs to a service, not to a device",
            ),
            (
                "HostName=h;DeviceId=d;SharedAccessKeyName=p;SharedAccessKey=KEY",
                "connection string has `SharedAccessKeyName`, which is not a part of a device connection string",
            ),
            ("HostName=h;DeviceId=d;SharedAccessKey=?", "connection string's `SharedAccessKey`"),
        ];
        for (text, message) in cases {
            assert_eq!(device(text).unwrap_err().to_string(), message, "{text}");
        }
        let device = "HostName=h;DeviceId=d;SharedAccessKey=KEY".replace("KEY", KEY);
        assert_eq!(device.parse::<ServiceConnectionString>(), Err(Error::DeviceString));
    }

    #[test]
    fn neither_errors_nor_debug_show_a_key() {
        let device = device("HostName=h;DeviceId=d;SharedAccessKey=KEY").unwrap();
        let service: ServiceConnectionString =
            format!("HostName=h;SharedAccessKeyName=p;SharedAccessKey={KEY}").parse().unwrap();
        let pasted =
            format!("{KEY}{KEY}=;HostName=h").parse::<DeviceConnectionString>().unwrap_err();
        for text in [
            format!("{device:?}"),
            device.to_string(),
            format!("{service:?}"),
            service.to_string(),
            pasted.to_string(),
        ] {
            assert!(!text.contains(KEY), "{text}");
        }
    }

    #[test]
    fn a_key_in_place_of_a_name_is_not_shown() {
        // The shortest key (16 bytes), a longer one, and the rest of a split one.
        for text in
            ["MDEyMzQ1Njc4OWFiY2RlZg==", "c2hvcnRlciB0aGFuIGEga2V5LCBidXQgYSBrZXk=", "+Key=x"]
        {
            let error = device(text).unwrap_err().to_string();
            assert_eq!(
                error,
                "part 1 of the connection string has no name that is valid for a device"
            );
        }
        let error = device("HostName=c2hvcnRlciB0aGFuIGEga2V5LCBidXQgYSBrZXk=").unwrap_err();
        let Error::Host(_, cause) = &error else { panic!("{error:?}") };
        assert_eq!(cause.to_string(), "host name has a '=', which is not allowed");
        let error = device("HostNam=h").unwrap_err().to_string();
        assert!(error.contains("`HostNam`"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn no_input_makes_the_parsers_panic(text in "([A-Za-z0-9]*=[ -~]*;?)*") {
            let _ = text.parse::<DeviceConnectionString>();
            let _ = text.parse::<ServiceConnectionString>();
        }
    }
}
