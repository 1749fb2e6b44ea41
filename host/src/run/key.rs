//! Keys of certificates, and signing requests for them.

use super::{RunError, check};
use crate::config::{Config, KeySource};
use crate::issued;

/// Returns the key of the configured certificate: the key of the issued certificate in a token,
/// or else the key with which the device signs in or registers.
fn key_of(config: &Config) -> Result<KeySource, RunError> {
    let section = config.provisioning.as_ref().and_then(|it| it.issued_certificate.as_ref());
    match (section, check::certificate(config)) {
        (Some(section), _) if section.key.is_some() => {
            let uri = section.key.clone().expect("the guard has checked it");
            Ok(KeySource::Token(uri))
        }
        (_, Some(files)) => Ok(files.key.clone()),
        (Some(_), None) => Err(RunError::GeneratedKey),
        (None, None) => Err(RunError::NoKey),
    }
}

/// Creates the P-384 key of the configured certificate, in a file or in a token. Blocks.
///
/// # Errors
///
/// Returns an error if there is a key already, or no key is configured.
pub fn create_key(config: &Config) -> Result<KeySource, RunError> {
    let source = key_of(config)?;
    issued::create_key(&source)?;
    Ok(source)
}

/// Returns a signing request for the key of the configured certificate, in PEM format. Blocks.
pub fn signing_request(config: &Config, name: &str) -> Result<String, RunError> {
    Ok(issued::signing_request(&key_of(config)?, name)?)
}
