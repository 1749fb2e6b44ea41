//! Calls at a steady rate, independent of the time their answers take.

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

/// Calls that may be in flight at once; at this number, new calls wait.
const MOST_AT_ONCE: usize = 5000;

/// The number of calls by their outcome, and the times of the answered ones.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) calls: u64,
    /// Calls answered with 200.
    pub(crate) answered: u64,
    /// Calls answered with another status, such as 429 from a plugin at its limit of calls.
    pub(crate) refused: u64,
    /// Calls without an answer.
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
    /// The times of the calls answered since the last report.
    times: Mutex<Vec<Duration>>,
    /// The totals at the last report.
    before: Mutex<Seen>,
    /// The number of other answers, by status and error code.
    others: Mutex<BTreeMap<String, u64>>,
}

pub(crate) struct Load {
    tally: Arc<Tally>,
    places: Arc<Semaphore>,
    calling: JoinHandle<()>,
}

impl Load {
    pub(crate) fn start(client: Client, device: DeviceId, rate: u32) -> Load {
        let tally = Arc::new(Tally::default());
        let places = Arc::new(Semaphore::new(MOST_AT_ONCE));
        let (own, own_places) = (Arc::clone(&tally), Arc::clone(&places));
        let calling = tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_secs(1) / rate);
            beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for number in 0_u64.. {
                beat.tick().await;
                let place = Arc::clone(&own_places).acquire_owned().await.unwrap();
                let (client, device, tally) = (client.clone(), device.clone(), Arc::clone(&own));
                tokio::spawn(async move {
                    call(&client, &device, &tally, number).await;
                    drop(place);
                });
            }
        });
        Load { tally, places, calling }
    }

    /// Returns the outcomes since the previous call of this method.
    pub(crate) fn since_last(&self) -> Seen {
        let now = self.tally.now();
        let before = std::mem::replace(&mut *self.tally.before.lock(), now);
        let mut times = std::mem::take(&mut *self.tally.times.lock());
        times.sort_unstable();
        let at = |part: usize| {
            let time = times.get((times.len() * part / 100).min(times.len().saturating_sub(1)));
            time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
        };
        Seen {
            calls: now.calls - before.calls,
            answered: now.answered - before.answered,
            refused: now.refused - before.refused,
            lost: now.lost - before.lost,
            p50_ms: at(50),
            p99_ms: at(99),
        }
    }

    /// Returns the number of answers other than 200, by status and error code.
    pub(crate) fn others(&self) -> BTreeMap<String, u64> {
        self.tally.others.lock().clone()
    }

    /// Stops calling, waits for the calls in flight and returns the totals.
    pub(crate) async fn finish(self) -> Seen {
        self.calling.abort();
        let all = u32::try_from(MOST_AT_ONCE).unwrap();
        drop(self.places.acquire_many(all).await.unwrap());
        self.tally.now()
    }
}

impl Tally {
    fn now(&self) -> Seen {
        Seen {
            calls: self.calls.load(Relaxed),
            answered: self.answered.load(Relaxed),
            refused: self.refused.load(Relaxed),
            lost: self.lost.load(Relaxed),
            ..Seen::default()
        }
    }
}

async fn call(client: &Client, device: &DeviceId, tally: &Tally, number: u64) {
    let payload = json!({ format!("of-{}", number % 50): number });
    let mut request = MethodRequest::new("tell".parse().unwrap(), payload);
    request.connect_timeout = Duration::from_secs(60);
    tally.calls.fetch_add(1, Relaxed);
    let begun = Instant::now();
    match client.invoke(device, &request).await {
        Ok(answer) if answer.status == 200 => {
            tally.answered.fetch_add(1, Relaxed);
            tally.times.lock().push(begun.elapsed());
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
