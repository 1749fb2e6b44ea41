//! `[provisioning]`: the registration with the Device Provisioning Service.

use std::path::{Path, PathBuf};

use protocol::host_name::HostName;
use protocol::provisioning::{GLOBAL_HOST, IdScope, RegistrationId};

use super::identity::key;
use super::{ConfigError, IdentitySection, file};

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
) -> Result<ProvisioningSection, ConfigError> {
    let endpoint: HostName = section
        .endpoint
        .as_deref()
        .unwrap_or(GLOBAL_HOST)
        .parse()
        .map_err(ConfigError::ProvisioningEndpoint)?;
    let name = |source| ConfigError::ProvisioningName { source };
    let id_scope = section.id_scope.parse().map_err(name)?;
    let registration_id = section.registration_id.map(|id| id.parse()).transpose().map_err(name)?;
    let file = |path: PathBuf| directory.join(path);
    let key = key("provisioning", section.key_file, section.key_uri, directory)?;
    let certificate = (section.certificate_file, key);
    let attestation = match (section.symmetric_key_file, section.group_key_file, certificate) {
        (None, None, (None, None)) => Attestation::KeyOfEnvironment,
        (Some(path), None, (None, None)) => Attestation::KeyFile(file(path)),
        (None, Some(path), (None, None)) => Attestation::GroupKeyFile(file(path)),
        (None, None, (Some(certificate), Some(key))) => {
            Attestation::Certificate(IdentitySection { certificate_file: file(certificate), key })
        }
        (None, None, (Some(_), None)) => return Err(ConfigError::CertificateWithoutKey),
        (None, None, (None, Some(_))) => return Err(ConfigError::KeyWithoutCertificate),
        _ => return Err(ConfigError::TwoAttestations),
    };
    let port = section.port.or(endpoint.port());
    Ok(ProvisioningSection { endpoint, port, id_scope, registration_id, attestation })
}
