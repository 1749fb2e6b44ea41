//! Broken versions, which `behaviour-service rollout` brings to the first wave of a fleet.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use service::rollout::Rollout;
use tokio::time::sleep;

use super::calls::{self, Call, Calls};
use super::images::{Image, PLUGIN, Publication, Publisher};
use super::reports::{self, Report, seconds};
use crate::peers::Stage;
use crate::registry::Registry;
use crate::say;

/// The exit code of a rollout that has stopped.
const STOPPED: i32 = 7;

/// The interval between two looks.
const POLL: Duration = Duration::from_millis(200);

/// The time limit of each step.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A way in which a version is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Traps,
    Hangs,
    DoesNotStart,
    WrongSignature,
    WrongDigest,
    TooManyCapabilities,
}

impl Fault {
    pub(super) const ALL: [Fault; 6] = [
        Fault::Traps,
        Fault::Hangs,
        Fault::DoesNotStart,
        Fault::WrongSignature,
        Fault::WrongDigest,
        Fault::TooManyCapabilities,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Fault::Traps => "its health method traps",
            Fault::Hangs => "its health method hangs",
            Fault::DoesNotStart => "it does not start",
            Fault::WrongSignature => "signed by another key",
            Fault::WrongDigest => "other content than the digest says",
            Fault::TooManyCapabilities => "wants a capability above the ceiling",
        }
    }

    /// Publishes a version with the fault.
    fn publish(
        self,
        publisher: &Publisher<'_>,
        registry: &Registry,
        release: usize,
        folder: &std::path::Path,
    ) -> anyhow::Result<Image> {
        let fixture = |name: &str| -> PathBuf { fixtures::write(name, folder) };
        let (hangs, wants) = (fixture("never_takes_over.wat"), fixture("reboots.wat"));
        let publication = match self {
            Fault::Traps => Publication { health: Some("trap"), ..Publication::default() },
            Fault::Hangs => Publication { health: Some("spin"), ..Publication::default() },
            Fault::DoesNotStart => {
                Publication { component: Some(&hangs), ..Publication::default() }
            }
            Fault::WrongSignature => Publication { stranger: true, ..Publication::default() },
            Fault::WrongDigest => Publication::default(),
            Fault::TooManyCapabilities => {
                Publication { component: Some(&wants), ..Publication::default() }
            }
        };
        let image = publisher.publish(release, &publication)?;
        if self == Fault::WrongDigest {
            registry.tamper(&oci::Digest::of(&publisher.component(release)?).hex())?;
        }
        Ok(image)
    }
}

/// The result of a rollout of a broken version.
pub(super) struct Stopped {
    /// Number of devices of the first wave.
    pub(super) wave: usize,
    /// Number of other devices that reported the image.
    pub(super) beyond: usize,
    /// Seconds from the first report of a failure to that of the last device.
    pub(super) failing: f64,
    /// The longest time in which the broken version answered on a device, in seconds.
    pub(super) in_force: f64,
    /// Seconds from `rollout back` until all devices have the version before, without a failure.
    pub(super) back: f64,
    pub(super) lost: usize,
    pub(super) calls: usize,
    /// The reasons that the devices report.
    pub(super) reasons: String,
}

/// Rolls out a broken version, whose number is `release`, to devices with the image `before`, and
/// takes it back.
pub(super) async fn measure(
    stage: &Stage,
    registry: &Registry,
    publisher: &Publisher<'_>,
    before: (&Image, usize),
    fault: Fault,
    release: usize,
) -> anyhow::Result<Stopped> {
    let client = &stage.hub.client;
    let image = fault.publish(publisher, registry, release, stage.folder.path())?;
    let mut rollout = start(stage, &image)?;
    let wave = wave(stage, &image).await?;
    let calls = Calls::start(&stage.invoker, &wave).await?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = rollout.try_wait()? {
            break status;
        }
        ensure!(begun.elapsed() < TIMEOUT, "the rollout does not stop");
        sleep(POLL).await;
    };
    ensure!(status.code() == Some(STOPPED), "the rollout ended with {status}: {}", fault.name());
    let failed = failed(stage, &image, before.0, wave.len()).await?;
    let plugin = format!("properties.reported.plugins.{PLUGIN}.digest = '{}'", image.digest);
    let reached = reports::read(client, &plugin).await?;
    let beyond = reached.iter().filter(|report| !wave.contains(&report.device)).count();

    let begun = Timestamp::now();
    let mut back = stage.service();
    back.args(["rollout", "back", PLUGIN, "--poll", "200ms"]);
    crate::programs::run(back)?;
    let condition = reports::condition(before.0, "active");
    let all = until_back(stage, &condition, &wave).await?;
    let calls = calls.stop().await?;
    let firsts = failed.iter().map(|report| report.at).min().context("no device has failed")?;
    Ok(Stopped {
        wave: wave.len(),
        beyond,
        failing: seconds(firsts, reports::last(&failed)?),
        in_force: in_force(&calls, before.1),
        back: seconds(begun, reports::last(&all)?).max(0.0),
        lost: calls::lost(&calls),
        calls: calls.len(),
        reasons: reasons(&failed),
    })
}

/// Starts a rollout to one device in a hundred first.
fn start(stage: &Stage, image: &Image) -> anyhow::Result<std::process::Child> {
    let mut command: Command = stage.service();
    command.args(["rollout", "start", "--plugin", PLUGIN, "--image", &image.reference]);
    command.args(["--waves", "1%,100%", "--pause", "0s", "--poll", "500ms", "--yes"]);
    let log = std::fs::File::create(stage.folder.path().join("logs/rollout.log"))?;
    command.arg("--plain-http").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().context("cannot start `behaviour-service`")
}

/// Waits for the rollout of an image, and returns the devices of its first wave.
async fn wave(stage: &Stage, image: &Image) -> anyhow::Result<Vec<String>> {
    let begun = Instant::now();
    loop {
        let all = Rollout::all(stage.hub.client.configurations().await?);
        if let Some(rollout) = all.iter().find(|it| it.image.ends_with(&image.digest)) {
            let wave = reports::read(&stage.hub.client, rollout.condition()).await?;
            return Ok(wave.into_iter().map(|report| report.device).collect());
        }
        if begun.elapsed() > TIMEOUT {
            let log = std::fs::read_to_string(stage.folder.path().join("logs/rollout.log"));
            bail!("the rollout does not begin: {}", log.unwrap_or_default());
        }
        sleep(POLL).await;
    }
}

/// Waits until this many devices report that they have refused an image or rolled it back, and
/// run the one before.
async fn failed(
    stage: &Stage,
    image: &Image,
    before: &Image,
    devices: usize,
) -> anyhow::Result<Vec<Report>> {
    let begun = Instant::now();
    let condition = format!("properties.reported.plugins.{PLUGIN}.digest = '{}'", image.digest);
    loop {
        let mut reports = reports::read(&stage.hub.client, &condition).await?;
        reports.retain(|report| {
            matches!(report.state.as_str(), "refused" | "rolled-back")
                && report.running.as_ref() == Some(&before.digest)
        });
        if reports.len() >= devices {
            return Ok(reports);
        }
        ensure!(begun.elapsed() < TIMEOUT, "{} of {devices} devices failed", reports.len());
        sleep(POLL).await;
    }
}

/// Waits until all devices of a wave fulfil a condition, and returns their reports.
async fn until_back(
    stage: &Stage,
    condition: &str,
    wave: &[String],
) -> anyhow::Result<Vec<Report>> {
    let begun = Instant::now();
    loop {
        let mut reports = reports::read(&stage.hub.client, condition).await?;
        reports.retain(|report| wave.contains(&report.device));
        if reports.len() == wave.len() {
            return Ok(reports);
        }
        if begun.elapsed() > TIMEOUT {
            let all = reports::read(&stage.hub.client, "deviceId != ''").await?;
            let late = all.iter().find(|report| wave.contains(&report.device));
            bail!("{} of {} devices are back, not {late:?}", reports.len(), wave.len());
        }
        sleep(POLL).await;
    }
}

/// Returns the longest time from the first answer by another version than `good` on a device to
/// the next answer by `good`, in seconds; 0 if there was no such answer.
fn in_force(calls: &[Call], good: usize) -> f64 {
    let mut since: HashMap<usize, Timestamp> = HashMap::new();
    let mut longest: f64 = 0.0;
    for call in calls {
        match call.outcome {
            Ok(version) if version != good => drop(since.entry(call.device).or_insert(call.sent)),
            Ok(_) => {
                if let Some(begun) = since.remove(&call.device) {
                    longest = longest.max(seconds(begun, call.ended));
                }
            }
            Err(_) => {}
        }
    }
    if !since.is_empty() {
        say(&format!("rollout: {} devices still have the broken version", since.len()));
        return f64::INFINITY;
    }
    longest
}

fn reasons(failed: &[Report]) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for report in failed {
        *counts.entry(report.reason.as_deref().unwrap_or("none")).or_default() += 1;
    }
    let counts: Vec<_> =
        counts.iter().map(|(reason, count)| format!("{count} `{reason}`")).collect();
    counts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_version_is_in_force_until_the_good_one_answers_again() {
        let call = |device, at: i64, outcome: Result<usize, &str>| Call {
            device,
            sent: Timestamp::from_second(at).unwrap_or_default(),
            ended: Timestamp::from_second(at + 1).unwrap_or_default(),
            time: Duration::from_secs(1),
            outcome: outcome.map_err(str::to_owned),
        };
        let calls = [call(0, 0, Ok(1)), call(1, 1, Ok(2)), call(1, 3, Err("x")), call(1, 5, Ok(1))];
        assert!((in_force(&calls, 1) - 5.0).abs() < 1e-9);
        assert!(in_force(&calls[..1], 1).abs() < 1e-9);
        assert!(in_force(&calls[..2], 1).is_infinite());
    }
}
