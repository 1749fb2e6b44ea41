//! Direct methods in flight.
//!
//! [`Methods::invoke`] sends a method to the device's session and waits for the answer,
//! which the session passes to [`Methods::answer`]. Answers are matched by device, not by
//! connection, so a device can answer after it has reconnected.

mod handshake;
mod outcome;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use protocol::error::{ErrorCode, HubError};
use protocol::id::RequestId;
use protocol::method::{MethodRequest, MethodResult};
use protocol::topic::HubTopic;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::events::{EventData, EventKind, data};
use crate::faults::{Faults, Step};
use crate::mqtt::Outbound;
use crate::sessions::{MethodLink, MethodRoute, Sessions};
use crate::state::Owner;
pub(crate) use handshake::DeviceStep;
use handshake::Handshakes;
pub(crate) use outcome::{MethodOutcome, method_outcome};

/// Maximum number of methods in flight for each device, to limit memory. IoT Hub has a similar
/// limit but does not publish the number.
const MAX_IN_FLIGHT: usize = 20_000;

/// The methods in flight, by device and request id.
pub(crate) struct Methods {
    sessions: Arc<Sessions>,
    faults: Arc<Faults>,
    pending: Mutex<HashMap<Owner, PendingAnswers>>,
    next_rid: AtomicU64,
    /// The methods in flight of devices with MQTT 5.
    handshakes: Handshakes,
}

type PendingAnswers = HashMap<RequestId, oneshot::Sender<MethodOutcome>>;

impl Methods {
    pub(crate) fn new(sessions: Arc<Sessions>, faults: Arc<Faults>) -> Methods {
        // Request ids start at random: if they restarted at 1, a late answer to a call
        // before a restart could match a later call. The time is a fallback.
        let start = getrandom::u32().unwrap_or_else(|_| jiff::Timestamp::now().as_second() as u32);
        let next_rid = AtomicU64::new(u64::from(start) << 20);
        Methods {
            sessions,
            faults,
            pending: Mutex::default(),
            next_rid,
            handshakes: Handshakes::default(),
        }
    }

    /// Calls a method. Waits for the device to subscribe until the request's connect
    /// timeout, then for the answer until its response timeout.
    pub(crate) async fn invoke(&self, id: &Owner, request: &MethodRequest) -> MethodOutcome {
        let started = Instant::now();
        let outcome = self.call(id, request).await;
        let events = self.sessions.events();
        events.publish(EventKind::Method, &id.device, || {
            let mut event = event(request, &outcome, started.elapsed());
            id.add_module(&mut event);
            event
        });
        outcome
    }

    async fn call(&self, id: &Owner, request: &MethodRequest) -> MethodOutcome {
        let deadline = Instant::now() + request.connect_timeout;
        let link = match self.route(id, deadline).await {
            Some(link) if link.in_flight.is_some() => {
                return self.invoke_in_steps(id, request, deadline).await;
            }
            Some(link) => link,
            None => return Err(not_online(request.connect_timeout)),
        };
        let (pending, answer) = self.register(id)?;
        let topic = HubTopic::Method { name: request.name.clone(), rid: pending.rid.clone() };
        let (topic, body) = (topic.to_string(), request.payload.get());
        let packet = Outbound::Publish { topic: &topic, payload: body.as_bytes() }.encode();
        let answered = timeout(request.response_timeout, async {
            self.send(id, link, Step::Method, packet).await;
            answer.await
        });
        match answered.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(no_answer(request.response_timeout)),
        }
    }

    /// Waits until `deadline` for the device to be ready for methods.
    async fn route(&self, id: &Owner, deadline: Instant) -> Option<MethodLink> {
        loop {
            let mut ready = match self.sessions.method_route(id) {
                MethodRoute::Ready(link) => return Some(link),
                MethodRoute::NotReady(ready) => ready,
            };
            // The channel cannot close, since the sessions hold its sender.
            let _ = timeout_at(deadline, ready.wait_for(|ready| *ready)).await.ok()?;
        }
    }

    /// Sends a packet of a method, and waits while the queue is full. If the session ends, the
    /// call times out.
    ///
    /// Takes the link by value to drop it before the wait for the answer, since an ending
    /// session waits for its outlets.
    async fn send(&self, id: &Owner, link: MethodLink, step: Step, packet: bytes::Bytes) {
        let handling = self.faults.handling(step, Some(&id.device));
        let _ = link.outlet.send(packet, handling).await;
        if handling.drops_connection() {
            self.sessions.drop_session(id, link.serial);
        }
    }

    /// Registers a call under a new request id.
    fn register(
        &self,
        id: &Owner,
    ) -> Result<(PendingCall<'_>, oneshot::Receiver<MethodOutcome>), HubError> {
        let number = self.next_rid.fetch_add(1, Ordering::Relaxed);
        let rid: RequestId = number.to_string().parse().expect("digits are a request id");
        let (sender, answer) = oneshot::channel();
        let mut pending = self.pending.lock();
        let answers = pending.entry(id.clone()).or_default();
        if answers.len() >= MAX_IN_FLIGHT {
            let text = format!("the device has {MAX_IN_FLIGHT} methods in flight");
            return Err(HubError::new(ErrorCode::DeviceMaximumInflightMethodExceeded, text));
        }
        answers.insert(rid.clone(), sender);
        Ok((PendingCall { methods: self, owner: id.clone(), rid }, answer))
    }

    /// Passes an answer to its pending call. Drops the answer if there is none.
    pub(crate) fn answer(&self, id: &Owner, rid: &RequestId, outcome: MethodOutcome) {
        if let Some(waiting) = self.take(id, rid) {
            // The send fails if the caller has just given up.
            let _ = waiting.send(outcome);
        }
    }

    fn take(&self, id: &Owner, rid: &RequestId) -> Option<oneshot::Sender<MethodOutcome>> {
        let mut pending = self.pending.lock();
        let answers = pending.get_mut(id)?;
        let taken = answers.remove(rid);
        if answers.is_empty() {
            pending.remove(id);
        }
        taken
    }
}

/// Registration of a pending call, which is removed when dropped.
struct PendingCall<'a> {
    methods: &'a Methods,
    owner: Owner,
    rid: RequestId,
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        self.methods.take(&self.owner, &self.rid);
    }
}

/// Returns an invocation with its outcome as the data of an event.
fn event(request: &MethodRequest, outcome: &MethodOutcome, took: Duration) -> EventData {
    let mut event = data(json!({
        "methodName": request.name,
        "requestPayload": request.payload.get(),
        "milliseconds": took.as_secs_f64() * 1000.0,
    }));
    match outcome {
        Ok(MethodResult { status, payload }) => {
            event.insert("status".to_owned(), json!(status));
            event.insert("payload".to_owned(), json!(payload.get()));
        }
        Err(error) => {
            event.insert("errorCode".to_owned(), json!(error.code.number()));
            event.insert("error".to_owned(), json!(error.message));
        }
    }
    event
}

fn not_online(waited: Duration) -> HubError {
    HubError::new(ErrorCode::DeviceNotOnline, "Timed out waiting for device to connect.")
        .with_info("timeout", clock(waited))
}

fn no_answer(waited: Duration) -> HubError {
    HubError::new(ErrorCode::GatewayTimeout, "Timed out waiting for the response from device.")
        .with_info("timeout", clock(waited))
}

/// Formats a duration as `hh:mm:ss`.
fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests;
