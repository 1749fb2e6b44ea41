//! Steady calls while a fleet moves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use crate::invoker::{Connection, Invoker, Request};
use crate::numbers::Times;
use crate::say;
use crate::versions::answered;

/// The rate of the calls.
pub(super) const PER_SECOND: usize = 200;

/// The number of connections. A call that takes long occupies one of them.
const CONNECTIONS: usize = 64;

/// The time limit of a call, which exceeds that of the hub.
const CALL_TIMEOUT: Duration = Duration::from_secs(150);

/// Running calls, one device after the other.
pub(super) struct Calls {
    stopping: Arc<AtomicBool>,
    running: JoinSet<anyhow::Result<Vec<Call>>>,
}

/// A call that has ended.
pub(super) struct Call {
    /// The index of the device.
    pub(super) device: usize,
    pub(super) sent: Timestamp,
    pub(super) ended: Timestamp,
    pub(super) time: Duration,
    /// The number of the version that answered, or the reason why the call is lost.
    pub(super) outcome: Result<usize, String>,
}

impl Calls {
    /// Starts calling these devices with `version`.
    pub(super) async fn start(invoker: &Invoker, devices: &[String]) -> anyhow::Result<Calls> {
        let request = |device: &String| invoker.request(device, "version", "null");
        let requests: Arc<[Request]> = devices.iter().map(request).collect();
        let (stopping, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let begun = Instant::now();
        let mut running = JoinSet::new();
        for connection in invoker.connections(CONNECTIONS).await? {
            let caller = Caller {
                invoker: invoker.clone(),
                requests: Arc::clone(&requests),
                stopping: Arc::clone(&stopping),
                next: Arc::clone(&next),
                begun,
            };
            running.spawn(caller.run(connection));
        }
        Ok(Calls { stopping, running })
    }

    /// Ends the calls, and returns them in the order of their start.
    pub(super) async fn stop(mut self) -> anyhow::Result<Vec<Call>> {
        self.stopping.store(true, Ordering::Relaxed);
        let mut calls = Vec::new();
        while let Some(ended) = self.running.join_next().await {
            calls.extend(ended??);
        }
        calls.sort_by_key(|call| call.sent);
        Ok(calls)
    }
}

/// A connection that makes calls.
struct Caller {
    invoker: Invoker,
    requests: Arc<[Request]>,
    stopping: Arc<AtomicBool>,
    next: Arc<AtomicUsize>,
    begun: Instant,
}

impl Caller {
    async fn run(self, mut connection: Connection) -> anyhow::Result<Vec<Call>> {
        let mut calls = Vec::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let due = Duration::from_secs(1) * u32::try_from(number)? / PER_SECOND as u32;
            sleep_until((self.begun + due).into()).await;
            if self.stopping.load(Ordering::Relaxed) {
                return Ok(calls);
            }
            let device = number % self.requests.len();
            let (begun, sent) = (Instant::now(), Timestamp::now());
            let answer = timeout(CALL_TIMEOUT, connection.ask(&self.requests[device])).await;
            let outcome = match answer {
                Ok(Ok(answer)) => answered(&answer).ok_or(answer),
                Ok(Err(error)) => Err(format!("{error:#}")),
                Err(_) => Err(format!("no answer within {CALL_TIMEOUT:?}")),
            };
            if outcome.is_err() {
                connection = self.invoker.connect().await?;
            }
            let (ended, time) = (Timestamp::now(), begun.elapsed());
            calls.push(Call { device, sent, ended, time, outcome });
        }
    }
}

/// Returns the number of lost calls, and prints the reasons.
pub(super) fn lost(calls: &[Call]) -> usize {
    let mut reasons = BTreeMap::<&str, usize>::new();
    for reason in calls.iter().filter_map(|call| call.outcome.as_ref().err()) {
        *reasons.entry(reason).or_default() += 1;
    }
    for (reason, number) in reasons.iter().take(5) {
        say(&format!("rollout: {number} calls lost: {reason}"));
    }
    reasons.values().sum()
}

/// Returns the times of the calls.
pub(super) fn times(calls: &[Call]) -> Times {
    let mut times = Times::default();
    calls.iter().for_each(|call| times.push(call.time));
    times
}
