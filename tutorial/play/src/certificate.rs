//! The certificate of the tutorial's device, which it signs itself.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use protocol::registry::{Authentication, SELF_SIGNED, Thumbprints};
use rcgen::{CertificateParams, DnType, KeyPair};
use service::DeviceId;

/// The file of the certificate.
pub(crate) const CERTIFICATE: &str = "device.pem";

/// The file of its key.
pub(crate) const KEY: &str = "device-key.pem";

/// Writes a new certificate and its key to `folder`. Returns the registration of the device.
pub(crate) fn write(device: &DeviceId, folder: &Path) -> anyhow::Result<Authentication> {
    let key = KeyPair::generate().context("cannot create a key")?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, device.as_str());
    let certificate = params.self_signed(&key).context("cannot create a certificate")?.pem();
    let thumbprint = trust::first_thumbprint(certificate.as_bytes())?;
    fs::write(folder.join(CERTIFICATE), certificate).context("certificate file")?;
    fs::write(folder.join(KEY), key.serialize_pem()).context("key file")?;
    fs::set_permissions(folder.join(KEY), fs::Permissions::from_mode(0o600)).context("key file")?;
    let thumbprints = Thumbprints { primary_thumbprint: Some(thumbprint), ..Default::default() };
    Ok(Authentication {
        kind: SELF_SIGNED.to_owned(),
        symmetric_key: None,
        thumbprints: Some(thumbprints),
    })
}
