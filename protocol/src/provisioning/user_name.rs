//! The MQTT user name of a device that registers.
//!
//! ```text
//! {idScope}/registrations/{registrationId}/api-version={v}[&ClientVersion={c}]
//! ```
//!
//! Unlike the user name of a hub, it has no `?`.

use std::fmt;
use std::str::FromStr;

use super::id::{IdScope, RegistrationId};
use crate::id::IdError;
use crate::percent;

const SEGMENT: &str = "/registrations/";

/// The user name of a CONNECT packet to the Device Provisioning Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisioningUserName {
    /// The instance of the service.
    pub scope: IdScope,
    /// The device that registers. It is also the MQTT client id.
    pub registration: RegistrationId,
    /// The API version; its format is not checked.
    pub api_version: String,
    /// The client's name and version.
    pub client_version: Option<String>,
}

/// A malformed user name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProvisioningUserNameError {
    /// A user name of another form, such as that of a hub.
    #[error("user name is not `SCOPE/registrations/ID/api-version=VERSION`")]
    Form,
    /// A malformed id scope or registration id.
    #[error("user name with a malformed id")]
    Id(#[from] IdError),
}

impl ProvisioningUserName {
    /// Returns `true` if a user name is one for the Device Provisioning Service, even if the
    /// rest of it is malformed. No device of a hub has such a user name, since a hub's name is
    /// followed by a device, and its modules have other user names.
    #[must_use]
    pub fn is_meant_by(text: &str) -> bool {
        let mut segments = text.split('/');
        let (scope, word) = (segments.next(), segments.next());
        let version = segments.nth(1).is_some_and(|text| text.starts_with("api-version="));
        scope.is_some() && word == Some("registrations") && version
    }
}

impl FromStr for ProvisioningUserName {
    type Err = ProvisioningUserNameError;

    fn from_str(text: &str) -> Result<ProvisioningUserName, ProvisioningUserNameError> {
        use ProvisioningUserNameError::Form;
        let (scope, rest) = text.split_once(SEGMENT).ok_or(Form)?;
        let (registration, query) = rest.split_once('/').ok_or(Form)?;
        let (mut api_version, mut client_version) = (None, None);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let slot = match name {
                "api-version" => &mut api_version,
                "ClientVersion" => &mut client_version,
                _ => continue,
            };
            *slot = Some(percent::decode(value).ok_or(Form)?.into_owned());
        }
        Ok(ProvisioningUserName {
            scope: scope.parse()?,
            registration: registration.parse()?,
            api_version: api_version.ok_or(Form)?,
            client_version,
        })
    }
}

impl fmt::Display for ProvisioningUserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, registration, api_version, client_version } = self;
        let version = percent::encode(api_version);
        write!(f, "{scope}{SEGMENT}{registration}/api-version={version}")?;
        match client_version {
            Some(client) => write!(f, "&ClientVersion={}", percent::encode(client)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_survives_a_round_trip() {
        let text = "0ne00112233/registrations/sn-7/api-version=2019-03-31&ClientVersion=a%2F1";
        let user: ProvisioningUserName = text.parse().unwrap();
        assert_eq!(user.registration.as_str(), "sn-7");
        assert_eq!(user.client_version.as_deref(), Some("a/1"));
        assert_eq!(user.to_string(), text);
        assert!(ProvisioningUserName::is_meant_by(text));
    }

    #[test]
    fn a_user_name_of_a_hub_is_another_one() {
        for text in [
            "localhost/d1/?api-version=2021-04-12",
            "localhost/registrations/?api-version=2021-04-12",
            "localhost/registrations/m1/?api-version=2021-04-12",
            "localhost/registrations/api-version=2021-04-12",
            "",
        ] {
            assert!(!ProvisioningUserName::is_meant_by(text), "{text}");
        }
        assert!(ProvisioningUserName::is_meant_by("0ne/registrations/a b/api-version=1"));
        assert!("0ne/registrations/a b/api-version=1".parse::<ProvisioningUserName>().is_err());
        assert!("0ne/registrations/a".parse::<ProvisioningUserName>().is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_input_makes_the_parser_panic(text in "([a-z0-9]{0,4}/registrations/)?[ -~]{0,60}") {
            let _ = text.parse::<ProvisioningUserName>();
            let _ = ProvisioningUserName::is_meant_by(&text);
        }
    }
}
