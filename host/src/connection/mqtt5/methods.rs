//! The steps of methods on the device: ready or rejected, exec, result, abandon.
//!
//! A ready id reserves a call of its plugin until its exec, until its time is over, or until its
//! connection ends. The id itself outlives the connection, since a hub that has kept the session
//! delivers an unacknowledged exec again. It is used once, so the method runs once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::id::{MethodName, RequestId};
use protocol::mqtt5::{
    Abandon, AbandonReason, CorrelationId, Exec, Message as _, Probe, ProbeAck, Rejection,
};
use protocol::topic::HubTopic;
use rumqttc::{Publish, QoS};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::executed::{Executed, ExecutedMethods};
use crate::connection::admission::{Admission, ProbedCall};

/// The maximum number of ready ids. Further probes are rejected.
const MAX_READY: usize = 512;

/// The shortest and the longest time that is kept free for the way to the caller.
const MIN_MARGIN: Duration = Duration::from_secs(1);
const MAX_MARGIN: Duration = Duration::from_secs(10);

/// The time before the end of a result's use after which it is not sent. Probes are answered at
/// once, and their use is counted in whole seconds.
pub(super) const MIN_USE: Duration = Duration::from_secs(1);

/// The methods of a device, which its connections share.
pub(in crate::connection) type SharedMethods = Arc<Mutex<ReadyMethods>>;

/// A step that the device takes.
#[derive(Debug)]
pub(super) enum MethodStep {
    /// An answer to a probe, and the time in which it is of use.
    Ack(CorrelationId, ProbeAck, Option<Duration>),
    /// A method that does not run, and the time in which that is of use.
    Abandon(CorrelationId, Abandon, Duration),
    /// A method to run, as a message of MQTT 3.1.1.
    Run(Publish),
}

/// The methods for which the device is ready, by request id.
pub(in crate::connection) struct ReadyMethods {
    admission: Arc<dyn Admission>,
    ready: HashMap<CorrelationId, Ready>,
    /// A time before which no ready id has to be abandoned; `None` if there is none. It may be
    /// that of an id that was used since.
    earliest: Option<Instant>,
    executed: ExecutedMethods,
    next_id: u64,
}

struct Ready {
    id: CorrelationId,
    method: MethodName,
    /// The reserved call; `None` once the connection of the probe has ended.
    call: Option<ProbedCall>,
    /// The nonce of the connection of the probe.
    connection: CorrelationId,
    response: Duration,
    /// The time above which the exec leaves enough time to run the method.
    least: Duration,
    until: Instant,
}

impl ReadyMethods {
    pub(in crate::connection) fn new(admission: Arc<dyn Admission>) -> ReadyMethods {
        let executed = ExecutedMethods::default();
        ReadyMethods { admission, ready: HashMap::new(), earliest: None, executed, next_id: 0 }
    }

    /// Answers a probe that is of use for `expiry` seconds; without a limit if there is none.
    /// `connection` is the nonce of the connection on which it has arrived.
    pub(super) fn probed(
        &mut self,
        connection: CorrelationId,
        request_id: CorrelationId,
        payload: &[u8],
        expiry: Option<u32>,
    ) -> Vec<MethodStep> {
        let now = Instant::now();
        let mut steps = self.abandoned(now);
        let probe = match Probe::decode(payload) {
            Ok(probe) => probe,
            Err(error) => {
                warn!(%request_id, %error, "malformed probe ignored");
                return steps;
            }
        };
        let left = expiry.filter(|seconds| *seconds > 0).map(|it| Duration::from_secs(it.into()));
        // A repeated probe has already been answered.
        let is_repeated =
            self.ready.contains_key(&request_id) || self.executed.get(request_id).is_some();
        if is_repeated {
            return steps;
        }
        let response = Duration::from_secs(probe.response_timeout_seconds.into());
        let ack = match self.admit(&probe, response) {
            Ok((method, call)) => {
                let (id, margin) = (self.new_id(), margin(response));
                // Without a limit, the caller gives up after its response timeout.
                let until = now + left.unwrap_or(response) + response + margin;
                let least = call.min_time + margin;
                let call = Some(call);
                let ready = Ready { id, method, call, connection, response, least, until };
                self.ready.insert(request_id, ready);
                self.earliest = Some(self.earliest.map_or(until, |earliest| earliest.min(until)));
                ProbeAck::Ready(id)
            }
            Err(reason) => {
                debug!(method = probe.method_name, ?reason, "probe rejected");
                ProbeAck::Rejected(reason)
            }
        };
        steps.push(MethodStep::Ack(request_id, ack, left));
        steps
    }

    /// Reserves a call of the method.
    fn admit(
        &self,
        probe: &Probe,
        response: Duration,
    ) -> Result<(MethodName, ProbedCall), Rejection> {
        let method: MethodName =
            probe.method_name.parse().map_err(|_| Rejection::MethodNotFound)?;
        let time = (!response.is_zero()).then(|| response.saturating_sub(margin(response)));
        let call = self.admission.probe(&method, time)?;
        match self.ready.len() < MAX_READY {
            true => Ok((method, call)),
            false => Err(Rejection::DeviceBusy),
        }
    }

    /// Runs the method of an exec, whose response timeout is `expiry` seconds. An exec with an
    /// unknown or used ready id is ignored.
    pub(super) fn executed(
        &mut self,
        request_id: CorrelationId,
        payload: &[u8],
        expiry: Option<u32>,
    ) -> Vec<MethodStep> {
        let now = Instant::now();
        let mut steps = self.abandoned(now);
        let exec = match Exec::decode(payload) {
            Ok(exec) => exec,
            Err(error) => {
                warn!(%request_id, %error, "malformed exec ignored");
                return steps;
            }
        };
        // A wrong ready id does not use up the right one.
        let is_known = self.ready.get(&request_id).is_some_and(|ready| ready.id == exec.ready_id);
        let Some(ready) = is_known.then(|| self.ready.remove(&request_id)).flatten() else {
            debug!(%request_id, "exec with an unknown ready id ignored");
            return steps;
        };
        let left = expiry.filter(|seconds| *seconds > 0).map(|it| Duration::from_secs(it.into()));
        if left.is_some_and(|left| left <= ready.least) {
            let reason = AbandonReason::InsufficientTime;
            let abandon = Abandon { ready_id: ready.id, reason };
            steps.push(MethodStep::Abandon(request_id, abandon, ready.response));
            return steps;
        }
        self.executed.insert(request_id, Executed { until: left.map(|left| now + left) });
        let rid: RequestId =
            request_id.to_string().parse().expect("hexadecimal digits are a request id");
        if let Some(call) = ready.call {
            call.begin(&rid);
        }
        let topic = HubTopic::Method { name: ready.method, rid }.to_string();
        steps.push(MethodStep::Run(Publish::new(topic, QoS::AtMostOnce, exec.params)));
        steps
    }

    /// Returns the method of an exec that has arrived before, if it is one of the newest.
    pub(super) fn executed_before(&self, request_id: CorrelationId) -> Option<&Executed> {
        self.executed.get(request_id)
    }

    /// Removes the ready ids whose time is over.
    pub(super) fn abandoned(&mut self, now: Instant) -> Vec<MethodStep> {
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return Vec::new();
        }
        let expired = self.ready.extract_if(|_, ready| ready.until <= now);
        let reason = AbandonReason::ReadyWaitTimeout;
        let abandoned = expired
            .map(|(request_id, ready)| {
                let abandon = Abandon { ready_id: ready.id, reason };
                MethodStep::Abandon(request_id, abandon, ready.response)
            })
            .collect();
        self.earliest = self.ready.values().map(|ready| ready.until).min();
        abandoned
    }

    /// Returns the time of the next call of [`ReadyMethods::abandoned`], if one is needed.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.earliest.filter(|_| !self.ready.is_empty())
    }

    /// Returns the reserved calls of a connection that has ended, since a hub rarely delivers an
    /// exec again.
    pub(super) fn disconnected(&mut self, connection: CorrelationId) {
        let of_connection = self.ready.values_mut().filter(|it| it.connection == connection);
        of_connection.for_each(|ready| ready.call = None);
    }

    /// Forgets all ready ids, since the hub has forgotten the session.
    pub(super) fn forget(&mut self) {
        self.ready.clear();
    }

    /// Returns an id that no earlier one of this device equals. Random bytes make it
    /// unguessable, and the number makes it unique even without them.
    fn new_id(&mut self) -> CorrelationId {
        self.next_id += 1;
        let mut bytes = random_bytes();
        bytes[8..].copy_from_slice(&self.next_id.to_be_bytes());
        CorrelationId::from_random(bytes)
    }
}

/// Returns random bytes, or zeros if the system has none.
pub(super) fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        bytes = [0; 16];
    }
    bytes
}

/// Returns the time that is kept free for the way to the caller: a tenth of the response
/// timeout, within limits.
fn margin(response: Duration) -> Duration {
    (response / 10).clamp(MIN_MARGIN, MAX_MARGIN)
}
