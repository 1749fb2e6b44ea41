//! The command `behaviour verify`.

use std::path::PathBuf;
use std::process::ExitCode;

use oci::referrers::bundles;
use oci::signature::{PublicKey, Verified};
use oci::{Image, Reference, Source, resolve};
use program::{Progress, note};
use serde_json::json;

use super::error::CommandError;
use super::image::{PlaceOptions, block_on, public_keys};
use super::print_line;

const LONG: &str = "\
Verify that an image is signed by a trusted key, by the same rules as a device. Signatures of `behaviour sign` and of `cosign` 3 \
with a key on P-256 count.";

const EXAMPLES: &str = "\
Examples:
  behaviour verify registry.example/plugins/reboot:1.2.3 --key release.pub
  behaviour verify registry.example/plugins/reboot:1.2.3 --key release.pub --from /media/usb

Exit codes:
  0  the image is signed by one of the keys
  1  the image or a key cannot be read
  2  the command line is wrong
  4  the image is not signed by any of the keys";

/// Verify the signature of an image.
#[derive(clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Verify {
    /// The image: HOST/REPOSITORY[:TAG][@DIGEST].
    #[arg(value_name = "REF")]
    image: Reference,
    /// A file with trusted public keys in PEM; can be repeated.
    #[arg(long = "key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
    #[command(flatten)]
    place: PlaceOptions,
    /// Print the outcome as one JSON object, and errors as JSON.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        let keys = public_keys(&self.keys)?;
        let (image, verified) = block_on(async {
            let _progress = Progress::new(&format!("verifying {}", self.image));
            let place = self.place.open(&self.image).await?;
            let image = resolve(&place, &self.image).await?;
            let verified = verify(&place, &self.image, &image, &keys).await?;
            Ok((image, verified))
        })?;
        let pinned = self.image.with_digest(image.pinned);
        match self.json {
            true => {
                let outcome = json!({
                    "reference": pinned.to_string(),
                    "key": verified.key,
                    "annotations": verified.annotations,
                });
                print_line(&outcome.to_string());
            }
            false => print_line(&format!("{pinned}: signed by {}", verified.key)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Verifies an image. Names the signatures that were skipped.
pub(super) async fn verify<S: Source>(
    source: &S,
    name: &Reference,
    image: &Image,
    keys: &[PublicKey],
) -> Result<Verified, CommandError> {
    let bundles = bundles(source, name, &image.pinned).await?;
    for (digest, reason) in &bundles.skipped {
        note(format_args!("warning: the signature {digest} is skipped: {reason}"));
    }
    Ok(bundles.verify(&image.pinned, keys)?)
}
