//! The faults of a soak run, which are injected in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hub::{Effect, Fault, Forget, Hub, HubConfig, Refused, Step};
use parking_lot::Mutex;
use protocol::id::DeviceId;
use protocol::method::MethodRequest;
use serde_json::{Value, json};
use service::{Client, ClientSettings};

use crate::site::Site;

/// The delay of a packet, and the downtime of a restarting hub.
const DELAY: Duration = Duration::from_millis(300);

/// The duration of a half-open connection, which is longer than the host's keep-alive.
const HALF_OPEN: Duration = Duration::from_secs(60);

/// Number of disconnects that a message causes. It exceeds the host's five attempts by one.
const DISCONNECTS: u32 = 6;

/// Time limit for a plugin to answer as expected. Earlier faults may still end the connection
/// several times.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Size of a step of the host's clock, in seconds: one day.
const DAY: i64 = 24 * 60 * 60;

/// Faults of the network and of the hub.
const HUB_FAULTS: [(Step, Effect); 10] = [
    (Step::Acknowledge, Effect::DropBefore),
    (Step::Method, Effect::DropAfter),
    (Step::Answer, Effect::DropBefore),
    (Step::TwinReport, Effect::DropAfter),
    (Step::Method, Effect::Duplicate),
    (Step::Answer, Effect::Delay(DELAY)),
    (Step::Method, Effect::Reorder(DELAY)),
    (Step::TwinReport, Effect::Throttle),
    (Step::Acknowledge, Effect::HalfOpen(HALF_OPEN)),
    (Step::Method, Effect::Lose),
];

/// All other faults, in the order of injection.
#[derive(Debug, Clone, Copy)]
enum OtherFault {
    Drop,
    ExpiredToken,
    Restart,
    Refusal,
    /// A truncated plugin file, followed by the complete one.
    CutPlugin,
    /// A flipped bit in each file of the compile cache, followed by a swap that reads the
    /// cache.
    FlippedCache,
    /// A second host with a damaged copy of the journal and of the compile cache.
    DamagedCopy,
    /// A truncated configuration, followed by the complete one.
    BrokenConfiguration,
    /// A clock that is one day ahead.
    Forward,
    /// A clock that is one day behind.
    Backward,
    /// A correct clock.
    RightTime,
    /// A report, a message and an answer that exceed the maximum packet size.
    LongPackets,
    /// A payload that exceeds the maximum packet size.
    LongPayload,
    /// A message that makes the hub disconnect every time.
    Poison,
}

const OTHER_FAULTS: [OtherFault; 14] = [
    OtherFault::Drop,
    OtherFault::ExpiredToken,
    OtherFault::Restart,
    OtherFault::Refusal,
    OtherFault::CutPlugin,
    OtherFault::FlippedCache,
    OtherFault::Forward,
    OtherFault::LongPackets,
    OtherFault::Backward,
    OtherFault::RightTime,
    OtherFault::BrokenConfiguration,
    OtherFault::LongPayload,
    OtherFault::Poison,
    OtherFault::DamagedCopy,
];

/// The number of kinds of faults.
pub(crate) const FAULT_KINDS: usize = HUB_FAULTS.len() + OTHER_FAULTS.len();

/// Injector of faults.
pub(crate) struct Faults {
    pub(crate) hub: Arc<Hub>,
    pub(crate) client: Client,
    pub(crate) device: DeviceId,
    pub(crate) site: Arc<Site>,
    pub(crate) observations: Arc<Observations>,
}

/// Number of injected faults, and descriptions of the violated promises.
#[derive(Default)]
pub(crate) struct Observations {
    pub(crate) injected: AtomicU64,
    pub(crate) broken: Mutex<Vec<String>>,
}

impl Faults {
    /// Injects one fault per interval. Never returns.
    pub(crate) async fn inject(self, interval: Duration) {
        for round in 0_usize.. {
            tokio::time::sleep(interval).await;
            let number = round % FAULT_KINDS;
            self.observations.injected.fetch_add(1, Relaxed);
            match OTHER_FAULTS.get(number) {
                Some(other) => {
                    if let Err(broken) = self.inject_other(*other, round).await {
                        println!("round {round}, {other:?}: {broken}");
                        self.observations.broken.lock().push(format!("{other:?}: {broken}"));
                    }
                }
                None => {
                    let (step, effect) = HUB_FAULTS[number - OTHER_FAULTS.len()];
                    self.hub.faults().set(Fault::new(step, effect)).unwrap();
                }
            }
        }
    }

    async fn inject_other(&self, other: OtherFault, round: usize) -> Result<(), String> {
        // Each round swaps the roles of the two versions.
        let (old, new) =
            if (round / FAULT_KINDS).is_multiple_of(2) { ("one", "two") } else { ("two", "one") };
        match other {
            OtherFault::Drop => drop(self.hub.drop_connection(&self.device)),
            OtherFault::ExpiredToken => drop(self.hub.expire_token(&self.device)),
            OtherFault::Restart => self.hub.restart(DELAY, Forget::Sessions).unwrap(),
            OtherFault::Refusal => {
                let refuse = Effect::Refuse(Refused::Unavailable);
                self.hub.faults().set(Fault::new(Step::Connect, refuse)).unwrap();
                self.hub.drop_connection(&self.device);
            }
            OtherFault::CutPlugin => {
                self.site.cut(&format!("version-{new}.wat"));
                tokio::time::sleep(Duration::from_secs(3)).await;
                self.until_version(old).await?;
                self.site.swap(&format!("version-{new}.wat"));
                self.until_version(new).await?;
            }
            OtherFault::FlippedCache => {
                self.site.flip_cache();
                self.site.swap(&format!("version-{old}.wat"));
                self.until_version(old).await?;
                self.site.flip_cache();
                self.site.swap(&format!("version-{new}.wat"));
                self.until_version(new).await?;
            }
            OtherFault::BrokenConfiguration => {
                self.site.configure(false);
                tokio::time::sleep(Duration::from_secs(3)).await;
                self.until_version(new).await?;
                self.site.configure(true);
                self.until_version(new).await?;
            }
            OtherFault::Forward => self.set_clock(DAY, new).await?,
            OtherFault::Backward => self.set_clock(-DAY, "").await?,
            OtherFault::RightTime => self.set_clock(0, new).await?,
            OtherFault::LongPackets => {
                for method in ["report", "message"] {
                    // The plugin answers with 200 plus the index of the error, which is 2 for
                    // `too-large`.
                    self.until(&self.client, method, |status, _| status == 202).await?;
                }
                self.until(&self.client, "answer", |status, _| status == 502).await?;
            }
            OtherFault::LongPayload => {
                let long = json!("x".repeat(400_000));
                let request = MethodRequest::new("ask".parse().unwrap(), long);
                if let Ok(answer) = self.client.invoke(&self.device, &request).await {
                    return Err(format!("400,000 bytes were answered with {}", answer.status));
                }
                self.until_version(new).await?;
            }
            OtherFault::Poison => {
                let poison = Fault::new(Step::Message, Effect::DropBefore);
                let poison = poison.times(DISCONNECTS).lasting(ANSWER_TIMEOUT);
                self.hub.faults().set(poison).unwrap();
            }
            OtherFault::DamagedCopy => self.damaged_copy(round).await?,
        }
        Ok(())
    }

    /// Sets the host's clock and waits until `version` answers. Does not wait for an empty
    /// `version`, because the hub refuses a token from yesterday.
    async fn set_clock(&self, seconds: i64, version: &str) -> Result<(), String> {
        if !self.site.has_clock() {
            return Ok(());
        }
        self.site.set_clock(seconds);
        // libfaketime reads the file once a second.
        tokio::time::sleep(Duration::from_secs(2)).await;
        if version.is_empty() { Ok(()) } else { self.until_version(version).await }
    }

    /// Waits until the plugin `swaps` answers with this version.
    async fn until_version(&self, version: &str) -> Result<(), String> {
        self.until(&self.client, "ask", |status, answer| {
            status == 200 && answer["first"] == version && answer["second"] == version
        })
        .await
    }

    /// Starts a second host, with a separate hub, on damaged copies of the files.
    async fn damaged_copy(&self, round: usize) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let hub = Hub::start(HubConfig::default()).await.unwrap();
        let settings =
            ClientSettings { ca_pem: Some(hub.ca_pem().to_owned()), ..Default::default() };
        let client = Client::new(hub.service_connection_string(), settings).unwrap();
        let random = u64::try_from(round).unwrap().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
        let site = self.site.damaged_copy(folder.path(), &hub, random);
        let mut host = site.start();
        let answered = self
            .until(&client, "ask", |status, answer| status == 200 && answer["first"] == "one")
            .await;
        if host.log.corrupt.load(Relaxed) == 0 {
            return Err("no corrupt file was recognised".into());
        }
        let _ = host.child.kill().await;
        hub.stop().await;
        answered
    }

    /// Calls a method until the answer satisfies `expected`.
    async fn until(
        &self,
        client: &Client,
        method: &str,
        expected: impl Fn(i32, &Value) -> bool,
    ) -> Result<(), String> {
        let mut last = String::from("nothing");
        let answered = async {
            loop {
                let mut request = MethodRequest::new(method.parse().unwrap(), Value::Null);
                request.connect_timeout = Duration::from_secs(10);
                match client.invoke(&self.device, &request).await {
                    Ok(answer) if expected(answer.status, &answer.payload.to_value()) => return,
                    Ok(answer) => last = format!("{} {}", answer.status, answer.payload.to_value()),
                    Err(error) => last = error.to_string(),
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, answered).await;
        answered.map_err(|_| format!("`{method}` is answered with {last}"))
    }
}
