//! Event loop of a device.
//!
//! Passes methods to the router, and passes twin answers and changes to the twin. A method that
//! has to wait runs in a separate task and delays no other. The loop never waits for send
//! capacity: it retries a twin request that cannot be sent immediately.

pub(crate) mod admission;
mod calls;
pub(crate) mod certificate;
pub(crate) mod counts;
pub(crate) mod desired;
mod drain;
pub(crate) mod messages;
pub(crate) mod own_thread;
pub(crate) mod renewal;
pub(crate) mod status;
pub(crate) mod systemd;

use std::sync::Arc;
use std::time::Duration;

use protocol::id::RequestId;
use protocol::topic::DeviceTopic;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use crate::connection::Deliveries;
use crate::connection::{
    AnswerGuard, Connection, CredentialAnswer, Incoming, MalformedMethod, Method, Outbox,
};
use crate::device::counts::{Counts, Online};
use crate::device::systemd::ServiceManager;
use crate::lent::durable::Durable;
use crate::lent::metrics::Metrics;
use crate::lent::telemetry::Telemetry;
use crate::lent::twin::{Twin, TwinRequest};
use crate::router::{Answer, ReservedMethods, Router};
use crate::supervision::Supervisor;
use calls::Calls;
use drain::{Drain, DrainPurpose, DrainStep};
use messages::MessageReceiver;
use protocol::remote_method::reserved;

/// Maximum number of events handled before the loop polls its other branches.
const EVENTS_AT_ONCE: usize = 64;

/// A device with everything that its event loop uses.
pub(crate) struct Device {
    /// MQTT client id, for the log. Unlike a device id, it distinguishes the modules of a device.
    pub(crate) client_id: String,
    pub(crate) connection: Connection,
    pub(crate) router: Arc<Router>,
    /// Handler of the reserved methods; `None` if the device has none.
    pub(crate) reserved: Option<Arc<dyn ReservedMethods>>,
    /// Receiver of cloud-to-device messages; `None` if the device receives none.
    pub(crate) messages: Option<MessageReceiver>,
    pub(crate) twin: Arc<Twin>,
    pub(crate) telemetry: Arc<Telemetry>,
    /// Metrics that the plugins keep themselves.
    pub(crate) plugin_metrics: Arc<Metrics>,
    pub(crate) grace: Duration,
    pub(crate) counts: Arc<Counts>,
    pub(crate) service_manager: ServiceManager,
    pub(crate) supervisor: Supervisor,
    /// Latest answer to a request for a certificate.
    pub(crate) credential_answers: watch::Sender<Option<CredentialAnswer>>,
    /// Persisted data; `None` if nothing is persisted.
    pub(crate) durable: Option<Durable>,
    /// Runtime of the jobs, and of the calls that are not quick.
    pub(crate) workers: Handle,
}

/// Event that the loop handles.
enum Event {
    Incoming(Incoming),
    /// Twin request that may be ready to send.
    TwinReady,
    /// Due heartbeat to the service manager.
    AliveDue,
    /// Request to stop the host.
    Stop,
    /// Due reboot, which a plugin has requested.
    RebootDue,
    /// End of the reboot command without a reboot. The host continues.
    RebootOver,
    /// Time to check the progress of a drain.
    DrainTick,
}

impl Device {
    /// Runs until `stop` completes, then drains and disconnects.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        self.connection.start();
        let mut arrivals = Arrivals::new(&self.workers);
        let mut drain: Option<Drain> = None;
        // Time of the next `DrainTick`. It is kept across iterations, so that frequent events
        // do not postpone it.
        let mut tick = Instant::now();
        let mut stopping = false;
        let mut reboot: Option<AbortOnDropHandle<()>> = None;
        let _jobs = self.durable.as_ref().map(|durable| {
            let _workers = self.workers.enter();
            durable.run_jobs(Arc::clone(&self.router) as _, &self.supervisor)
        });
        loop {
            let event = tokio::select! {
                incoming = self.connection.next() => Event::Incoming(incoming),
                () = self.twin.ready() => Event::TwinReady,
                () = self.service_manager.alive_due() => Event::AliveDue,
                () = &mut stop, if !stopping => Event::Stop,
                () = reboot_due(self.durable.as_ref()), if drain.is_none() && reboot.is_none() => Event::RebootDue,
                () = task_ended(&mut reboot) => Event::RebootOver,
                () = sleep_until(tick), if drain.is_some() => Event::DrainTick,
            };
            match event {
                Event::Incoming(incoming) => {
                    self.take(&mut arrivals, incoming);
                    for _ in 1..EVENTS_AT_ONCE {
                        let Some(incoming) = self.connection.come() else { break };
                        self.take(&mut arrivals, incoming);
                    }
                }
                Event::TwinReady => {}
                Event::AliveDue => self.service_manager.alive(&self.supervisor.silent()),
                Event::Stop => {
                    stopping = true;
                    self.service_manager.stopping();
                    drain = Some(self.drain(&arrivals.calls, DrainPurpose::Stop));
                }
                Event::RebootDue => match &self.durable {
                    Some(durable) if durable.power.is_dry_run() => reboot = Some(durable.reboot()),
                    _ => drain = Some(self.drain(&arrivals.calls, DrainPurpose::Reboot)),
                },
                Event::RebootOver => {
                    reboot = None;
                    if let Some(durable) = self.durable.as_ref().filter(|_| !stopping) {
                        self.router.resume();
                        durable.jobs.resume();
                    }
                }
                Event::DrainTick => {
                    tick = Instant::now() + drain::TICK;
                    let jobs = self.durable.as_ref().is_none_or(|durable| durable.jobs.is_idle());
                    let delivered = self.telemetry.is_sent() && self.twin.is_reported();
                    let running = arrivals.calls.len();
                    let step = drain.as_mut().map_or(DrainStep::Wait, |drain| {
                        drain.step(Instant::now(), running == 0 && jobs, delivered)
                    });
                    match step {
                        DrainStep::Wait => {}
                        DrainStep::StopCalls => {
                            warn!(
                                device = self.client_id,
                                calls = running,
                                "calls stopped: the grace period is over"
                            );
                            self.router.stop_calls();
                        }
                        DrainStep::End(DrainPurpose::Stop) => break,
                        DrainStep::End(DrainPurpose::Reboot) => {
                            drain = None;
                            reboot = self.durable.as_ref().map(Durable::reboot);
                        }
                    }
                }
            }
            self.send_twin_requests();
        }
        if !self.twin.is_reported() {
            let next =
                if self.durable.is_some() { "they are sent after the next start" } else { "lost" };
            warn!(device = self.client_id, "stopped before all reports reached the hub: {next}");
        }
        self.supervisor.stopping();
        self.connection.close().await;
        drop(arrivals.online);
        info!(device = self.client_id, "stopped");
    }

    /// Handles an event of the connection.
    fn take(&mut self, arrivals: &mut Arrivals, incoming: Incoming) {
        match incoming {
            Incoming::Connected => {
                arrivals.online = Some(self.counts.online());
                self.service_manager.status("connected");
                self.twin.connected();
            }
            Incoming::Lost { deliberate } => {
                drop(arrivals.online.take());
                self.service_manager.status("not connected; trying again");
                self.twin.lost(deliberate);
            }
            Incoming::Method(method) => {
                let Method { rid, connection, redelivered, .. } = &method;
                if arrivals.deliveries.is_first(rid, *connection, *redelivered) {
                    self.call(&arrivals.calls, method);
                } else {
                    debug!(%rid, "method delivered again: ignored");
                }
            }
            Incoming::MalformedMethod(method) => {
                let MalformedMethod { rid, connection, redelivered, .. } = &method;
                if arrivals.deliveries.is_first(rid, *connection, *redelivered) {
                    self.refuse(&arrivals.calls, method);
                }
            }
            Incoming::TwinAnswer { status, rid, version, body } => {
                self.twin.answered(&rid, status, version, &body);
            }
            Incoming::Desired(change) => self.twin.desired_changed(&change),
            Incoming::CredentialAnswer(answer) => {
                self.credential_answers.send_replace(Some(answer));
            }
            Incoming::Message(message) => {
                let outbox = self.connection.outbox();
                match &self.messages {
                    Some(receiver) => receiver.receive(message, outbox, &self.workers),
                    // A subscription of an earlier configuration.
                    None => {
                        warn!(device = self.client_id, "message dropped: no plugin receives it");
                        outbox.acknowledge(message.delivery);
                    }
                }
            }
        }
    }

    /// Starts a drain, during which no calls and no jobs start.
    fn drain(&self, calls: &Calls, then: DrainPurpose) -> Drain {
        info!(device = self.client_id, calls = calls.len(), grace = ?self.grace, "draining");
        self.router.drain();
        if let Some(durable) = &self.durable {
            durable.jobs.drain();
        }
        Drain::begin(self.grace, then)
    }

    /// Answers a method.
    fn call(&self, calls: &Calls, method: Method) {
        let Method { name, rid, payload, arrived, .. } = method;
        let caller = self.caller(rid.clone(), arrived);
        if let (Some(own), Some(handler)) = (reserved(&name), self.reserved.clone()) {
            let own = own.to_owned();
            calls.start(name.clone().as_str(), async move {
                let (status, body) = handler.answer(&own, &payload).await;
                caller.answer(name.as_str(), Answer { status, body, call: "".into() }).await;
            });
            return;
        }
        let router = Arc::clone(&self.router);
        calls.start(name.clone().as_str(), async move {
            let answer = router.answer(&rid, &name, &payload).await;
            let call = Arc::clone(&answer.call);
            caller.answer(name.as_str(), answer).await;
            router.call_ended(&call);
        });
    }

    /// Refuses a malformed method.
    fn refuse(&self, calls: &Calls, method: MalformedMethod) {
        let MalformedMethod { rid, reason, arrived, .. } = method;
        let answer = self.router.refuse_malformed(&reason);
        let caller = self.caller(rid, arrived);
        calls.start("malformed", async move { caller.answer("malformed", answer).await });
    }

    /// Creates the return path for the answer of a method.
    fn caller(&self, rid: RequestId, arrived: Instant) -> Caller {
        let outbox = self.connection.outbox();
        let guard = outbox.begin_answer();
        Caller { rid, arrived, outbox, counts: Arc::clone(&self.counts), _guard: guard }
    }

    /// Sends the pending twin requests until the outbox is full.
    fn send_twin_requests(&self) {
        let outbox = self.connection.outbox();
        while let Some(TwinRequest { topic, body }) = self.twin.next() {
            if !outbox.request(&topic, body) {
                self.twin.not_sent();
                break;
            }
        }
    }
}

/// State of the loop that changes with events of the connection.
struct Arrivals {
    calls: Calls,
    deliveries: Deliveries,
    /// `None` while the device is not connected.
    online: Option<Online>,
}

impl Arrivals {
    fn new(workers: &Handle) -> Arrivals {
        let calls = Calls::new(workers.clone());
        Arrivals { calls, deliveries: Deliveries::default(), online: None }
    }
}

/// Return path to the caller of a method.
struct Caller {
    rid: RequestId,
    arrived: Instant,
    outbox: Outbox,
    counts: Arc<Counts>,
    _guard: AnswerGuard,
}

impl Caller {
    /// Counts and sends the answer.
    async fn answer(self, method: &str, answer: Answer) {
        let Caller { rid, arrived, outbox, counts, .. } = &self;
        counts.answered(answer.status);
        let topic = DeviceTopic::MethodAnswer { status: answer.status, rid: rid.clone() };
        if !outbox.answer(&topic, answer.body.into(), *arrived).await {
            let (late, waited) = (counts.late(), arrived.elapsed());
            warn!(method, %topic, ?waited, late, "answer too late: there was no connection");
        }
    }
}

/// Waits until a reboot that a plugin requested is due.
async fn reboot_due(durable: Option<&Durable>) {
    match durable {
        Some(durable) => durable.power.due().await,
        None => std::future::pending().await,
    }
}

/// Waits for the task to end; waits forever if there is none.
async fn task_ended(task: &mut Option<AbortOnDropHandle<()>>) {
    match task {
        // The panic hook has already reported a panic.
        Some(task) => drop(task.await),
        None => std::future::pending().await,
    }
}
