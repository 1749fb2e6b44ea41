//! Description of the way in which a device signs in, without a secret.

use jiff::Timestamp;
use protocol::connection_string::{DeviceConnectionString, DeviceCredential};

use super::RunError;
use crate::config::Config;
use crate::connection::{self, DeviceCertificate, OptionsError};

/// The way in which a device signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignIn {
    /// A key, which signs tokens.
    Key,
    /// A token, which cannot be renewed.
    Token {
        /// The expiry of the token.
        valid_until: Timestamp,
    },
    /// A certificate.
    Certificate {
        /// The common name of the certificate.
        common_name: Option<String>,
        /// The common name of the issuer.
        issuer: Option<String>,
        /// The SHA-256 thumbprint.
        thumbprint: String,
        /// The start of the validity.
        valid_from: Timestamp,
        /// The end of the validity.
        valid_until: Timestamp,
    },
}

/// Returns the way in which a device signs in with this configuration. Reads the certificate
/// and checks that its key belongs to it, but not that it is valid. Blocks.
pub fn sign_in(config: &Config, identity: &DeviceConnectionString) -> Result<SignIn, RunError> {
    if let Some(section) = &config.hub.identity {
        if identity.credential != DeviceCredential::X509 {
            return Err(OptionsError::TwoCredentials.into());
        }
        let certificate =
            DeviceCertificate::read(section, None).map_err(OptionsError::Certificate)?;
        return Ok(SignIn::Certificate {
            valid_from: certificate.valid_from(),
            valid_until: certificate.valid_until(),
            common_name: certificate.facts.common_name,
            issuer: certificate.facts.issuer,
            thumbprint: certificate.thumbprint,
        });
    }
    match &identity.credential {
        DeviceCredential::Key(_) => Ok(SignIn::Key),
        DeviceCredential::Token(token) => {
            let expiry = i64::try_from(token.expiry()).unwrap_or(i64::MAX);
            let valid_until = Timestamp::from_second(expiry).unwrap_or(Timestamp::MAX);
            Ok(SignIn::Token { valid_until })
        }
        DeviceCredential::X509 => {
            connection::check_identity(identity, &config.hub)?;
            Err(OptionsError::NoCertificate.into())
        }
    }
}
