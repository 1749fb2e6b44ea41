//! The device at work: one loop, one closed enum of events, one match.
//!
//! It joins what the connection brings to those who answer: methods to the
//! router, twin answers and changes to the twin. Each method runs in a task of
//! its own, so that none waits for another. The loop itself never waits for room
//! to send: what it sends goes out at once or is asked for again.

use std::sync::Arc;
use std::time::Duration;

use protocol::id::DeviceId;
use protocol::topic::DeviceTopic;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::connection::{Connection, Incoming, Method, Outbox};
use crate::counts::Counts;
use crate::deliveries::Deliveries;
use crate::router::Router;
use crate::supervisor::Supervisor;
use crate::telemetry::Telemetry;
use crate::twin::{Request, Twin};

/// How often the end of a drain is looked for.
const DRAIN_TICK: Duration = Duration::from_millis(20);

/// How long the answers of stopped calls may take to leave.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) connection: Connection,
    pub(crate) router: Arc<Router>,
    pub(crate) twin: Arc<Twin>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) grace: Duration,
    pub(crate) counts: Arc<Counts>,
    pub(crate) supervisor: Supervisor,
}

enum Event {
    Incoming(Incoming),
    /// There may be a twin request to send.
    TwinReady,
    /// Whoever has started the host wants to know that it is alive.
    AliveDue,
    /// Told to stop: no new calls.
    Stop,
    /// Draining: look whether all is done.
    DrainTick,
}

/// The end of a drain: of the running calls, then of everything.
#[derive(Clone, Copy)]
struct Drain {
    calls_until: Instant,
    answers_until: Instant,
}

impl Device {
    /// Runs until `stop`, then drains and disconnects.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let calls = TaskTracker::new();
        let mut deliveries = Deliveries::default();
        let mut drain: Option<Drain> = None;
        let mut online = None;
        loop {
            let tick = Instant::now() + DRAIN_TICK;
            let event = tokio::select! {
                incoming = self.connection.next() => match incoming {
                    Some(incoming) => Event::Incoming(incoming),
                    None => break,
                },
                () = self.twin.ready() => Event::TwinReady,
                () = self.supervisor.alive_due() => Event::AliveDue,
                () = &mut stop, if drain.is_none() => Event::Stop,
                () = sleep_until(tick), if drain.is_some() => Event::DrainTick,
            };
            match event {
                Event::Incoming(Incoming::Connected) => {
                    online = Some(self.counts.online());
                    self.supervisor.status("connected");
                    self.twin.connected();
                }
                Event::Incoming(Incoming::Lost) => {
                    drop(online.take());
                    self.supervisor.status("not connected; trying again");
                    self.twin.lost();
                }
                Event::Incoming(Incoming::Method(method)) => {
                    let Method { rid, connection, redelivered, .. } = &method;
                    if deliveries.is_first(rid, *connection, *redelivered) {
                        self.call(&calls, method);
                    } else {
                        debug!(%rid, "method delivered again: ignored");
                    }
                }
                Event::Incoming(Incoming::TwinAnswer { status, rid, version, body }) => {
                    self.twin.answered(&rid, status, version, &body);
                }
                Event::Incoming(Incoming::Desired(change)) => self.twin.desired_changed(&change),
                Event::TwinReady => {}
                Event::AliveDue => self.supervisor.alive(),
                Event::Stop => {
                    info!(device = %self.id, calls = calls.len(), grace = ?self.grace, "draining");
                    self.supervisor.stopping();
                    self.router.drain();
                    let calls_until = Instant::now() + self.grace;
                    let answers_until = calls_until + LAST_ANSWERS;
                    drain = Some(Drain { calls_until, answers_until });
                }
                Event::DrainTick => {
                    let now = Instant::now();
                    let Drain { calls_until, answers_until } =
                        drain.expect("ticks begin with the drain");
                    if now >= calls_until && !calls.is_empty() {
                        warn!(device = %self.id, calls = calls.len(), "calls stopped: the grace is over");
                        self.router.stop_calls();
                    }
                    let silent = calls.is_empty() && self.telemetry.is_sent();
                    let done = silent && (self.twin.is_reported() || now >= calls_until);
                    if done || now >= answers_until {
                        break;
                    }
                }
            }
            self.ask_for_twin();
        }
        if !self.twin.is_reported() {
            warn!(device = %self.id, "stopped before all reports reached the hub");
        }
        self.connection.close().await;
        drop(online);
        info!(device = %self.id, "stopped");
    }

    /// Answers a method in a task of its own.
    fn call(&self, calls: &TaskTracker, method: Method) {
        let Method { name, rid, payload, arrived, .. } = method;
        let router = Arc::clone(&self.router);
        let outbox: Outbox = self.connection.outbox();
        let under_way = outbox.under_way();
        let counts = Arc::clone(&self.counts);
        calls.spawn(async move {
            let answer = router.answer(&name, &payload).await;
            counts.answered(answer.status);
            let topic = DeviceTopic::MethodAnswer { status: answer.status, rid };
            if !outbox.answer(&topic, answer.body.into(), arrived).await {
                let (late, waited) = (counts.late(), arrived.elapsed());
                warn!(method = %name, %topic, ?waited, late, "answer too late: there was no connection");
            }
            drop(under_way);
        });
    }

    fn ask_for_twin(&self) {
        let outbox = self.connection.outbox();
        while let Some(Request { topic, body }) = self.twin.next() {
            if !outbox.request(&topic, body) {
                self.twin.not_sent();
                break;
            }
        }
    }
}
