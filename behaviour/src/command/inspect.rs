//! The command `behaviour inspect`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use behaviour::desk::{DeskError, engine};
use oci::artifact::Metadata;
use oci::referrers::bundles;
use oci::{Descriptor, Digest, Image, Reference, Source as _, media_type, resolve};
use plugin::{Engine, Limits};
use program::Progress;
use serde_json::{Value, json};

use super::check::{CheckedFile, compare};
use super::error::CommandError;
use super::image::{MAX_COMPONENT_BYTES, PlaceOptions, block_on, plugin_name};
use super::print_line;

mod producers;

const LONG: &str = "\
Describe an image: its metadata, the imports and exports of its component, the tools that built it, its signatures and lists of \
parts. The signatures are not verified; `behaviour verify` does that.

With two images, compare what each may do, to decide about an update.";

const EXAMPLES: &str = "\
Examples:
  behaviour inspect registry.example/plugins/reboot:1.2.3
  behaviour inspect registry.example/plugins/reboot:1.2.3 registry.example/plugins/reboot:1.3.0
  behaviour inspect registry.example/plugins/reboot:1.2.3 --json | jq .capabilities

Exit codes:
  0  a host would load the component (of two images, the second) with the capabilities that it imports
  1  a host would not load it, or an image cannot be read
  2  the command line is wrong";

/// Show what an image contains, and compare it with another one.
#[derive(clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Inspect {
    /// The image: HOST/REPOSITORY[:TAG][@DIGEST].
    #[arg(value_name = "REF")]
    image: Reference,
    /// Another image, to compare it with.
    #[arg(value_name = "OTHER")]
    other: Option<Reference>,
    #[command(flatten)]
    place: PlaceOptions,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// An image and everything that refers to it.
struct FetchedImage {
    /// The reference with the digest.
    pinned: PathBuf,
    name: String,
    image: Image,
    metadata: Metadata,
    component: Vec<u8>,
    /// The ids of the keys that the signatures name.
    signers: Vec<String>,
    /// Referrers that may be signatures, and cannot be read, each with the reason.
    unreadable: Vec<(Digest, String)>,
    /// The lists of parts.
    parts: Vec<String>,
}

impl Inspect {
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        let (first, second) = block_on(async {
            let first = self.fetch(&self.image).await?;
            let second = match &self.other {
                Some(other) => Some(self.fetch(other).await?),
                None => None,
            };
            Ok((first, second))
        })?;
        let engine = engine(Limits::default().memory_bytes).map_err(DeskError::Engine)?;
        let checked = first.check(&engine)?;
        let last = match &second {
            None if self.json => {
                print_line(&first.to_json(&checked).to_string());
                checked
            }
            None => {
                first.print();
                checked.print();
                checked
            }
            Some(second) => {
                let other = second.check(&engine)?;
                match self.json {
                    true => print_line(&compare::to_json(&checked, &other).to_string()),
                    false => {
                        compare::print(&checked, &other);
                        print_metadata(&first.metadata, &second.metadata);
                    }
                }
                other
            }
        };
        match last.refusal() {
            None => Ok(ExitCode::SUCCESS),
            // The printed JSON contains the reason.
            Some(_) if self.json => Ok(ExitCode::FAILURE),
            Some(refusal) => Err(refusal),
        }
    }

    async fn fetch(&self, reference: &Reference) -> Result<FetchedImage, CommandError> {
        let _progress = Progress::new(&format!("fetching {reference}"));
        let place = self.place.open(reference).await?;
        let image = resolve(&place, reference).await?;
        let metadata = Metadata::read(&image.manifest)?;
        let layer = image.manifest.component()?;
        let component = place.blob(reference, layer, MAX_COMPONENT_BYTES).await?;
        let signatures = bundles(&place, reference, &image.pinned).await?;
        let referrers = place.referrers(reference, &image.pinned).await?;
        Ok(FetchedImage {
            pinned: PathBuf::from(reference.with_digest(image.pinned).to_string()),
            name: plugin_name(reference).to_owned(),
            metadata,
            component,
            signers: signatures.found.iter().filter_map(oci::signature::Bundle::key_id).collect(),
            unreadable: signatures.skipped,
            parts: referrers.iter().filter_map(parts).collect(),
            image,
        })
    }
}

impl FetchedImage {
    fn check(&self, engine: &Engine) -> Result<CheckedFile<'_>, DeskError> {
        let _progress = Progress::new(&format!("compiling {}", self.pinned.display()));
        let file: &Path = &self.pinned;
        let failed = |source| DeskError::Load { file: file.to_owned(), source };
        let compiled = engine.compile(&self.component, &Limits::default()).map_err(failed)?;
        CheckedFile::of(engine, file, &self.name, &self.component, &compiled, None)
    }

    fn print(&self) {
        let row = |what: &str, text: &str| print_line(&format!("  {what:<10} {text}"));
        print_line(&self.pinned.display().to_string());
        for (what, text) in rows(&self.metadata) {
            row(what, &text);
        }
        row("built by", &list(&producers::of(&self.component)));
        row("layers", &list(&self.layers()));
        row("signed by", &list(&self.signers));
        for (digest, reason) in &self.unreadable {
            row("signature", &format!("{digest} cannot be read: {reason}"));
        }
        row("SBOM", &list(&self.parts));
    }

    fn layers(&self) -> Vec<String> {
        let readable = |layer: &Descriptor| {
            format!("{} ({} bytes)", json::escape(&layer.media_type), layer.size)
        };
        self.image.manifest.layers.iter().map(readable).collect()
    }

    fn to_json(&self, checked: &CheckedFile<'_>) -> Value {
        let mut json = checked.to_json();
        let Metadata { methods, config, contract, release, health, version, .. } = &self.metadata;
        let image = json!({
            "reference": self.pinned.display().to_string(),
            "digest": self.image.pinned,
            "methods": methods,
            "config": config.as_ref().map(|config| config.get()),
            "contract": contract,
            "release": release,
            "health": health,
            "version": version,
            "built_by": producers::of(&self.component),
            "signers": self.signers,
            "unreadable_signatures": self.unreadable.iter().map(|(digest, reason)| {
                json!({"digest": digest, "reason": reason})
            }).collect::<Vec<_>>(),
            "sbom": self.parts,
        });
        json["image"] = image;
        json
    }
}

/// Returns the metadata as the names and texts of rows.
fn rows(metadata: &Metadata) -> Vec<(&'static str, String)> {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    vec![
        ("version", or_none(&metadata.version)),
        ("release", metadata.release.to_string()),
        ("methods", list(&metadata.methods)),
        ("wants", list(&metadata.capabilities)),
        ("contract", or_none(&metadata.contract)),
        ("health", or_none(&metadata.health)),
        ("config", or_none(&metadata.config.as_ref().map(|config| config.get().to_owned()))),
    ]
}

/// Prints the rows of the metadata that differ.
fn print_metadata(first: &Metadata, second: &Metadata) {
    for ((what, before), (_, after)) in rows(first).into_iter().zip(rows(second)) {
        if before != after {
            print_line(&format!("  {what:<8} {before} -> {after}"));
        }
    }
}

/// Returns the type of a referrer that is a list of parts.
fn parts(entry: &Descriptor) -> Option<String> {
    let is_list = |text: &String| {
        let text = text.to_ascii_lowercase();
        text.contains("spdx") || text.contains("cyclonedx")
    };
    let predicate = entry.annotations.get("dev.sigstore.bundle.predicateType");
    let kind = predicate.or(entry.artifact_type.as_ref()).filter(|kind| is_list(kind))?;
    let signed = entry.artifact_type.as_deref() == Some(media_type::BUNDLE);
    let suffix = if signed { ", signed" } else { "" };
    Some(format!("{}{suffix}", json::escape(kind)))
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}
