//! The command `behaviour sign`.

use std::process::ExitCode;

use oci::registry::Client;
use oci::signature::{self, PrivateKey};
use oci::{Digest, Reference, Source as _, resolve};
use program::Progress;
use serde_json::json;

use super::error::{CommandError, FailureKind};
use super::image::{RegistryOptions, block_on, created};
use super::{print_line, values};

pub(super) use key_file::KeyOptions;

mod key_file;

const LONG: &str = "\
Sign an image in a registry. The signature is a sigstore bundle that refers to the image, as `cosign` 3 stores it: with a key on \
P-256, `cosign verify --key FILE --insecure-ignore-tlog=true REF` accepts it too.

The reference must have a digest, because a tag can move between the test of an image and its signature.";

const EXAMPLES: &str = "\
Examples:
  behaviour sign --key release.key registry.example/reboot@sha256:fd7f5f132d28b410bb96ef0285cf2c2181e4568d6f81dcc19429d05ce7a3ec33

Exit codes:
  0  the signature is in the registry
  1  the registry cannot be reached, or refuses, or the key cannot be used
  2  the command line is wrong";

/// Sign an image in a registry.
#[derive(clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Sign {
    /// The image: HOST/REPOSITORY@DIGEST.
    #[arg(value_name = "REF")]
    image: Reference,
    #[command(flatten)]
    key: KeyOptions,
    /// An annotation that is signed too; can be repeated.
    #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = values::pair)]
    annotations: Vec<(String, String)>,
    #[command(flatten)]
    registry: RegistryOptions,
    /// Print the outcome as one JSON object, and errors as JSON.
    #[arg(long)]
    json: bool,
}

impl Sign {
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        let Some(key) = self.key.read()? else {
            let error = CommandError::new(FailureKind::Usage, "no key to sign with");
            return Err(error.with_hint("name it with `--key FILE`"));
        };
        let client = self.registry.client(&self.image)?;
        let referrer = block_on(async {
            let _progress = Progress::new(&format!("signing {}", self.image));
            if self.image.digest().is_none() {
                return Err(without_digest(&client, &self.image).await);
            }
            attach(&client, &self.image, &key, &self.annotations).await
        })?;
        let id = key.public_key().id();
        match self.json {
            true => {
                let image = self.image.to_string();
                print_line(
                    &json!({"reference": image, "key": id, "signature": referrer}).to_string(),
                );
            }
            false => print_line(&format!("{}: signed by {id}", self.image)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Signs the image that a reference with a digest selects. Returns the digest of the referrer.
pub(super) async fn attach(
    client: &Client,
    image: &Reference,
    key: &PrivateKey,
    annotations: &[(String, String)],
) -> Result<Digest, CommandError> {
    let resolved = resolve(client, image).await?;
    let annotations = annotations.iter().cloned().collect();
    let bundle = signature::sign(key, &resolved.pinned, &annotations)?;
    Ok(client.attach(image, &resolved, &bundle, Some(&created()?)).await?)
}

/// Returns the error for a reference without a digest, with the digest that it selects now.
async fn without_digest(client: &Client, image: &Reference) -> CommandError {
    let message = format!("`{image}` has no digest");
    let error = CommandError::new(FailureKind::Usage, message);
    match client.document(image).await {
        Ok(found) => error.with_hint(format!("it is now `{}`", image.with_digest(found.digest))),
        Err(_) => error,
    }
}
