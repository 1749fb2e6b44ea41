//! Images of the measured plugin in the registry of a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::peers::Stage;
use crate::programs::run;
use crate::registry::Registry;
use crate::versions::version;

/// The plugin, also the last part of its repository.
pub(super) const PLUGIN: &str = "probe";

/// A publisher of images, which signs them.
pub(super) struct Publisher<'a> {
    stage: &'a Stage,
    registry: &'a Registry,
    folder: PathBuf,
    key: PathBuf,
    component: Vec<u8>,
}

/// An image in the registry.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// The reference with its digest.
    pub(super) reference: String,
    pub(super) digest: String,
}

/// The options of a publication.
#[derive(Default)]
pub(super) struct Publication<'a> {
    /// The file of the component; by default the probe with the release as its version.
    pub(super) component: Option<&'a Path>,
    pub(super) health: Option<&'a str>,
    /// `true` for a signature by a key that no device trusts.
    pub(super) stranger: bool,
}

impl<'a> Publisher<'a> {
    pub(super) fn create(
        stage: &'a Stage,
        registry: &'a Registry,
    ) -> anyhow::Result<Publisher<'a>> {
        let folder = stage.folder.path().join("publisher");
        fs::create_dir_all(&folder)?;
        for name in ["release", "stranger"] {
            let mut keygen = Command::new(&stage.programs.behaviour);
            keygen.arg("keygen").arg(folder.join(name));
            run(keygen)?;
        }
        let (key, component) = (folder.join("release.pub"), fs::read(&stage.programs.probe)?);
        Ok(Publisher { stage, registry, folder, key, component })
    }

    /// Returns the file of the public key.
    pub(super) fn public_key(&self) -> &Path {
        &self.key
    }

    /// Returns the probe with this version.
    pub(super) fn component(&self, number: usize) -> anyhow::Result<Vec<u8>> {
        version(&self.component, number)
    }

    /// Builds, pushes and signs an image with `behaviour publish`.
    pub(super) fn publish(
        &self,
        release: usize,
        publication: &Publication<'_>,
    ) -> anyhow::Result<Image> {
        let reference = format!("{}/plugins/{PLUGIN}:{release}", self.registry.host);
        let own = self.folder.join(format!("{release}.wasm"));
        let file = match publication.component {
            Some(file) => file,
            None => {
                fs::write(&own, self.component(release)?)?;
                &own
            }
        };
        let key = if publication.stranger { "stranger.key" } else { "release.key" };
        let mut command = Command::new(&self.stage.programs.behaviour);
        command.args(["publish", "--plain-http", "--json", "--method", "version", "--release"]);
        command.arg(release.to_string()).arg("--key").arg(self.folder.join(key));
        command.args(publication.health.iter().flat_map(|method| ["--health", method]));
        let output = command.arg(&reference).arg(file).output().context("behaviour publish")?;
        if !output.status.success() {
            bail!("behaviour publish: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let printed: Value = serde_json::from_slice(&output.stdout)?;
        let digest = printed["digest"].as_str().context("`publish` prints a digest")?.to_owned();
        Ok(Image { reference: format!("{reference}@{digest}"), digest })
    }
}

/// Returns the tables of `host.toml` for a device whose plugins the cloud chooses. `spread` is
/// the time over which devices spread their downloads; `None` for the default.
pub(super) fn tables(registry: &Registry, key: &Path, spread: Option<&str>) -> String {
    // A version that hangs is stopped after the deadline.
    supplies(registry, key, spread)
        + &format!("[fleet]\nimages = [\"{}/plugins/*\"]\ndeadline = \"2s\"\n", registry.host)
}

/// Returns the tables that do nothing without `[fleet]`.
pub(super) fn supplies(registry: &Registry, key: &Path, spread: Option<&str>) -> String {
    let spread = spread.map(|spread| format!("spread = \"{spread}\"\n")).unwrap_or_default();
    format!(
        "[host.registry]\nplain_http = [\"{}\"]\n{spread}[host.trust]\nkeys = [{key:?}]\n",
        registry.host
    )
}

/// Returns the text of `host.toml` for a device without plugins of its own.
pub(super) fn host_toml(stage: &Stage, folder: &Path, tables: &str) -> String {
    format!(
        "[hub]\nport = {}\nca_file = {:?}\n[host]\ndata = {:?}\ncompile_cache = {:?}\n{tables}",
        stage.hub.mqtt_port,
        stage.hub.ca_file(),
        folder.join("data"),
        folder.join("compiled"),
    )
}
