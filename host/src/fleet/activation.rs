//! Activation of a version: fetches, verifies, compiles and starts it, and asks for its health.
//!
//! The signature is verified before the component is fetched, and nothing is compiled whose
//! digest, signature, release number and capabilities are not accepted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use oci::artifact::Metadata;
use oci::signature::Refusal;
use oci::{Descriptor, Digest};
use parking_lot::Mutex;
use plugin::Capability;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::failure::Failure;
use super::health;
use super::installer::Installer;
use super::planner::ActivationProgress;
use super::record::Installed;
use super::report::{CapabilityChange, FleetState};
use super::reported::Reported;
use super::supplies::Supplies;
use super::wish::Wish;
use crate::backoff::random_part;
use crate::config::PluginSection;
use crate::config::desired::Proposals;
use crate::content::ContentError;
use crate::plugins::slot::Changes;
use crate::router::Router;

/// Time limit for the hub to receive a change of capabilities.
const REPORT_WAIT: Duration = Duration::from_secs(60);

/// Size from which the progress of a download is reported, in bytes.
const LARGE: u64 = 1024 * 1024;

/// Parts of one device.
pub(crate) struct Site {
    pub(crate) supplies: Arc<Supplies>,
    pub(crate) installer: Arc<dyn Installer>,
    pub(crate) router: Arc<Router>,
    pub(crate) changes: Changes,
    pub(crate) reported: Reported,
    /// Content that must stay in the store.
    pub(crate) needed: Mutex<BTreeSet<Digest>>,
}

/// Activation of a version.
pub(crate) struct Activation<'a> {
    pub(crate) site: &'a Site,
    pub(crate) plugin: &'a str,
    pub(crate) wish: &'a Wish,
    /// Lowest accepted release number.
    pub(crate) floor: u64,
    pub(crate) running: Option<&'a Installed>,
    pub(crate) progress: &'a (dyn Fn(ActivationProgress) + Send + Sync),
}

impl Activation<'_> {
    /// Activates the version. Returns `None` if it is the one in force already.
    pub(crate) async fn run(self) -> Result<Option<Installed>, Failure> {
        let supplies = &self.site.supplies;
        self.spread().await;
        let fetching = timeout(supplies.registry.fetch_time, self.fetch()).await;
        let fetched = fetching.map_err(|_| {
            let limit = supplies.registry.fetch_time;
            Failure::retry("registry-slow", format!("not fetched within {limit:?}"))
        })??;
        let Some((version, section)) = fetched else { return Ok(None) };
        self.announce(&section).await?;
        (self.progress)(ActivationProgress::State(FleetState::Compiling));
        let compiled = self.site.installer.compile(self.plugin, &section).await;
        compiled.map_err(|error| Failure::refused("not-loadable", error))?;
        (self.progress)(ActivationProgress::State(FleetState::Starting));
        let started = self.site.installer.install(self.plugin, Some(section)).await;
        started.map_err(|error| Failure::refused("did-not-start", error))?;
        if let Some(method) = &version.proposals.health {
            let limit = supplies.health_time();
            health::call(&self.site.router, self.plugin, method, limit).await?;
        }
        Ok(Some(version))
    }

    /// Waits for a random time if the devices of the fleet would otherwise fetch together.
    async fn spread(&self) {
        let registry = &self.site.supplies.registry;
        if self.wish.is_cloud() && registry.offline_directory.is_none() {
            sleep(registry.spread.mul_f64(random_part())).await;
        }
    }

    /// Fetches and verifies everything about the version.
    async fn fetch(&self) -> Result<Option<(Installed, PluginSection)>, Failure> {
        let supplies = &self.site.supplies;
        let image = self.wish.image();
        let needed = self.site.needed.lock().clone();
        let found = supplies.places.image(image, &needed).await?;
        (self.progress)(ActivationProgress::Digest(found.pinned));
        if self.wish.digest().is_none() && self.running.is_some_and(|it| it.image == found.pinned) {
            return Ok(None);
        }
        (self.progress)(ActivationProgress::State(FleetState::Verifying));
        if supplies.needs_signature(self.wish) {
            let (places, keys) = (&supplies.places, &supplies.keys);
            let bundles = places.bundles(image, found.pinned, keys, &needed).await?;
            bundles.verify(&found.pinned, keys).map_err(distrust)?;
        }
        let metadata = Metadata::read(&found.manifest)
            .map_err(|error| Failure::refused("invalid-artifact", error))?;
        if metadata.release < self.floor {
            let Metadata { release, .. } = metadata;
            let floor = self.floor;
            let message =
                format!("release {release} is older than release {floor}, which was active");
            return Err(Failure::refused("release-too-old", message));
        }
        let layer = found.manifest.component();
        let layer = layer.map_err(|error| Failure::refused("invalid-artifact", error))?;
        let proposals = proposals(&metadata)?;
        let section = self.wish.section(
            self.plugin,
            supplies.fleet.as_ref(),
            &proposals,
            supplies.store.path(&layer.digest),
            &layer.digest,
        )?;
        self.fetch_component(layer, section.settings.component_bytes()).await?;
        let version = Installed {
            entry: self.wish.entry(),
            is_local: !self.wish.is_cloud(),
            image: found.pinned,
            manifest: Some(found.digest),
            component: layer.digest,
            release: metadata.release,
            is_proved: false,
            proposals,
            desired_version: 0,
            since: String::new(),
        };
        Ok(Some((version, section)))
    }

    /// Fetches the component, unless the store has it.
    async fn fetch_component(&self, layer: &Descriptor, max_bytes: usize) -> Result<(), Failure> {
        if layer.size > max_bytes as u64 {
            let size = layer.size;
            let message = format!("the component has {size} bytes; {max_bytes} are allowed");
            return Err(Failure::refused("too-large", message));
        }
        let supplies = &self.site.supplies;
        let digest = layer.digest;
        let has = async || {
            let store = supplies.store.clone();
            blocking(move || store.has(&digest)).await
        };
        if has().await? {
            return Ok(());
        }
        let _download = supplies.downloads.lock().await;
        // Another plugin or device may have fetched it meanwhile.
        if has().await? {
            return Ok(());
        }
        (self.progress)(ActivationProgress::State(FleetState::Downloading));
        let size = layer.size;
        let progress = |bytes: u64| {
            if size >= LARGE {
                let percent = bytes.saturating_mul(100) / size;
                (self.progress)(ActivationProgress::Percent(u8::try_from(percent).unwrap_or(100)));
            }
        };
        let (store, needed) = (supplies.store.clone(), self.site.needed.lock().clone());
        let reserved = blocking(move || store.reserve(&digest, size, &needed)).await?;
        reserved.map_err(|error| not_stored(&error))?;
        let part = supplies.store.part(&digest);
        supplies.places.blob(self.wish.image(), layer, &part, &progress).await?;
        (self.progress)(ActivationProgress::State(FleetState::Verifying));
        let store = supplies.store.clone();
        blocking(move || store.commit(&digest)).await?.map_err(|error| not_stored(&error))
    }

    /// Reports a change of the granted capabilities, and waits until the hub has received it.
    async fn announce(&self, section: &PluginSection) -> Result<(), Failure> {
        let before = self.site.router.table().slot(self.plugin).and_then(|slot| slot.view().active);
        let before = before.map(|version| version.loaded.settings.capabilities().clone());
        let change = change(&before.unwrap_or_default(), section.settings.capabilities());
        if change == CapabilityChange::default() {
            return Ok(());
        }
        (self.progress)(ActivationProgress::Capabilities(change.clone()));
        let reported = self.site.reported.until_capability_change(self.plugin, &change);
        timeout(REPORT_WAIT, reported).await.map_err(|_| {
            let message = "the hub has not received the change of the capabilities";
            Failure::retry("not-reported", message)
        })
    }
}

fn change(before: &BTreeSet<Capability>, after: &BTreeSet<Capability>) -> CapabilityChange {
    let names = |set: &BTreeSet<Capability>, without: &BTreeSet<Capability>| {
        set.difference(without).map(|capability| capability.name()).collect()
    };
    CapabilityChange { added: names(after, before), removed: names(before, after) }
}

fn distrust(refusal: Refusal) -> Failure {
    let reason = match refusal {
        Refusal::NoKeys => "no-keys",
        Refusal::Unsigned(_) => "signature-missing",
        Refusal::Invalid { .. } => "signature-invalid",
    };
    Failure::untrusted(reason, refusal)
}

fn proposals(metadata: &Metadata) -> Result<Proposals, Failure> {
    let config = metadata.config.as_ref().map_or("{}", |config| config.get());
    let config: serde_json::Map<String, serde_json::Value> = serde_json::from_str(config)
        .map_err(|error| Failure::refused("invalid-artifact", error))?;
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(Proposals {
        methods: metadata.methods.clone(),
        capabilities: metadata.capabilities.iter().cloned().collect(),
        config: config.into_iter().map(|(key, value)| (key, text(value))).collect(),
        health: metadata.health.clone(),
    })
}

fn not_stored(error: &ContentError) -> Failure {
    let message = program::chain(error);
    match error {
        ContentError::Digest { .. } => Failure::refused("digest-mismatch", message),
        _ if error.is_lack_of_room() => Failure::retry("disk-full", message),
        _ => Failure::retry("not-stored", message),
    }
}

/// Runs a step that blocks.
async fn blocking<T: Send + 'static>(
    step: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    spawn_blocking(step)
        .await
        .map_err(|error| Failure::retry("host-fault", format!("fault in the host: {error}")))
}
