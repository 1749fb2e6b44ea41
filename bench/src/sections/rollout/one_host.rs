//! One host whose plugins the cloud chooses: the time to a new version, and the idle memory.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use oci::registry::{Client, ClientSettings};
use oci::signature::{self, PublicKey};
use oci::{Reference, Source as _, referrers, resolve};
use protocol::id::DeviceId;
use serde_json::json;

use super::images::{Image, PLUGIN, Publication, Publisher, host_toml, supplies, tables};
use crate::numbers::Rounds;
use crate::peers::{HostToml, IDENTITY, Stage};
use crate::process::Process;
use crate::registry::Registry;
use crate::sections::swap::compiled;
use crate::versions::answered;

/// The time limit of a move.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum size of a fetched component, in bytes.
const MAX_COMPONENT: usize = 1 << 20;

/// The time after which a started host is idle.
const SETTLE: Duration = Duration::from_secs(4);

/// Times of moves of one host, in milliseconds.
#[derive(Default)]
pub(super) struct OneHost {
    /// From the desired change to the first answer by the new version.
    pub(super) moved: Rounds,
    /// Fetching and compiling an image of the same size alone.
    pub(super) alone: Rounds,
}

/// Moves a host `rounds` times. The first of the published versions has the number `from`.
pub(super) async fn measure(
    stage: &Stage,
    registry: &Registry,
    publisher: &Publisher<'_>,
    rounds: usize,
    from: usize,
) -> anyhow::Result<OneHost> {
    let id = "one-host";
    let folder = stage.folder.path().join(id);
    let toml = host_toml(stage, &folder, &tables(registry, publisher.public_key(), Some("0s")));
    let _process = start(stage, id, &folder, &toml).await?;
    let plain_http = vec![registry.host.clone()];
    let client = Client::new(ClientSettings { plain_http, ..ClientSettings::default() })?;
    let key = PublicKey::all_from_pem(&fs::read(publisher.public_key())?)?;
    let mut found = OneHost::default();
    for round in 0..=rounds {
        let numbers = [from + 2 * round, from + 2 * round + 1];
        let images = numbers.map(|number| publisher.publish(number, &Publication::default()));
        let [image, other] = images;
        let alone = fetched_and_compiled(&client, &key, &other?).await?;
        let moved = moved(stage, &id.parse()?, &image?, numbers[0]).await?;
        // The first round creates the clients, and connects them.
        if round > 0 {
            found.alone.push(alone);
            found.moved.push(moved);
        }
    }
    Ok(found)
}

/// Desires an image, and calls the plugin until its version answers. Returns the milliseconds.
async fn moved(
    stage: &Stage,
    device: &DeviceId,
    image: &Image,
    number: usize,
) -> anyhow::Result<f64> {
    let request = stage.invoker.request(device.as_str(), "version", "null");
    let mut connection = stage.invoker.connect().await?;
    let entry = json!({"plugins": {PLUGIN: {"image": image.reference}}});
    let patch = json!({"properties": {"desired": entry}});
    let begun = Instant::now();
    stage.hub.client.patch_twin(device, patch, None).await?;
    loop {
        // Until the first version has started, the method is unknown.
        match connection.ask(&request).await {
            Ok(answer) if answered(&answer) == Some(number) => {
                return Ok(begun.elapsed().as_secs_f64() * 1e3);
            }
            _ if begun.elapsed() > TIMEOUT => bail!("version {number} does not answer"),
            _ => {}
        }
    }
}

/// Fetches an image with its signature, verifies and compiles it. Returns the milliseconds.
async fn fetched_and_compiled(
    client: &Client,
    keys: &[PublicKey],
    image: &Image,
) -> anyhow::Result<f64> {
    let reference: Reference = image.reference.parse()?;
    let begun = Instant::now();
    let found = resolve(client, &reference).await?;
    let bundles = referrers::bundles(client, &reference, &found.pinned).await?;
    signature::verify(&bundles.found, &found.pinned, keys)?;
    let component = client.blob(&reference, found.manifest.component()?, MAX_COMPONENT).await?;
    let fetched = begun.elapsed().as_secs_f64() * 1e3;
    Ok(fetched + compiled(&component)?)
}

/// Idle memory of hosts that differ in their tables, in MiB.
#[derive(Default)]
pub(super) struct Idle {
    /// With a plugin in a file, and nothing about registries.
    pub(super) plain: Rounds,
    /// With `[host.registry]` and `[host.trust]`, without `[fleet]`.
    pub(super) off: Rounds,
    /// With `[fleet]`.
    pub(super) on: Rounds,
}

/// Starts a host `rounds` times with each kind of table, and measures its idle memory.
pub(super) async fn memory(
    stage: &Stage,
    registry: &Registry,
    publisher: &Publisher<'_>,
    rounds: usize,
) -> anyhow::Result<Idle> {
    let mut found = Idle::default();
    let key = publisher.public_key();
    for _ in 0..rounds {
        let Idle { plain, off, on } = &mut found;
        let kinds = [
            (plain, String::new()),
            (off, supplies(registry, key, None)),
            (on, tables(registry, key, None)),
        ];
        for (rounds, tables) in kinds {
            let id = "idle";
            let folder = stage.folder.path().join(id);
            let toml = HostToml::default().text(stage, &folder) + &tables;
            let process = start(stage, id, &folder, &toml).await?;
            stage.invoker.connect().await?.ask(&stage.echo(id)).await?;
            tokio::time::sleep(SETTLE).await;
            rounds.push(crate::numbers::mib(process.memory().resident_bytes));
            process.stop()?;
        }
    }
    Ok(found)
}

/// Starts a host in a folder of its own.
async fn start(stage: &Stage, id: &str, folder: &Path, toml: &str) -> anyhow::Result<Process> {
    fs::create_dir_all(folder)?;
    let file = folder.join("host.toml");
    fs::write(&file, toml)?;
    let identity = stage.hub.device(id, true).await.context("the device of a host")?;
    let mut command = Command::new(&stage.programs.host);
    command.arg("run").arg("--config").arg(file);
    command.env(IDENTITY, identity);
    Process::start(id, stage.folder.path(), command)
}
