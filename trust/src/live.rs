//! A TLS configuration that follows changes of its certificate files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use program::FileStamp;
use rustls::{ClientConfig, RootCertStore};

use crate::{Trust, TrustError};

/// Locations of the system's certificates on Debian, Fedora, SUSE, Alpine and Yocto images.
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` override them.
const SYSTEM_FILES: [&str; 7] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/certs",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/cacert.pem",
];

/// TLS configuration of a client that trusts the system's certificates and those of a file.
/// Call [`LiveTrust::refresh`] before each connection to follow changes of the files.
pub struct LiveTrust {
    ca_file: Option<PathBuf>,
    files: Vec<PathBuf>,
    current: Mutex<Current>,
}

struct Current {
    stamps: Vec<Option<FileStamp>>,
    roots: RootCertStore,
    config: Arc<ClientConfig>,
}

impl LiveTrust {
    /// Reads the certificates. Blocks.
    pub fn new(ca_file: Option<&Path>) -> Result<LiveTrust, TrustError> {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        let mut files: Vec<PathBuf> = SYSTEM_FILES.map(PathBuf::from).into();
        files.extend(["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(variable));
        files.extend(ca_file.map(Path::to_owned));
        // Taken before the contents are read, so that the next refresh notices a concurrent change.
        let stamps = stamps(&files);
        let Trust(roots) = read(ca_file)?;
        let config = Arc::new(Trust(roots.clone()).into_client_config()?);
        let current = Mutex::new(Current { stamps, roots, config });
        Ok(LiveTrust { ca_file: ca_file.map(Path::to_owned), files, current })
    }

    /// Returns the current configuration. The same value is returned until the certificates
    /// change, so TLS sessions can be resumed.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.current.lock().config)
    }

    /// Reads the certificates again if a file has changed. Returns `true` if the trusted
    /// certificates have changed. After an error the previous ones stay in use. Blocks.
    pub fn refresh(&self) -> Result<bool, TrustError> {
        let stamps = stamps(&self.files);
        if self.current.lock().stamps == stamps {
            return Ok(false);
        }
        // Updated even if reading fails, so that the error is not repeated for each connection.
        self.current.lock().stamps = stamps;
        let Trust(roots) = read(self.ca_file.as_deref())?;
        if self.current.lock().roots.roots == roots.roots {
            return Ok(false);
        }
        let config = Arc::new(Trust(roots.clone()).into_client_config()?);
        let mut current = self.current.lock();
        (current.roots, current.config) = (roots, config);
        Ok(true)
    }
}

impl fmt::Debug for LiveTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveTrust").field("ca_file", &self.ca_file).finish_non_exhaustive()
    }
}

fn read(ca_file: Option<&Path>) -> Result<Trust, TrustError> {
    let mut trust = Trust::of_system();
    if let Some(path) = ca_file {
        trust.add_file(path)?;
    }
    Ok(trust)
}

fn stamps(files: &[PathBuf]) -> Vec<Option<FileStamp>> {
    files.iter().map(|file| FileStamp::at(file)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn authority() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn a_changed_file_is_read_again_and_an_unusable_one_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let first = authority();
        fs::write(&file, &first).unwrap();
        let live = LiveTrust::new(Some(&file)).unwrap();
        let before = live.config();
        assert!(!live.refresh().unwrap());

        // The same certificate in a new file: sessions can still be resumed.
        let next = folder.path().join("next.pem");
        fs::write(&next, format!("# renewed\n{first}")).unwrap();
        fs::rename(&next, &file).unwrap();
        assert!(!live.refresh().unwrap());
        assert!(Arc::ptr_eq(&before, &live.config()));

        fs::write(&next, "no certificate").unwrap();
        fs::rename(&next, &file).unwrap();
        let error = live.refresh().unwrap_err().to_string();
        assert_eq!(error, format!("CA file {}: no certificate found", file.display()));
        assert!(!live.refresh().unwrap(), "an error is reported once");
        assert!(Arc::ptr_eq(&before, &live.config()));

        fs::write(&next, authority()).unwrap();
        fs::rename(&next, &file).unwrap();
        assert!(live.refresh().unwrap());
        assert!(!Arc::ptr_eq(&before, &live.config()));
    }
}
