//! The MQTT user name, which contains a device's id and API version.
//!
//! ```text
//! {hub}/{client id}/?api-version={v}&DeviceClientType={client}[&model-id={dtmi}]
//! {hub}/{client id}/api-version={v}          (the older form, without `?`)
//! {hub}/{client id}[/]                       (no version)
//! ```
//!
//! IoT Hub accepts a user name without a version (MicrosoftDocs/azure-docs#16306).
//! Unlike the official SDKs, some clients omit it.
//!
//! The client id is `{device}` or `{device}/{module}`.

use std::fmt;
use std::str::FromStr;

use crate::host_name::{HostName, HostNameError};
use crate::id::{DeviceId, IdError, ModuleId, client_id};
use crate::percent;

/// The API version of this product's host.
pub const API_VERSION: &str = "2021-04-12";

/// The user name of a CONNECT packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName {
    /// The hub's host name, as configured on the device.
    pub host: HostName,
    /// The device that connects.
    pub device: DeviceId,
    /// The module of the device, if a module connects.
    pub module: Option<ModuleId>,
    /// The API version; empty if there is none. Its format is not checked, since hubs
    /// treat all versions alike.
    pub api_version: String,
    /// The client's name and version.
    pub client_type: Option<String>,
    /// The Plug and Play model that the device announces.
    pub model_id: Option<String>,
}

/// A malformed user name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserNameError {
    /// A user name that does not begin with a host and a client id.
    #[error("user name is not `HUB/DEVICE/?api-version=VERSION`")]
    Form,
    /// A malformed host name.
    #[error("user name's host")]
    Host(#[from] HostNameError),
    /// A malformed device or module id.
    #[error("user name's client id")]
    Id(#[from] IdError),
}

impl UserName {
    /// Returns the MQTT client id that must accompany the user name.
    #[must_use]
    pub fn client_id(&self) -> String {
        client_id(&self.device, self.module.as_ref())
    }
}

impl FromStr for UserName {
    type Err = UserNameError;

    fn from_str(text: &str) -> Result<UserName, UserNameError> {
        // Ids may contain `?`, so the query begins at the first `/?`.
        let is_query = |segment: &str| {
            segment.is_empty()
                || segment.starts_with("api-version=")
                || segment.starts_with("DeviceClientType=")
        };
        let (path, query) = text
            .split_once("/?")
            .or_else(|| text.rsplit_once('/').filter(|(_, segment)| is_query(segment)))
            .unwrap_or((text, ""));
        let mut segments = path.split('/');
        let host = segments.next().unwrap_or_default().parse()?;
        let device = segments.next().ok_or(UserNameError::Form)?.parse()?;
        let module = segments.next().map(str::parse).transpose()?;
        if segments.next().is_some() {
            return Err(UserNameError::Form);
        }
        let (mut api_version, mut client_type, mut model_id) = (None, None, None);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let slot = match name {
                "api-version" => &mut api_version,
                "DeviceClientType" => &mut client_type,
                "model-id" => &mut model_id,
                _ => continue,
            };
            *slot = Some(percent::decode(value).ok_or(UserNameError::Form)?.into_owned());
        }
        let api_version = api_version.unwrap_or_default();
        Ok(UserName { host, device, module, api_version, client_type, model_id })
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = Some(&self.api_version).filter(|version| !version.is_empty());
        let query = [
            ("api-version", version),
            ("DeviceClientType", self.client_type.as_ref()),
            ("model-id", self.model_id.as_ref()),
        ];
        write!(f, "{}/{}/?", self.host, self.client_id())?;
        let mut separator = "";
        for (name, value) in query {
            if let Some(value) = value {
                write!(f, "{separator}{name}={}", percent::encode(value))?;
                separator = "&";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> UserName {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn the_user_names_of_the_official_clients_are_parsed() {
        let python = check(
            "localhost/d1/?api-version=2019-10-01&DeviceClientType=azure-iot-device-iothub-py%2F2.14.0%283.11.7%3BLinux%29",
        );
        assert_eq!(python.client_id(), "d1");
        assert_eq!(
            python.client_type.as_deref(),
            Some("azure-iot-device-iothub-py/2.14.0(3.11.7;Linux)")
        );
        let node = check(
            "localhost:18883/n1/?api-version=2021-04-12&model-id=dtmi:com:example:Thermostat;1&DeviceClientType=azure-iot-device%2F1.18.4",
        );
        assert_eq!(node.model_id.as_deref(), Some("dtmi:com:example:Thermostat;1"));
        assert_eq!(check("h/d/m/?api-version=1").client_id(), "d/m");
        assert_eq!(check("h/d/api-version=2016-11-14").api_version, "2016-11-14");
    }

    #[test]
    fn a_user_name_without_a_version_is_accepted() {
        for text in ["h/d", "h/d/", "h/d/?", "h/d/?x=1", "h/d/DeviceClientType=node"] {
            let user = check(text);
            assert_eq!((user.client_id().as_str(), user.api_version.as_str()), ("d", ""), "{text}");
            assert_eq!(check(&user.to_string()), user, "{text}");
        }
        assert_eq!(check("h/d/DeviceClientType=node").client_type.as_deref(), Some("node"));
        assert_eq!(check("h/d/m").client_id(), "d/m");
    }

    #[test]
    fn a_user_name_survives_a_round_trip() {
        let user = UserName {
            host: "localhost:8883".parse().unwrap(),
            device: "d%1".parse().unwrap(),
            module: None,
            api_version: "2021&04=12".to_owned(),
            client_type: Some("behaviour-host/0.1.0 (a & b)".to_owned()),
            model_id: Some("dtmi:x;1".to_owned()),
        };
        assert_eq!(check(&user.to_string()), user);
    }

    #[test]
    fn a_malformed_user_name_is_refused() {
        for bad in ["", "h", "h/", "/d", "/d/?api-version=1", "h/d/m/x", "h/d/m/x/?api-version=1"] {
            assert!(bad.parse::<UserName>().is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_input_makes_the_parser_panic(text in "[ -~]{0,60}") {
            let _ = text.parse::<UserName>();
        }
    }
}
