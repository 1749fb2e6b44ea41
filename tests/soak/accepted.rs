//! Record of the accepted calls, and of the messages, jobs and reports that have arrived.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hub::{Hub, TelemetryMessage};
use parking_lot::Mutex;
use protocol::id::DeviceId;
use service::Client;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

/// The number of reported properties.
pub(crate) const KEYS: u64 = 50;

/// Time limit for the last messages and reports to arrive.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(180);

/// The accepted calls and their messages.
#[derive(Default)]
pub(crate) struct Accepted(Mutex<Record>);

#[derive(Default)]
struct Record {
    /// Start and end of each accepted call, by number.
    calls: HashMap<u64, (Instant, Instant)>,
    /// The arrived messages of each call, by number.
    messages: HashMap<u64, Arrived>,
    /// Number of messages that the hub dropped because this program received too slowly.
    lagged: u64,
}

#[derive(Default, Clone, Copy)]
struct Arrived {
    /// `true` once the message of the call has arrived.
    of_call: bool,
    /// `true` once the message of the call's job has arrived.
    of_job: bool,
}

/// Accepted messages, jobs and reports that have not arrived.
pub(crate) struct Missing {
    pub(crate) accepted: usize,
    /// Messages of accepted calls that have not arrived, by number.
    pub(crate) messages: Vec<u64>,
    /// Accepted jobs whose message has not arrived.
    pub(crate) jobs: Vec<u64>,
    /// Reported properties with an older value than the last accepted one.
    pub(crate) reports: Vec<String>,
    pub(crate) lagged: u64,
}

impl Accepted {
    /// Records a call that was answered with 200.
    pub(crate) fn call(&self, number: u64, begun: Instant) {
        self.0.lock().calls.insert(number, (begun, Instant::now()));
    }

    /// Records the messages that arrive at the hub, until the task is aborted.
    pub(crate) fn listen(self: &Arc<Self>, hub: &Hub) -> JoinHandle<()> {
        let accepted = Arc::clone(self);
        let mut telemetry = hub.telemetry();
        tokio::spawn(async move {
            loop {
                match telemetry.recv().await {
                    Ok(message) => accepted.0.lock().arrived(&message),
                    Err(RecvError::Lagged(number)) => accepted.0.lock().lagged += number,
                    Err(RecvError::Closed) => return,
                }
            }
        })
    }

    /// Waits until everything accepted has arrived. After [`ARRIVAL_TIMEOUT`], returns the part that
    /// is still missing.
    pub(crate) async fn missing(&self, client: &Client, device: &DeviceId) -> Missing {
        let end = Instant::now() + ARRIVAL_TIMEOUT;
        loop {
            let twin = client.twin(device).await;
            let missing = self.0.lock().missing(twin.as_ref().ok().map(|t| &t.properties.reported));
            if missing.is_none() || Instant::now() >= end {
                return missing;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

impl Record {
    fn arrived(&mut self, message: &TelemetryMessage) {
        let Ok(body) = serde_json::from_slice::<BTreeMap<String, u64>>(&message.body) else {
            return;
        };
        let Some(number) = body.values().next() else { return };
        let arrived = self.messages.entry(*number).or_default();
        let has = |name| message.properties.get(name).is_some();
        arrived.of_call |= has("call");
        arrived.of_job |= has("job");
    }

    fn missing(&self, reported: Option<&serde_json::Map<String, serde_json::Value>>) -> Missing {
        let without = |arrived: fn(Arrived) -> bool| {
            let has = |number| self.messages.get(number).copied().is_some_and(arrived);
            let mut without: Vec<u64> =
                self.calls.keys().filter(|number| !has(number)).copied().collect();
            without.sort_unstable();
            without
        };
        let reports = (0..KEYS).filter_map(|key| self.stale(key, reported)).collect();
        Missing {
            accepted: self.calls.len(),
            messages: without(|arrived| arrived.of_call),
            jobs: without(|arrived| arrived.of_job),
            reports,
            lagged: self.lagged,
        }
    }

    /// Returns a description of the property if its value is older than the last accepted one.
    /// Concurrent calls may have reported in either order.
    fn stale(
        &self,
        key: u64,
        reported: Option<&serde_json::Map<String, serde_json::Value>>,
    ) -> Option<String> {
        let of_key = self.calls.iter().filter(|(number, _)| *number % KEYS == key);
        let last_begun = of_key.map(|(_, (begun, _))| begun).max()?;
        let name = format!("of-{key}");
        let value = reported.and_then(|reported| reported.get(&name)).and_then(|v| v.as_u64());
        let fresh = value.is_some_and(|number| match self.calls.get(&number) {
            Some((_, ended)) => ended >= last_begun,
            // A call whose answer was lost may still have reported.
            None => number % KEYS == key,
        });
        (!fresh).then(|| format!("{name} is {value:?}"))
    }
}

impl Missing {
    pub(crate) fn is_none(&self) -> bool {
        self.messages.is_empty() && self.jobs.is_empty() && self.reports.is_empty()
    }
}
