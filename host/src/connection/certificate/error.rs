//! Errors of a device's certificate and key, with their hints.

use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use protocol::id::IdError;
use trust::MalformedCertificate;

use crate::pkcs11::TokenError;

/// A reason why the device cannot sign in with the configured certificate. Its message names
/// the file, and never shows its content.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The certificate file cannot be read.
    #[error("certificate file {}", .path.display())]
    ReadCertificate {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The certificate file has no certificate, or is malformed PEM.
    #[error("certificate file {}: no certificate in PEM format", .path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A certificate that cannot be parsed.
    #[error("certificate file {}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: MalformedCertificate,
    },
    /// The certificate of an authority in place of the device's.
    #[error(
        "certificate file {}: the first certificate belongs to an authority, not to a device",
        .path.display()
    )]
    Authority {
        /// The file.
        path: PathBuf,
    },
    /// A certificate for another device.
    #[error(
        "certificate file {}: the common name is `{found}`, not the {kind} `{expected}`",
        .path.display()
    )]
    Name {
        /// The file.
        path: PathBuf,
        /// The common name, escaped; empty if there is none.
        found: String,
        /// `device id` or `registration id`.
        kind: &'static str,
        /// The id of the device, of a device and its module, or of the registration.
        expected: String,
    },
    /// A common name that cannot be a registration id.
    #[error("certificate file {}: the common name", .path.display())]
    NotRegistrationId {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: IdError,
    },
    /// A key that is too short.
    #[error("certificate file {}: RSA key of {bits} bits, at least 2048 are needed", .path.display())]
    Weak {
        /// The file.
        path: PathBuf,
        /// The size of the key.
        bits: usize,
    },
    /// An expired certificate.
    #[error("certificate file {}: the certificate expired at {at}", .path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// The end of the validity.
        at: Timestamp,
    },
    /// A certificate whose validity has not begun.
    #[error("certificate file {}: the certificate is not valid before {at}", .path.display())]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// The start of the validity.
        at: Timestamp,
    },
    /// The key file cannot be read.
    #[error("key file {}", .path.display())]
    ReadKey {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A key file that others can read or change.
    #[error("key file {}: mode {mode:03o} allows others to read or change it", .path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// The permission bits.
        mode: u32,
    },
    /// A key that is encrypted with a passphrase.
    #[error("key file {}: the key is encrypted with a passphrase", .path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// The key file has no key, or a key of another kind.
    #[error(
        "key file {}: no key that can be used, such as P-256, P-384, or RSA of 2048 bits",
        .path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A key in a token that cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The key of another certificate.
    #[error(
        "key file {} does not belong to the certificate in {}",
        .key.display(),
        .certificate.display()
    )]
    OtherKey {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
}

impl CertificateError {
    /// Returns a hint on how to fix the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            CertificateError::ReadCertificate { .. }
            | CertificateError::NoCertificate { .. }
            | CertificateError::Malformed { .. } => {
                "set `certificate_file` to a PEM file with the device's certificate, followed by \
                 intermediate ones"
            }
            CertificateError::Authority { .. } => {
                "put the device's own certificate first, followed by those of intermediate \
                 authorities"
            }
            CertificateError::Name { .. } => {
                "issue a certificate whose common name is exactly this id, or correct the id: \
                 DeviceId in the connection string, or `registration_id` under [provisioning]"
            }
            CertificateError::NotRegistrationId { .. } => {
                "the Device Provisioning Service needs the registration id as the common name"
            }
            CertificateError::Weak { .. } => {
                "issue a certificate for a P-256 key, or for an RSA key of 2048 bits"
            }
            CertificateError::Expired { .. } => {
                "issue a new certificate, and check this machine's clock; the host reads changed \
                 files by itself"
            }
            CertificateError::NotYetValid { .. } => {
                "check this machine's clock, and the start of the certificate's validity"
            }
            CertificateError::ReadKey { .. } => {
                "set `key_file` to the PEM file of the certificate's key, which this user can \
                 read"
            }
            CertificateError::Token(error) => error.hint(),
            CertificateError::Mode { .. } => "run `chmod 600` on it, as the user of the host",
            CertificateError::Encrypted { .. } => {
                "decrypt it with `openssl pkey`, and protect the file by its mode"
            }
            CertificateError::NoKey { .. } => {
                "the formats are PKCS #8, SEC 1 and PKCS #1, in PEM; `openssl pkey` converts keys"
            }
            CertificateError::OtherKey { .. } => {
                "set `key_file` to the key for which the certificate was issued"
            }
        }
    }
}
