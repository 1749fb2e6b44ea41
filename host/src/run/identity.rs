//! Description of a device's identity, without a secret, and its registration.

use jiff::Timestamp;
use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use protocol::provisioning::RegistrationId;

use super::{RunError, check, way};
use crate::assignment::{Assignment, AssignmentFile};
use crate::config::{Config, IdentitySection};
use crate::connection::{self, CertificateError, DeviceCertificate, OptionsError, RequiredName};
use crate::identity::{Identity, Registration, RegistrationCredential};
use crate::journal::JournalError;

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
        /// The files of the certificate and its key.
        files: IdentitySection,
    },
    /// A certificate that has not been issued yet.
    AwaitedCertificate {
        /// The files of the certificate and its key, once it is issued.
        files: IdentitySection,
    },
}

/// Registration of a device, and its assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provisioned {
    /// Host name of the service.
    pub endpoint: String,
    /// ID scope.
    pub id_scope: String,
    /// Registration id.
    pub registration_id: String,
    /// Assignment on disk; `None` before the first registration.
    pub assigned: Option<AssignedHub>,
}

/// Hub to which a device is assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignedHub {
    /// Host name of the hub.
    pub hub: String,
    /// Id of the device at the hub.
    pub device: String,
    /// Time of the registration.
    pub at: Timestamp,
}

impl From<Assignment> for AssignedHub {
    fn from(Assignment { hub, device, at, .. }: Assignment) -> AssignedHub {
        AssignedHub { hub: hub.to_string(), device: device.to_string(), at }
    }
}

/// Returns the way in which a device signs in with this configuration. Reads the certificate
/// and checks that its key belongs to it, but not that it is valid. Blocks.
pub fn sign_in(config: &Config, identity: &Identity) -> Result<SignIn, RunError> {
    match identity {
        Identity::ConnectionString(_) if config.provisioning.is_some() => {
            Err(OptionsError::TwoIdentities.into())
        }
        Identity::ConnectionString(identity) => with_connection_string(config, identity),
        Identity::Registration(registration) if is_issued(config) => {
            let data = way::data_directory(config, registration)?;
            let file = way::issued_file(registration, config, &data);
            let file = file.ok_or(RunError::NoIssuedCertificate)?;
            if !file.exists() {
                return Ok(SignIn::AwaitedCertificate { files: file.section() });
            }
            let name = RequiredName::Registration(registration.id.clone());
            read_certificate(&file.section(), Some(&name))
        }
        Identity::Registration(Registration { id, credential }) => match credential {
            RegistrationCredential::Key(_) | RegistrationCredential::DerivedKey(_) => {
                Ok(SignIn::Key)
            }
            RegistrationCredential::Certificate => {
                let files = check::certificate(config).ok_or(OptionsError::NoProvisioning)?;
                let name = RequiredName::Registration(id.clone());
                read_certificate(files, Some(&name))
            }
        },
    }
}

/// Returns `true` if the service issues the certificate for the hub.
fn is_issued(config: &Config) -> bool {
    config.provisioning.as_ref().is_some_and(|section| section.issued_certificate.is_some())
}

fn with_connection_string(
    config: &Config,
    identity: &DeviceConnectionString,
) -> Result<SignIn, RunError> {
    if let Some(section) = &config.hub.identity {
        if identity.credential != DeviceCredential::X509 {
            return Err(OptionsError::TwoCredentials.into());
        }
        return read_certificate(section, None);
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

fn read_certificate(
    files: &IdentitySection,
    name: Option<&RequiredName>,
) -> Result<SignIn, RunError> {
    let certificate = DeviceCertificate::read(files, name).map_err(OptionsError::Certificate)?;
    Ok(SignIn::Certificate {
        valid_from: certificate.valid_from(),
        valid_until: certificate.valid_until(),
        common_name: certificate.facts.common_name,
        issuer: certificate.facts.issuer,
        thumbprint: certificate.thumbprint,
        files: files.clone(),
    })
}

/// Returns the registration of a device with a certificate. Its id is the configured one, or
/// else the common name of the certificate, which is read for it. Blocks.
pub fn with_certificate(config: &Config) -> Result<Registration, RunError> {
    let section = config.provisioning.as_ref().ok_or(OptionsError::NoProvisioning)?;
    let id: RegistrationId = match (&section.registration_id, check::certificate(config)) {
        (Some(id), _) => id.clone(),
        (None, Some(files)) => common_name(files).map_err(OptionsError::Certificate)?,
        (None, None) => return Err(OptionsError::NoCertificate.into()),
    };
    Ok(Registration::with_certificate(id))
}

fn common_name(files: &IdentitySection) -> Result<RegistrationId, CertificateError> {
    let certificate = DeviceCertificate::read(files, None)?;
    let path = files.certificate_file.clone();
    let name = certificate.facts.common_name.unwrap_or_default();
    name.parse().map_err(|source| CertificateError::NotRegistrationId { path, source })
}

/// Returns the registration of a device and the assignment on disk. Blocks.
pub fn provisioned(config: &Config, registration: &Registration) -> Result<Provisioned, RunError> {
    let section = config.provisioning.as_ref().ok_or(OptionsError::NoProvisioning)?;
    let data = way::data_directory(config, registration)?;
    let file = AssignmentFile::in_data(&data, &section.id_scope, &registration.id);
    Ok(Provisioned {
        endpoint: section.endpoint.to_string(),
        id_scope: section.id_scope.to_string(),
        registration_id: registration.id.to_string(),
        assigned: file.read().map(AssignedHub::from),
    })
}

/// Registers a device with the Device Provisioning Service and persists the assignment, which a
/// running host uses for its next connection.
///
/// # Errors
///
/// Returns an error if the settings are not usable, or after one attempt that failed.
pub async fn provision(
    config: &Config,
    registration: &Registration,
) -> Result<AssignedHub, RunError> {
    let data = way::data_directory(config, registration)?;
    let tls = connection::tls(&config.hub)?;
    let provisioning = way::provisioning(registration, config, &data, tls)?;
    let assignment = provisioning.register().await?;
    let unwritable = |source| JournalError::Open { path: data, source };
    provisioning.keep(&assignment).await.map_err(unwritable)?;
    Ok(assignment.into())
}

/// Registers a device for a new certificate, as [`provision`] does. A running host uses it within
/// half a minute.
///
/// # Errors
///
/// Returns an error if the service issues no certificate to the device, and those of
/// [`provision`].
pub async fn renew(config: &Config, registration: &Registration) -> Result<AssignedHub, RunError> {
    match is_issued(config) {
        true => provision(config, registration).await,
        false => Err(RunError::NoIssuedCertificate),
    }
}
