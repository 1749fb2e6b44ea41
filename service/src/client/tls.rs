//! Whom a client trusts: the system's certificates, and those it is given.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::{ClientConfig, RootCertStore};

use super::ClientSettings;
use crate::ServiceError;

pub(super) fn config(settings: &ClientSettings) -> Result<ClientConfig, ServiceError> {
    let mut roots = RootCertStore::empty();
    // A system without certificates is no trouble to who brings their own.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &settings.ca_file {
        let wrong = |problem| ServiceError::CaFile { path: path.clone(), problem };
        let pem = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        add(&mut roots, &pem).map_err(wrong)?;
    }
    if let Some(pem) = &settings.ca_pem {
        add(&mut roots, pem).map_err(ServiceError::NoClient)?;
    }
    if roots.is_empty() {
        let why = "there is no certificate to trust: the system has none, and no CA file is set";
        return Err(ServiceError::NoClient(why.to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has suites for the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn add(roots: &mut RootCertStore, pem: &str) -> Result<(), String> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, PemError>>()
        .map_err(|_| "is not a PEM file of certificates".to_owned())?;
    if certificates.is_empty() {
        return Err("has no certificate in it".to_owned());
    }
    for certificate in certificates {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(())
}
