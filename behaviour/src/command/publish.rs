//! The command `behaviour publish`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use behaviour::desk::{DeskError, compile, engine};
use oci::artifact::{Artifact, ComponentInterfaces, Metadata};
use oci::{Digest, Reference};
use plugin::{Json, Limits};
use program::{Progress, note};
use serde_json::json;

use super::check::CheckedFile;
use super::component::component;
use super::error::{CommandError, FailureKind};
use super::image::{MAX_COMPONENT_BYTES, RegistryOptions, block_on, created, plugin_name};
use super::sign::KeyOptions;
use super::{print_line, values};

const LONG: &str = "\
Build a plugin, check that a host would load it, and push it to an OCI registry. Prints the reference with the digest.

The image has the form of `wkg` and wasmCloud. The tag is its version for people. The capabilities and the version of the contract \
are those that the component imports. Devices refuse a release number lower than the highest one that they have accepted.";

const EXAMPLES: &str = "\
Examples:
  behaviour publish registry.example/plugins/reboot:1.2.3 --method reboot --release 7
  behaviour publish registry.example/plugins/reboot:1.2.3 reboot.wasm --key release.key
  behaviour publish localhost:5000/reboot:1 . --plain-http --json | jq -r .digest

Exit codes:
  0  the image is in the registry
  1  the registry cannot be reached, or refuses
  2  the command line is wrong
  3  the plugin does not build, or a host would not load it";

/// Push a plugin to an OCI registry.
#[derive(clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Publish {
    /// The image: HOST/REPOSITORY:TAG.
    #[arg(value_name = "REF")]
    image: Reference,
    /// A component file, or the folder of a plugin to build first.
    #[arg(default_value = ".")]
    file: PathBuf,
    /// A method that the plugin implements; can be repeated.
    #[arg(long = "method", value_name = "NAME")]
    methods: Vec<String>,
    /// The release number, which only rises.
    #[arg(long, value_name = "N", default_value_t = 0)]
    release: u64,
    /// The default configuration, a JSON object: the text, @FILE, or - for standard input.
    #[arg(long, value_name = "JSON", value_parser = config)]
    config: Option<Json>,
    /// The method that tells whether the plugin is healthy, for the devices' health check.
    #[arg(long, value_name = "METHOD")]
    health: Option<String>,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    registry: RegistryOptions,
    /// Print the outcome as one JSON object, and errors as JSON.
    #[arg(long)]
    json: bool,
}

fn config(text: &str) -> Result<Json, String> {
    let text = values::json(text)?;
    values::object(&text)?;
    Json::new(text).map_err(|error| error.to_string())
}

impl Publish {
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        let Some(tag) = self.image.tag().filter(|_| self.image.digest().is_none()) else {
            let message = format!("`{}` must have a tag and no digest", self.image);
            let error = CommandError::new(FailureKind::Usage, message);
            return Err(error.with_hint(format!("write `{}:1.0.0`", self.image.name())));
        };
        // Read before the build, so that a wrong passphrase is reported immediately.
        let key = self.key.read()?;
        let file = component(&self.file)?;
        let artifact = self.artifact(&file, tag)?;
        let client = self.registry.client(&self.image)?;
        let digest = block_on(async {
            let progress = Progress::new(&format!("pushing {}", self.image));
            let digest = client.push(&self.image, &artifact).await?;
            if let Some(key) = &key {
                super::sign::attach(&client, &self.image.with_digest(digest), key, &[]).await?;
            }
            drop(progress);
            Ok(digest)
        })?;
        self.print(&artifact, digest, key.is_some());
        Ok(ExitCode::SUCCESS)
    }

    /// Checks a component and returns it as an artifact.
    fn artifact(&self, file: &Path, tag: &str) -> Result<Artifact, CommandError> {
        let engine = engine(Limits::default().memory_bytes).map_err(DeskError::Engine)?;
        let progress = Progress::new(&format!("compiling {}", file.display()));
        let (bytes, compiled) = compile(&engine, file)?;
        let name = plugin_name(&self.image);
        let checked = CheckedFile::of(&engine, file, name, &bytes, &compiled, None)?;
        drop(progress);
        let inspection = checked.inspection();
        let interfaces = ComponentInterfaces {
            exports: inspection.exports.clone(),
            imports: inspection.imports.iter().map(|import| import.name.clone()).collect(),
            target: None,
        };
        let metadata = Metadata {
            methods: self.methods.clone(),
            config: self.config.clone(),
            capabilities: checked.capabilities().into_iter().map(str::to_owned).collect(),
            contract: inspection.wit_versions.iter().next_back().cloned(),
            release: self.release,
            health: self.health.clone(),
            version: Some(tag.to_owned()),
        };
        if let Some(refusal) = checked.refusal() {
            return Err(refusal.with_kind(FailureKind::NotLoaded));
        }
        if bytes.len() > MAX_COMPONENT_BYTES {
            let message = format!("`{}` has {} bytes", file.display(), bytes.len());
            return Err(CommandError::new(FailureKind::NotLoaded, message));
        }
        let created = created()?;
        let title = format!("{name}.wasm");
        let artifact = Artifact::new(bytes, &title, interfaces, &metadata, Some(&created));
        // The same limits as on a device, so that no device refuses what was pushed.
        Metadata::read(&artifact.manifest)?;
        Ok(artifact)
    }

    fn print(&self, artifact: &Artifact, digest: Digest, is_signed: bool) {
        let pinned = self.image.with_digest(digest);
        if self.json {
            let outcome = json!({
                "reference": pinned.to_string(),
                "digest": digest,
                "bytes": artifact.component.len(),
                "release": self.release,
                "signed": is_signed,
            });
            print_line(&outcome.to_string());
            return;
        }
        if self.release == 0 {
            note(format_args!(
                "note: without --release, devices cannot tell an older image from a newer one"
            ));
        }
        print_line(&pinned.to_string());
    }
}
