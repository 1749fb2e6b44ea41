//! Targets of the parsers of what a registry, a directory or a file of credentials contains.

use oci::artifact::{Metadata, WasmConfig};
use oci::credentials::DockerConfig;
use oci::registry::challenges;
use oci::signature::{Bundle, PublicKey, verify};
use oci::{Digest, Document, Reference};

use super::check_round_trip;

/// References and digests, and the header with which a registry demands credentials.
pub(crate) fn references(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    check_round_trip::<Reference>(&text);
    check_round_trip::<Digest>(&text);
    assert!(challenges(&text).len() <= text.len());
}

/// Manifests, indexes, and the metadata and configuration of an artifact.
pub(crate) fn manifests(bytes: &[u8]) {
    match Document::parse(bytes, None) {
        Ok(Document::Manifest(manifest)) => {
            let again = Document::parse(&manifest.to_json(), None).unwrap();
            assert_eq!(again, Document::Manifest(manifest.clone()));
            let _ = manifest.component();
            let _ = WasmConfig::parse(bytes, &manifest);
            if let Ok(metadata) = Metadata::read(&manifest) {
                let mut again = manifest;
                again.annotations = metadata.annotations();
                assert_eq!(Metadata::read(&again), Ok(metadata));
            }
        }
        Ok(Document::Index(index)) => {
            let again = Document::parse(&index.to_json(), None).unwrap();
            assert_eq!(again, Document::Index(index.clone()));
            let _ = index.component();
        }
        Err(error) => assert!(!error.to_string().contains('\n')),
    }
}

/// Bundles of signatures and public keys. Without the private key, no change of a bundle makes
/// it valid for other content.
pub(crate) fn bundles(bytes: &[u8]) {
    let _ = PublicKey::all_from_pem(bytes);
    let bundle = Bundle::new(bytes.to_owned());
    let _ = bundle.key_id();
    let keys = PublicKey::all_from_pem(KEY.as_bytes()).unwrap();
    let error = verify(&[bundle], &Digest::of(b"other"), &keys).unwrap_err().to_string();
    assert!(!error.contains('\n'));
}

/// The public key of the bundles in the corpus.
const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAElqO8SFdpI/jCpWx7AS/KqWMYPsRy
24nzt08UBAHSI6AVVP0L877SlOa3iBv2WnapjVg/Hn3MVMHf0oLaPrWIkg==
-----END PUBLIC KEY-----
";

/// Files with credentials. An error quotes no value.
pub(crate) fn registry_credentials(bytes: &[u8]) {
    match DockerConfig::parse(bytes) {
        Ok(config) => {
            if let Err(error) = config.find("reg.example:5000") {
                assert!(!error.contains('\n'));
            }
        }
        Err(error) => assert_eq!(error, "is not JSON in the form of Docker's config.json"),
    }
}
