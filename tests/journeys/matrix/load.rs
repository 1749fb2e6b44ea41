//! One cell at work: callers that call without pause, while it goes wrong.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hub::Message;
use protocol::method::MethodRequest;
use rig::{Rig, Running, Service, set};
use serde_json::{Value, json};
use service::ServiceErrorKind;
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use super::cells::Cell;
use super::table::Row;

/// Callers at once; each has a property of its own.
const CALLERS: usize = 4;

/// Calls before it goes wrong, and after.
const CALLS: u64 = 20;

/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// What became of calls.
#[derive(Debug, Default)]
struct Tally {
    answered: AtomicU64,
    lost: AtomicU64,
}

/// What the plugin has run: the ids of its calls and of its jobs, by payload.
#[derive(Debug, Default)]
struct Runs {
    calls: HashMap<String, HashSet<String>>,
    jobs: HashMap<String, HashSet<String>>,
}

pub(super) async fn run(cell: Cell) -> Row {
    // A busy machine may be silent for some seconds: only where the silence is
    // the fault it should be noticed soon.
    let keep_alive = set("hub.keep_alive", if cell.may_lose() { "3s" } else { "60s" });
    let rig = Rig::new().plugin("tells.wat", ()).host(keep_alive).start().await;
    let runs = Arc::new(Mutex::new(Runs::default()));
    let listening = tokio::spawn(listen(rig.hub().telemetry(), Arc::clone(&runs)));
    let (tally, stopping) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let caller = Caller {
            service: rig.service.clone(),
            property: format!("of-{number}"),
            // What is lost costs this; what is not must not, however busy the machine.
            response_timeout: Duration::from_secs(if cell.may_lose() { 5 } else { 100 }),
            tally: Arc::clone(&tally),
            stopping: Arc::clone(&stopping),
        };
        callers.spawn(caller.call());
    }

    let within = |what: &'static str| move |_| panic!("{cell:?}: {what}: not in time");
    let goes_wrong = async {
        tally.until(CALLS).await;
        let happens = cell.begin(&rig);
        if cell.is_of_desired() {
            desire_until(&rig, happens).await;
        }
        rig.hub().faults().until_happened(happens).await;
        tally.until(tally.calls() + CALLS).await;
    };
    tokio::time::timeout(PATIENCE, goes_wrong).await.unwrap_or_else(within("the fault"));
    stopping.store(true, Ordering::Relaxed);

    let mut last = HashMap::new();
    let mut answered = Vec::new();
    while let Some(done) = callers.join_next().await {
        let (property, numbers) = done.unwrap();
        last.insert(property.clone(), *numbers.last().unwrap());
        answered.extend(numbers.into_iter().map(|n| payload(&property, n).to_string()));
    }
    tokio::time::timeout(PATIENCE, until_reported(&rig, &last))
        .await
        .unwrap_or_else(within("the last value of each property"));
    tokio::time::timeout(PATIENCE, until_all_in(&runs, &answered))
        .await
        .unwrap_or_else(within("the message and the job of each call"));
    if cell.is_of_desired() {
        tokio::time::timeout(PATIENCE, until_desired(&rig))
            .await
            .unwrap_or_else(within("the desired properties"));
    }
    listening.abort();

    let runs = runs.lock().unwrap();
    Row {
        cell,
        happened: rig.hub().faults().happened(),
        calls: tally.calls(),
        answered: tally.answered.load(Ordering::Relaxed),
        lost: tally.lost.load(Ordering::Relaxed),
        most_runs: most(&runs.calls),
        most_job_runs: most(&runs.jobs),
    }
}

struct Caller {
    service: Service,
    property: String,
    response_timeout: Duration,
    tally: Arc<Tally>,
    stopping: Arc<AtomicBool>,
}

impl Caller {
    /// Calls until it is told to stop and its last call was answered. Gives the
    /// numbers of the calls that were.
    async fn call(self) -> (String, Vec<u64>) {
        let mut answered = Vec::new();
        for number in 1.. {
            let payload = payload(&self.property, number);
            let mut request = MethodRequest::new("tell".parse().unwrap(), payload.clone());
            request.connect_timeout = Duration::from_secs(100);
            request.response_timeout = self.response_timeout;
            let stopping = self.stopping.load(Ordering::Relaxed);
            match self.service.client.invoke(&self.service.device, &request).await {
                Ok(answer) => {
                    assert_eq!((answer.status, answer.payload), (200, payload));
                    answered.push(number);
                    self.tally.answered.fetch_add(1, Ordering::Relaxed);
                    if stopping {
                        break;
                    }
                }
                // The hub that restarts cuts its callers off as well.
                Err(error)
                    if matches!(
                        error.kind(),
                        ServiceErrorKind::TimedOut | ServiceErrorKind::Unreachable
                    ) =>
                {
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

/// Notes which calls have run. A message that MQTT delivers twice is of one call.
async fn listen(mut telemetry: broadcast::Receiver<Message>, runs: Arc<Mutex<Runs>>) {
    loop {
        let message = telemetry.recv().await.unwrap();
        let body = String::from_utf8(message.body.to_vec()).unwrap();
        let mut runs = runs.lock().unwrap();
        let (seen, id) = match message.properties.get("call") {
            Some(call) => (&mut runs.calls, call),
            None => (&mut runs.jobs, message.properties.get("job").unwrap()),
        };
        seen.entry(body).or_default().insert(id.to_owned());
    }
}

fn most(runs: &HashMap<String, HashSet<String>>) -> usize {
    runs.values().map(HashSet::len).max().unwrap_or_default()
}

async fn until_all_in(runs: &Mutex<Runs>, answered: &[String]) {
    while !{
        let Runs { calls, jobs } = &*runs.lock().unwrap();
        answered.iter().all(|payload| calls.contains_key(payload) && jobs.contains_key(payload))
    } {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until_reported(rig: &Running, last: &HashMap<String, u64>) {
    loop {
        let twin = rig.service.client.twin(&rig.service.device).await.unwrap();
        let reported = &twin.properties.reported;
        if last.iter().all(|(property, number)| reported.get(property) == Some(&json!(number))) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Changes a desired property until the fault has happened so often.
async fn desire_until(rig: &Running, happens: u64) {
    let mut wish = 0;
    while rig.hub().faults().happened() < happens {
        wish += 1;
        desire(rig, json!(wish)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn desire(rig: &Running, wish: Value) {
    let patch = json!({"properties": {"desired": {"wish": wish}}});
    rig.service.client.patch_twin(&rig.service.device, patch, None).await.unwrap();
}

/// One more change, and the plugin sees it: none before it is missing for long.
async fn until_desired(rig: &Running) {
    desire(rig, json!("the last")).await;
    while rig.service.call("desired", Value::Null).await.unwrap().payload["wish"] != "the last" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
