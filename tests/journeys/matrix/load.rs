//! The test of one cell, in which callers invoke methods continuously while the fault
//! happens.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hub::TelemetryMessage;
use parking_lot::Mutex;
use protocol::method::MethodRequest;
use protocol::mqtt5::ConnectionProfile;
use rig::{Rig, Running, Service, SignedBy, set};
use serde_json::{Value, json};
use service::ServiceErrorKind;
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use super::cells::Cell;
use super::table::Row;

/// The number of concurrent callers. Each reports a different property.
const CALLERS: usize = 4;

/// The number of calls before the fault, and of calls after it.
const CALLS: u64 = 20;

/// The time limit of each wait. It is long, since many cells share the machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The number of calls by outcome.
#[derive(Debug, Default)]
struct Tally {
    answered: AtomicU64,
    lost: AtomicU64,
}

/// The ids of the calls and jobs that the plugin has run, by payload.
#[derive(Debug, Default)]
struct Runs {
    calls: HashMap<String, HashSet<String>>,
    jobs: HashMap<String, HashSet<String>>,
}

pub(super) async fn run(profile: ConnectionProfile, cell: Cell) -> Row {
    // A busy machine may answer pings late, so only cells that need it have a short keep-alive.
    let keep_alive = set("hub.keep_alive", if cell.can_lose() { "3s" } else { "60s" });
    let rig = Rig::new().plugin("tells.wat", ());
    let rig = match profile {
        ConnectionProfile::Classic => rig.host(keep_alive),
        ConnectionProfile::MqttV5 => rig
            .certificate(SignedBy::Itself)
            .host([keep_alive, set("hub.profile", profile.to_string())]),
    };
    let rig = rig.start().await;
    let runs = Arc::new(Mutex::new(Runs::default()));
    let listening = tokio::spawn(listen(rig.hub().telemetry(), Arc::clone(&runs)));
    let (tally, stopping) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let caller = Caller {
            service: rig.service.clone(),
            property: format!("of-{number}"),
            // The test waits this long for a lost call. The limit is longer where no call may
            // be lost, since the machine may be busy.
            response_timeout: Duration::from_secs(if cell.can_lose() { 5 } else { 100 }),
            can_be_unsent: profile == ConnectionProfile::MqttV5 && cell.can_lose(),
            tally: Arc::clone(&tally),
            stopping: Arc::clone(&stopping),
        };
        callers.spawn(caller.call());
    }

    let fault = async {
        tally.until(CALLS).await;
        let happens = cell.begin(&rig);
        if cell.affects_desired() {
            desire_until(&rig, happens).await;
        }
        rig.hub().faults().until_happened(happens).await;
        tally.until(tally.calls() + CALLS).await;
    };
    within(cell, "the fault happens", fault).await;
    stopping.store(true, Ordering::Relaxed);

    let mut last = HashMap::new();
    let mut answered = Vec::new();
    let done = within(cell, "the last call of each caller is answered", callers.join_all()).await;
    for (property, numbers) in done {
        last.insert(property.clone(), *numbers.last().unwrap());
        answered.extend(numbers.into_iter().map(|n| payload(&property, n).to_string()));
    }
    within(cell, "the last value of each property is reported", until_reported(&rig, &last)).await;
    within(cell, "the message and the job of each call arrive", until_all_in(&runs, &answered))
        .await;
    if cell.affects_desired() {
        within(cell, "the plugin sees the last desired properties", until_desired(&rig)).await;
    }
    listening.abort();

    let runs = runs.lock();
    Row {
        cell,
        happened: rig.hub().faults().happened(),
        calls: tally.calls(),
        answered: tally.answered.load(Ordering::Relaxed),
        lost: tally.lost.load(Ordering::Relaxed),
        max_runs: max_runs(&runs.calls),
        max_job_runs: max_runs(&runs.jobs),
    }
}

/// Waits for a future. Panics with the promise if it does not resolve within [`TIMEOUT`].
async fn within<T>(cell: Cell, promise: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(TIMEOUT, future).await;
    result.unwrap_or_else(|_| panic!("{cell:?}: not within {TIMEOUT:?}: {promise}"))
}

struct Caller {
    service: Service,
    property: String,
    response_timeout: Duration,
    /// `true` if a probe can be lost. The hub then answers that the method has not run.
    can_be_unsent: bool,
    tally: Arc<Tally>,
    stopping: Arc<AtomicBool>,
}

impl Caller {
    /// Makes calls until one that started after `stopping` was set is answered. Returns the
    /// numbers of the answered calls.
    async fn call(self) -> (String, Vec<u64>) {
        let mut answered = Vec::new();
        for number in 1.. {
            let payload = payload(&self.property, number);
            let mut request = MethodRequest::new("tell".parse().unwrap(), payload.clone());
            let connect = if self.can_be_unsent { 10 } else { 100 };
            request.connect_timeout = Duration::from_secs(connect);
            request.response_timeout = self.response_timeout;
            let stopping = self.stopping.load(Ordering::Relaxed);
            match self.service.client.invoke(&self.service.device, &request).await {
                Ok(answer) => {
                    assert_eq!((answer.status, answer.payload.to_value()), (200, payload));
                    answered.push(number);
                    self.tally.answered.fetch_add(1, Ordering::Relaxed);
                    if stopping {
                        break;
                    }
                }
                // A restart of the hub also disconnects its callers.
                Err(error)
                    if matches!(
                        error.kind(),
                        ServiceErrorKind::TimedOut | ServiceErrorKind::Unreachable
                    ) =>
                {
                    self.tally.lost.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) if self.can_be_unsent && error.kind() == ServiceErrorKind::Offline => {
                    self.tally.lost.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => panic!("{} {number}: {error}", self.property),
            }
        }
        (self.property, answered)
    }
}

fn payload(property: &str, number: u64) -> Value {
    json!({ property: number })
}

impl Tally {
    fn calls(&self) -> u64 {
        self.answered.load(Ordering::Relaxed) + self.lost.load(Ordering::Relaxed)
    }

    async fn until(&self, calls: u64) {
        while self.calls() < calls {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Records the calls and jobs that have run. A message that MQTT delivers twice has the same
/// id both times.
async fn listen(mut telemetry: broadcast::Receiver<TelemetryMessage>, runs: Arc<Mutex<Runs>>) {
    loop {
        let message = telemetry.recv().await.unwrap();
        let body = String::from_utf8(message.body.to_vec()).unwrap();
        let mut runs = runs.lock();
        let (seen, id) = match message.properties.get("call") {
            Some(call) => (&mut runs.calls, call),
            None => (&mut runs.jobs, message.properties.get("job").unwrap()),
        };
        seen.entry(body).or_default().insert(id.to_owned());
    }
}

fn max_runs(runs: &HashMap<String, HashSet<String>>) -> usize {
    runs.values().map(HashSet::len).max().unwrap_or_default()
}

async fn until_all_in(runs: &Mutex<Runs>, answered: &[String]) {
    while !{
        let Runs { calls, jobs } = &*runs.lock();
        answered.iter().all(|payload| calls.contains_key(payload) && jobs.contains_key(payload))
    } {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until_reported(rig: &Running, last: &HashMap<String, u64>) {
    loop {
        let reported = rig.service.reported().await;
        if last.iter().all(|(property, number)| reported.get(property) == Some(&json!(number))) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Changes a desired property repeatedly until the fault has happened `happens` times.
async fn desire_until(rig: &Running, happens: u64) {
    let mut value = 0;
    while rig.hub().faults().happened() < happens {
        value += 1;
        rig.service.desire(json!({ "value": value })).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Makes another change and waits until the plugin sees it. Changes arrive in order, so the
/// plugin has then seen all earlier changes.
async fn until_desired(rig: &Running) {
    rig.service.desire(json!({ "value": "last" })).await;
    while rig.service.call("desired", Value::Null).await.unwrap().payload["value"] != "last" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
