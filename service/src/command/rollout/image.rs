//! The image of a rollout: its reference, and the options of its registry.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use oci::Reference;
use oci::credentials::Store;
use oci::registry::{Client, ClientSettings};
use oci::signature::PublicKey;
use program::{chain, text};

use crate::command_error::{CommandError, usage};

/// Time limit of each request, which is short because a person waits.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Parses a reference to an image with its digest. A tag alone is refused, because it can move
/// during a rollout.
pub(super) fn image(text: &str) -> Result<Reference, String> {
    let expected = "expected REGISTRY/REPOSITORY@sha256: and 64 hexadecimal digits";
    let image: Reference =
        text.parse().map_err(|error| format!("{}; {expected}", chain(&error)))?;
    match image.digest() {
        Some(_) => Ok(image),
        None => Err(format!("{expected}; a tag can move during the rollout")),
    }
}

// Without a doc comment, which would become the description of the command.
// The options of the image and its registry.
#[derive(Args)]
#[command(next_help_heading = "Image")]
pub(super) struct ImageOptions {
    /// A file with public keys in PEM, one of which must have signed the image; can be repeated
    #[arg(long = "signed-by", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Connect to the registry without TLS
    #[arg(long)]
    plain_http: bool,
    /// A PEM file with the authority of the registry's certificate, in addition to the system's
    #[arg(long, value_name = "FILE")]
    registry_ca_file: Option<PathBuf>,
    /// A file with credentials for the registry in the form of Docker's config.json [default:
    /// that of Docker, then that of Podman]
    #[arg(long, value_name = "FILE")]
    registry_credentials: Option<PathBuf>,
}

impl ImageOptions {
    /// Creates the client of the registry.
    pub(super) fn client(&self, image: &Reference) -> Result<Client, CommandError> {
        let credentials = match &self.registry_credentials {
            Some(file) => Store::of_file(file),
            None => Store::of_user(|name| std::env::var_os(name).map(PathBuf::from)),
        };
        let plain_http = self.plain_http.then(|| image.registry().to_owned()).into_iter().collect();
        let settings = ClientSettings {
            plain_http,
            ca_file: self.registry_ca_file.clone(),
            credentials: Some(credentials),
            timeout: TIMEOUT,
            retries: 1,
            ..ClientSettings::default()
        };
        Client::new(settings).map_err(|error| usage(format!("registry: {}", chain(&error))))
    }

    /// Reads the keys.
    pub(super) fn keys(&self) -> Result<Vec<PublicKey>, CommandError> {
        let mut keys = Vec::new();
        for file in &self.keys {
            let named = |problem: &dyn std::fmt::Display| {
                usage(format!("--signed-by {}: {problem}", file.display()))
            };
            let pem = text::read_bytes(file).map_err(|error| named(&error))?;
            let read = PublicKey::all_from_pem(&pem);
            keys.extend(read.map_err(|error| named(&chain(&error)))?);
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_needs_a_registry_a_repository_and_a_digest() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for good in [format!("localhost:5000/a/b@{digest}"), format!("r.example/a:1.2@{digest}")] {
            assert_eq!(image(&good).unwrap().to_string(), good);
        }
        assert!(image("r.example/a:latest").unwrap_err().ends_with("can move during the rollout"));
        for bad in ["r.example/a@sha256:00", "a@sha256:", "r.example/a@md5:00", "/a@sha256:", ""] {
            assert!(image(bad).is_err(), "{bad}");
        }
    }
}
