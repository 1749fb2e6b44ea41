//! `[provisioning]`: the registration with the Device Provisioning Service.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use protocol::host_name::HostName;
use protocol::provisioning::{GLOBAL_HOST, IdScope, RegistrationId};

use super::identity::key;
use super::{ConfigError, Errors, IdentitySection, KeySource, Pkcs11Uri, file};

/// Settings in `[provisioning]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisioningSection {
    /// Host name of the service.
    pub endpoint: HostName,
    /// Port of MQTT over TLS; `None` for 8883.
    pub port: Option<u16>,
    /// ID scope, which selects the instance of the service.
    pub id_scope: IdScope,
    /// Registration id. Without one, it is the common name of the certificate.
    pub registration_id: Option<RegistrationId>,
    /// Proof of the identity.
    pub attestation: Attestation,
    /// Certificate that the service issues, for the hub; `None` to sign in with the proof.
    pub issued_certificate: Option<IssuedSection>,
}

/// Settings in `[provisioning.issued_certificate]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedSection {
    /// Key in a token; `None` for a key that the host generates, in the data directory.
    pub key: Option<Box<Pkcs11Uri>>,
    /// `true` for a new key with each certificate.
    pub rotate_key: bool,
}

/// Proof of a device's identity at the Device Provisioning Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attestation {
    /// A key in an environment variable, which is of the device or of a group.
    KeyOfEnvironment,
    /// The file of an individual enrollment's key.
    KeyFile(PathBuf),
    /// The file of an enrollment group's key.
    GroupKeyFile(PathBuf),
    /// A certificate, of an individual enrollment or signed by the authority of a group.
    Certificate(IdentitySection),
}

pub(super) fn provisioning(
    section: file::ProvisioningKeys,
    directory: &Path,
    errors: &mut Errors,
) -> Option<ProvisioningSection> {
    let endpoint = section.endpoint.as_deref().unwrap_or(GLOBAL_HOST).parse::<HostName>();
    let endpoint = errors.ok(endpoint.map_err(ConfigError::ProvisioningEndpoint));
    let name = |source| ConfigError::ProvisioningName { source };
    let id_scope = errors.ok(section.id_scope.parse().map_err(name));
    let registration_id = section.registration_id.as_deref().map(str::parse).transpose();
    let registration_id = errors.ok(registration_id.map_err(name));
    let port = section.port.map(NonZeroU16::get);
    let issued_certificate = section.issued_certificate.as_ref();
    let issued_certificate =
        errors.ok(issued_certificate.map(|section| issued(section, directory)).transpose());
    let attestation = errors.ok(attestation(section, directory));
    let endpoint = endpoint?;
    Some(ProvisioningSection {
        port: port.or(endpoint.port()),
        endpoint,
        id_scope: id_scope?,
        registration_id: registration_id?,
        attestation: attestation?,
        issued_certificate: issued_certificate?,
    })
}

/// Returns the proof of the identity that the keys of the section name.
fn attestation(
    section: file::ProvisioningKeys,
    directory: &Path,
) -> Result<Attestation, ConfigError> {
    let file = |path: PathBuf| directory.join(path);
    let key = key("provisioning", section.key_file, section.key_uri, directory)?;
    let certificate = (section.certificate_file, key);
    Ok(match (section.symmetric_key_file, section.group_key_file, certificate) {
        (None, None, (None, None)) => Attestation::KeyOfEnvironment,
        (Some(path), None, (None, None)) => Attestation::KeyFile(file(path)),
        (None, Some(path), (None, None)) => Attestation::GroupKeyFile(file(path)),
        (None, None, (Some(certificate), Some(key))) => {
            Attestation::Certificate(IdentitySection { certificate_file: file(certificate), key })
        }
        (None, None, (Some(_), None)) => return Err(ConfigError::CertificateWithoutKey),
        (None, None, (None, Some(_))) => return Err(ConfigError::KeyWithoutCertificate),
        _ => return Err(ConfigError::TwoAttestations),
    })
}

fn issued(section: &file::IssuedKeys, directory: &Path) -> Result<IssuedSection, ConfigError> {
    let key =
        match key("provisioning.issued_certificate", None, section.key_uri.clone(), directory)? {
            Some(KeySource::Token(uri)) => Some(uri),
            Some(KeySource::File(_)) | None => None,
        };
    if key.is_some() && section.rotate_key == Some(true) {
        return Err(ConfigError::RotateTokenKey);
    }
    let rotate_key = section.rotate_key.unwrap_or(key.is_none());
    Ok(IssuedSection { key, rotate_key })
}
