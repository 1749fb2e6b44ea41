//! The command `behaviour fetch`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use oci::layout::Layout;
use oci::referrers::{bundles, referrer};
use oci::{Image, Received, Reference, Source, media_type, resolve};
use program::Progress;
use serde_json::json;

use super::error::CommandError;
use super::image::{MAX_COMPONENT_BYTES, Place, PlaceOptions, block_on, plugin_name, public_keys};
use super::print_line;
use super::verify::verify;

const LONG: &str = "\
Fetch a plugin from an OCI registry: the component as a file, or the image with its signatures as a directory for devices without \
a network. A download that was interrupted continues where it stopped.";

const EXAMPLES: &str = "\
Examples:
  behaviour fetch registry.example/plugins/reboot:1.2.3
  behaviour fetch registry.example/plugins/reboot:1.2.3 --key release.pub --out reboot.wasm
  behaviour fetch registry.example/plugins/reboot:1.2.3 --to /media/usb

Exit codes:
  0  the file or the directory is written
  1  the image cannot be read, or the file cannot be written
  2  the command line is wrong
  4  the image is not signed by any of the keys";

/// Fetch a plugin from an OCI registry.
#[derive(clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Fetch {
    /// The image: HOST/REPOSITORY[:TAG][@DIGEST].
    #[arg(value_name = "REF")]
    image: Reference,
    /// The component's file [default: the last part of the repository with .wasm].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Add the image and its signatures to a directory with an OCI image layout instead.
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    to: Option<PathBuf>,
    /// A file with public keys in PEM, one of which must have signed the image; can be repeated.
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    #[command(flatten)]
    place: PlaceOptions,
    /// Print the outcome as one JSON object, and errors as JSON.
    #[arg(long)]
    json: bool,
}

impl Fetch {
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        let keys = public_keys(&self.keys)?;
        let (image, path) = block_on(async {
            let _progress = Progress::new(&format!("fetching {}", self.image));
            let place = self.place.open(&self.image).await?;
            let image = resolve(&place, &self.image).await?;
            if !keys.is_empty() {
                verify(&place, &self.image, &image, &keys).await?;
            }
            let path = match &self.to {
                Some(dir) => {
                    self.copy(&place, &image, dir).await?;
                    dir.clone()
                }
                None => self.download(&place, &image).await?,
            };
            Ok((image, path))
        })?;
        let path = path.display().to_string();
        match self.json {
            true => {
                let pinned = self.image.with_digest(image.pinned).to_string();
                print_line(&json!({"reference": pinned, "path": path}).to_string());
            }
            false => print_line(&path),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Writes the component to its file.
    async fn download(&self, place: &Place, image: &Image) -> Result<PathBuf, CommandError> {
        let layer = image.manifest.component()?;
        let default = || PathBuf::from(format!("{}.wasm", plugin_name(&self.image)));
        let path = self.out.clone().unwrap_or_else(default);
        let partial = partial_path(&path, &layer.digest.hex()[..12]);
        place.blob_to_file(&self.image, layer, &partial, &|_| ()).await?;
        let renamed = std::fs::rename(&partial, &path);
        renamed.map_err(|error| CommandError::from(error).context(path.display()))?;
        Ok(path)
    }

    /// Copies the image with all its blobs and its signatures into a layout.
    async fn copy(&self, place: &Place, image: &Image, dir: &Path) -> Result<(), CommandError> {
        let layout = Layout::create(dir).await?;
        let name = self.image.with_digest(image.digest);
        for blob in image.manifest.layers.iter().chain([&image.manifest.config]) {
            layout.add_blob(&place.blob(&name, blob, MAX_COMPONENT_BYTES).await?)?;
        }
        let manifest = place.document(&name).await?;
        if image.pinned != image.digest {
            layout.add_blob(&manifest.bytes)?;
        }
        let pinned = place.document(&self.image.with_digest(image.pinned)).await?;
        let pinned = Received { media_type: Some(image.pinned_media_type.clone()), ..pinned };
        layout.add_document(Some(&self.image), &pinned, None).await?;
        let signatures = bundles(place, &self.image, &image.pinned).await?;
        for bundle in &signatures.found {
            layout.add_blob(b"{}")?;
            layout.add_blob(&bundle.json)?;
            let bytes = referrer(image, bundle, None).to_json();
            let media_type = Some(media_type::MANIFEST.to_owned());
            let received = Received { digest: oci::Digest::of(&bytes), media_type, bytes };
            layout.add_document(None, &received, Some(media_type::BUNDLE)).await?;
        }
        Ok(())
    }
}

/// Returns the path of an incomplete download, beside its target.
fn partial_path(path: &Path, digest: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{digest}.part"));
    PathBuf::from(name)
}
