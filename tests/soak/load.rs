//! Calls at a constant rate that does not depend on the latency of the answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::id::DeviceId;
use protocol::method::MethodRequest;
use serde_json::json;
use service::Client;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::accepted::{Accepted, KEYS};

/// The maximum number of calls in flight. New calls wait at this limit.
const MAX_IN_FLIGHT: usize = 5000;

/// The number of calls by outcome, and the latency of the answered calls.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Outcomes {
    pub(crate) calls: u64,
    /// The number of calls answered with 200.
    pub(crate) answered: u64,
    /// The number of calls answered with another status, such as 429 from a plugin at its limit
    /// of calls.
    pub(crate) refused: u64,
    /// The number of calls without an answer.
    pub(crate) lost: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

#[derive(Default)]
struct Tally {
    calls: AtomicU64,
    answered: AtomicU64,
    refused: AtomicU64,
    lost: AtomicU64,
    /// The latencies of the calls answered since the last report.
    times: Mutex<Vec<Duration>>,
    /// The totals at the last report.
    before: Mutex<Outcomes>,
    /// The number of other answers, by status and error code.
    others: Mutex<BTreeMap<String, u64>>,
}

pub(crate) struct Load {
    tally: Arc<Tally>,
    permits: Arc<Semaphore>,
    calling: JoinHandle<()>,
}

impl Load {
    pub(crate) fn start(
        client: Client,
        device: DeviceId,
        rate: u32,
        accepted: Arc<Accepted>,
    ) -> Load {
        let tally = Arc::new(Tally::default());
        let permits = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
        let (task_tally, task_permits) = (Arc::clone(&tally), Arc::clone(&permits));
        let calling = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for number in 0_u64.. {
                ticks.tick().await;
                let permit = Arc::clone(&task_permits).acquire_owned().await.unwrap();
                let (client, device, tally) =
                    (client.clone(), device.clone(), Arc::clone(&task_tally));
                let accepted = Arc::clone(&accepted);
                tokio::spawn(async move {
                    call(&client, &device, &tally, &accepted, number).await;
                    drop(permit);
                });
            }
        });
        Load { tally, permits, calling }
    }

    /// Returns the outcomes since the previous call of this method.
    pub(crate) fn since_last(&self) -> Outcomes {
        let now = self.tally.now();
        let before = std::mem::replace(&mut *self.tally.before.lock(), now);
        let mut times = std::mem::take(&mut *self.tally.times.lock());
        times.sort_unstable();
        let percentile = |percent: usize| {
            let time = times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
            time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
        };
        Outcomes {
            calls: now.calls - before.calls,
            answered: now.answered - before.answered,
            refused: now.refused - before.refused,
            lost: now.lost - before.lost,
            p50_ms: percentile(50),
            p99_ms: percentile(99),
        }
    }

    /// Returns the number of answers other than 200, by status and error code.
    pub(crate) fn others(&self) -> BTreeMap<String, u64> {
        self.tally.others.lock().clone()
    }

    /// Stops calling, waits for the calls in flight and returns the totals.
    pub(crate) async fn finish(self) -> Outcomes {
        self.calling.abort();
        let all = u32::try_from(MAX_IN_FLIGHT).unwrap();
        drop(self.permits.acquire_many(all).await.unwrap());
        self.tally.now()
    }
}

impl Tally {
    fn now(&self) -> Outcomes {
        Outcomes {
            calls: self.calls.load(Relaxed),
            answered: self.answered.load(Relaxed),
            refused: self.refused.load(Relaxed),
            lost: self.lost.load(Relaxed),
            ..Outcomes::default()
        }
    }
}

async fn call(client: &Client, device: &DeviceId, tally: &Tally, accepted: &Accepted, number: u64) {
    let payload = json!({ format!("of-{}", number % KEYS): number });
    let mut request = MethodRequest::new("tell".parse().unwrap(), payload);
    request.connect_timeout = Duration::from_secs(60);
    tally.calls.fetch_add(1, Relaxed);
    let started = Instant::now();
    match client.invoke(device, &request).await {
        Ok(answer) if answer.status == 200 => {
            tally.answered.fetch_add(1, Relaxed);
            accepted.call(number, started);
            tally.times.lock().push(started.elapsed());
        }
        Ok(answer) => {
            tally.refused.fetch_add(1, Relaxed);
            let error = answer.payload.to_value();
            let error = error["error"].as_str().unwrap_or("without an error code");
            let kind = format!("{} {error}", answer.status);
            *tally.others.lock().entry(kind).or_default() += 1;
        }
        Err(_) => drop(tally.lost.fetch_add(1, Relaxed)),
    }
}
