//! Registration of devices that sign in with a certificate.

use std::path::PathBuf;

use anyhow::Context as _;
use behaviour_service::{Client, DeviceId};
use clap::Args;
use program::{note, text};
use protocol::registry::{
    Authentication, CERTIFICATE_AUTHORITY, DeviceIdentity, SELF_SIGNED, Thumbprints,
};

use super::self_signed::SelfSigned;
use crate::command_error::CommandError;

/// The way in which a new device signs in, if not with a key.
#[derive(Args)]
#[group(multiple = false)]
pub(crate) struct X509 {
    /// Make a self-signed certificate for the device, in DIR/ID.pem and DIR/ID-key.pem, and
    /// register its thumbprint
    #[arg(long, value_name = "DIR", conflicts_with = "count")]
    x509: Option<PathBuf>,
    /// Register the thumbprint of the first certificate in a PEM file
    #[arg(long, value_name = "FILE", conflicts_with = "count")]
    x509_certificate: Option<PathBuf>,
    /// Accept the certificates for the device's id that an authority of the hub has signed
    #[arg(long, conflicts_with = "count")]
    x509_ca: bool,
}

/// Registers a device.
pub(super) async fn create(
    device: &DeviceId,
    x509: X509,
    client: &Client,
) -> Result<DeviceIdentity, CommandError> {
    let identity = |authentication| DeviceIdentity {
        authentication: Some(authentication),
        ..DeviceIdentity::new(device.clone())
    };
    if let Some(folder) = x509.x509 {
        let made = SelfSigned::create(&folder, device)?;
        return match client.create_identity(&identity(by(made.thumbprint()))).await {
            Ok(created) => {
                let SelfSigned { certificate, key, .. } = made;
                note(format_args!("{}: certificate", certificate.display()));
                note(format_args!("{}: key, which is a secret", key.display()));
                Ok(created)
            }
            Err(error) => {
                made.remove();
                Err(error.into())
            }
        };
    }
    if let Some(file) = x509.x509_certificate {
        let bytes = text::read_bytes(&file)
            .with_context(|| format!("certificate file {}", file.display()))?;
        let thumbprint = trust::first_thumbprint(&bytes)
            .with_context(|| format!("certificate file {}", file.display()))?;
        return Ok(client.create_identity(&identity(by(thumbprint))).await?);
    }
    if x509.x509_ca {
        let kind = CERTIFICATE_AUTHORITY.to_owned();
        let authentication = Authentication { kind, ..Default::default() };
        return Ok(client.create_identity(&identity(authentication)).await?);
    }
    Ok(client.create_device(device).await?)
}

/// Returns the credentials of a device whose certificate has this thumbprint.
fn by(thumbprint: String) -> Authentication {
    let thumbprints =
        Thumbprints { primary_thumbprint: Some(thumbprint), secondary_thumbprint: None };
    let kind = SELF_SIGNED.to_owned();
    Authentication { kind, symmetric_key: None, thumbprints: Some(thumbprints) }
}
