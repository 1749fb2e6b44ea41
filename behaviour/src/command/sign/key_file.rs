//! Files with private keys.

use std::path::PathBuf;

use oci::signature::PrivateKey;
use program::text;

use crate::command::error::CommandError;

/// The options of a private key.
#[derive(clap::Args)]
pub(crate) struct KeyOptions {
    /// The file of the private key, in PKCS#8 (PEM), which `behaviour keygen` writes.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl KeyOptions {
    /// Reads the key, if there is one.
    pub(crate) fn read(&self) -> Result<Option<PrivateKey>, CommandError> {
        let Some(file) = &self.key else { return Ok(None) };
        let named = |error: CommandError| error.context(format!("key file {}", file.display()));
        let pem = text::read_bytes(file).map_err(|error| named(error.into()))?;
        PrivateKey::from_pem(&pem).map(Some).map_err(|error| named(error.into()))
    }
}
