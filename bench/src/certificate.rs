//! The certificate of measured devices, which they sign themselves.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::registry::{Authentication, SELF_SIGNED, Thumbprints};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use trust::Trust;

/// A certificate and its key.
pub(crate) struct Certificate {
    certificate: String,
    key: String,
}

impl Certificate {
    /// Creates a certificate with this common name.
    pub(crate) fn create(name: &str) -> anyhow::Result<Certificate> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key)?.pem();
        Ok(Certificate { certificate, key: key.serialize_pem() })
    }

    /// Returns the registration of a device that signs in with the certificate.
    pub(crate) fn registration(&self) -> anyhow::Result<Authentication> {
        let thumbprint = trust::first_thumbprint(self.certificate.as_bytes())?;
        let thumbprints =
            Thumbprints { primary_thumbprint: Some(thumbprint), ..Thumbprints::default() };
        let (kind, thumbprints) = (SELF_SIGNED.to_owned(), Some(thumbprints));
        Ok(Authentication { kind, symmetric_key: None, thumbprints })
    }

    /// Writes the files to `folder`. Returns the paths of the certificate and of the key.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<[PathBuf; 2]> {
        let [certificate, key] = ["device.pem", "device-key.pem"].map(|name| folder.join(name));
        fs::write(&certificate, &self.certificate)?;
        fs::write(&key, &self.key)?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        Ok([certificate, key])
    }

    /// Returns the TLS configuration of a client that presents the certificate.
    pub(crate) fn client_config(&self, ca_file: &Path) -> anyhow::Result<Arc<ClientConfig>> {
        let mut trust = Trust::empty();
        trust.add_file(ca_file)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(trust.into_roots());
        let chain = vec![CertificateDer::from_pem_slice(self.certificate.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        Ok(Arc::new(config.with_client_auth_cert(chain, key)?))
    }
}
