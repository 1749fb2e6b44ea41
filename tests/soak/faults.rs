//! The faults of a long run, which are injected in turn.

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

/// The number of times that the hub closes on a message: once more than the host tries.
const CLOSINGS: u32 = 6;

/// Time for a plugin to answer as expected. Within it, the faults of the hub that are still
/// set may end the connection several times.
const PATIENCE: Duration = Duration::from_secs(120);

/// The step of the host's clock, in seconds: a day.
const DAY: i64 = 24 * 60 * 60;

/// Faults of the network and of the hub.
const OF_THE_HUB: [(Step, Effect); 10] = [
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

/// The other faults, in their order.
#[derive(Debug, Clone, Copy)]
enum Other {
    Drop,
    ExpiredToken,
    Restart,
    Refusal,
    /// A plugin's file that was cut off, and a whole one after it.
    CutPlugin,
    /// A flipped bit in each file of the compile cache, and a swap that reads it.
    FlippedCache,
    /// A second host on copies of journal and cache with a damaged page and flipped bits.
    DamagedCopy,
    /// Half a configuration, and the whole one after it.
    BrokenConfiguration,
    /// The clock a day forward.
    Forward,
    /// The clock a day behind.
    Backward,
    /// The right time.
    RightTime,
    /// A report, a message and an answer longer than a packet.
    LongPackets,
    /// A payload longer than a packet.
    LongPayload,
    /// A message on which the hub closes each time.
    Poison,
}

const OTHERS: [Other; 14] = [
    Other::Drop,
    Other::ExpiredToken,
    Other::Restart,
    Other::Refusal,
    Other::CutPlugin,
    Other::FlippedCache,
    Other::Forward,
    Other::LongPackets,
    Other::Backward,
    Other::RightTime,
    Other::BrokenConfiguration,
    Other::LongPayload,
    Other::Poison,
    Other::DamagedCopy,
];

/// The number of kinds of faults.
pub(crate) const KINDS: usize = OF_THE_HUB.len() + OTHERS.len();

/// The injection of faults.
pub(crate) struct Faults {
    pub(crate) hub: Arc<Hub>,
    pub(crate) client: Client,
    pub(crate) device: DeviceId,
    pub(crate) site: Arc<Site>,
    pub(crate) seen: Arc<Seen>,
}

/// The injected faults, and the promises that the host did not keep.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) injected: AtomicU64,
    pub(crate) broken: Mutex<Vec<String>>,
}

impl Faults {
    /// Injects one fault per interval. Never returns.
    pub(crate) async fn inject(self, interval: Duration) {
        for round in 0_usize.. {
            tokio::time::sleep(interval).await;
            let number = round % KINDS;
            self.seen.injected.fetch_add(1, Relaxed);
            match OTHERS.get(number) {
                Some(other) => {
                    if let Err(broken) = self.other(*other, round).await {
                        println!("round {round}, {other:?}: {broken}");
                        self.seen.broken.lock().push(format!("{other:?}: {broken}"));
                    }
                }
                None => {
                    let (step, effect) = OF_THE_HUB[number - OTHERS.len()];
                    self.hub.faults().set(Fault::new(step, effect)).unwrap();
                }
            }
        }
    }

    async fn other(&self, other: Other, round: usize) -> Result<(), String> {
        // Each round exchanges the two versions.
        let (old, new) =
            if (round / KINDS).is_multiple_of(2) { ("one", "two") } else { ("two", "one") };
        match other {
            Other::Drop => drop(self.hub.drop_connection(&self.device)),
            Other::ExpiredToken => drop(self.hub.expire_token(&self.device)),
            Other::Restart => self.hub.restart(DELAY, Forget::Sessions).unwrap(),
            Other::Refusal => {
                let refuse = Effect::Refuse(Refused::Unavailable);
                self.hub.faults().set(Fault::new(Step::Connect, refuse)).unwrap();
                self.hub.drop_connection(&self.device);
            }
            Other::CutPlugin => {
                self.site.cut(&format!("version-{new}.wat"));
                tokio::time::sleep(Duration::from_secs(3)).await;
                self.version(old).await?;
                self.site.swap(&format!("version-{new}.wat"));
                self.version(new).await?;
            }
            Other::FlippedCache => {
                self.site.flip_cache();
                self.site.swap(&format!("version-{old}.wat"));
                self.version(old).await?;
                self.site.flip_cache();
                self.site.swap(&format!("version-{new}.wat"));
                self.version(new).await?;
            }
            Other::BrokenConfiguration => {
                self.site.configure(false);
                tokio::time::sleep(Duration::from_secs(3)).await;
                self.version(new).await?;
                self.site.configure(true);
                self.version(new).await?;
            }
            Other::Forward => self.clock(DAY, new).await?,
            Other::Backward => self.clock(-DAY, "").await?,
            Other::RightTime => self.clock(0, new).await?,
            Other::LongPackets => {
                for method in ["report", "message"] {
                    // The error `too-large` is the third of its cases.
                    self.until(&self.client, method, |status, _| status == 202).await?;
                }
                self.until(&self.client, "answer", |status, _| status == 502).await?;
            }
            Other::LongPayload => {
                let long = json!("x".repeat(400_000));
                let request = MethodRequest::new("ask".parse().unwrap(), long);
                if let Ok(answer) = self.client.invoke(&self.device, &request).await {
                    return Err(format!("400,000 bytes were answered with {}", answer.status));
                }
                self.version(new).await?;
            }
            Other::Poison => {
                let poison = Fault::new(Step::Message, Effect::DropBefore);
                let poison = poison.times(CLOSINGS).lasting(PATIENCE);
                self.hub.faults().set(poison).unwrap();
            }
            Other::DamagedCopy => self.damaged_copy(round).await?,
        }
        Ok(())
    }

    /// Sets the host's clock, and waits until the version is heard; an empty one is not
    /// waited for, because a token of yesterday is refused.
    async fn clock(&self, seconds: i64, version: &str) -> Result<(), String> {
        if !self.site.has_clock() {
            return Ok(());
        }
        self.site.set_clock(seconds);
        // The library reads the file each second.
        tokio::time::sleep(Duration::from_secs(2)).await;
        if version.is_empty() { Ok(()) } else { self.version(version).await }
    }

    /// Waits until the plugin `swaps` answers as this version.
    async fn version(&self, version: &str) -> Result<(), String> {
        self.until(&self.client, "ask", |status, answer| {
            status == 200 && answer["first"] == version && answer["second"] == version
        })
        .await
    }

    /// Starts a second host, with a hub of its own, on damaged copies of the files.
    async fn damaged_copy(&self, round: usize) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let hub = Hub::start(HubConfig::default()).await.unwrap();
        let identity = hub.create_device(&self.device).unwrap();
        let settings =
            ClientSettings { ca_pem: Some(hub.ca_pem().to_owned()), ..Default::default() };
        let client = Client::new(hub.service_connection_string(), settings).unwrap();
        let random = u64::try_from(round).unwrap().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
        let site = self.site.damaged_copy(folder.path(), &hub, random);
        let mut host = site.start(&identity);
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

    /// Calls until the answer is as wanted.
    async fn until(
        &self,
        client: &Client,
        method: &str,
        wanted: impl Fn(i32, &Value) -> bool,
    ) -> Result<(), String> {
        let mut last = String::from("nothing");
        let answered = async {
            loop {
                let mut request = MethodRequest::new(method.parse().unwrap(), Value::Null);
                request.connect_timeout = Duration::from_secs(10);
                match client.invoke(&self.device, &request).await {
                    Ok(answer) if wanted(answer.status, &answer.payload.to_value()) => return,
                    Ok(answer) => last = format!("{} {}", answer.status, answer.payload.to_value()),
                    Err(error) => last = error.to_string(),
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let answered = tokio::time::timeout(PATIENCE, answered).await;
        answered.map_err(|_| format!("`{method}` is answered with {last}"))
    }
}
