//! The steps of methods on the device: ready or rejected, exec, abandon.
//!
//! A ready id holds one of the free calls of its plugin until its exec, or until its time is
//! over. Expired ids are abandoned when the next message about a method arrives.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::id::{MethodName, RequestId};
use protocol::mqtt5::{
    Abandon, AbandonReason, CorrelationId, Exec, Message as _, Probe, ProbeAck, Rejection,
    ResultMessage,
};
use protocol::topic::HubTopic;
use rumqttc::{Publish, QoS};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::connection::admission::Admission;

/// The maximum number of ready ids. Further probes are rejected.
const MAX_READY: usize = 512;

/// The shortest and the longest time that is kept free for the way to the caller.
const MIN_MARGIN: Duration = Duration::from_secs(1);
const MAX_MARGIN: Duration = Duration::from_secs(10);

/// The time before the end of a probe's use after which it is not answered.
const ACK_WAIT: Duration = Duration::from_secs(1);

/// A step that the device takes.
pub(super) enum MethodStep {
    Ack(CorrelationId, ProbeAck),
    Abandon(CorrelationId, Abandon),
    /// A method to run, as a message of MQTT 3.1.1.
    Run(Publish),
}

/// The methods for which the device is ready, by request id.
pub(super) struct ReadyMethods {
    admission: Arc<dyn Admission>,
    ready: HashMap<CorrelationId, Ready>,
    next_id: u64,
}

struct Ready {
    id: CorrelationId,
    method: MethodName,
    plugin: String,
    until: Instant,
}

impl ReadyMethods {
    pub(super) fn new(admission: Arc<dyn Admission>) -> ReadyMethods {
        ReadyMethods { admission, ready: HashMap::new(), next_id: 0 }
    }

    /// Answers a probe that is of use for `expiry` seconds; without a limit if there is none.
    pub(super) fn probed(
        &mut self,
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
        if self.ready.contains_key(&request_id) || left.is_some_and(|left| left < ACK_WAIT) {
            return steps;
        }
        let response = Duration::from_secs(probe.response_timeout_seconds.into());
        let ack = match self.admit(&probe, response) {
            Ok((method, plugin)) => {
                let id = self.new_id();
                // Without a limit, the caller gives up after its response timeout.
                let until = now + left.unwrap_or(response) + response + margin(response);
                self.ready.insert(request_id, Ready { id, method, plugin, until });
                ProbeAck::Ready(id)
            }
            Err(reason) => {
                debug!(method = probe.method_name, ?reason, "probe rejected");
                ProbeAck::Rejected(reason)
            }
        };
        steps.push(MethodStep::Ack(request_id, ack));
        steps
    }

    /// Returns the method and the plugin that can run it.
    fn admit(&self, probe: &Probe, response: Duration) -> Result<(MethodName, String), Rejection> {
        let method: MethodName =
            probe.method_name.parse().map_err(|_| Rejection::MethodNotFound)?;
        let plugin = self.admission.probe(&method)?;
        if !response.is_zero() && response <= margin(response) {
            return Err(Rejection::InsufficientTime);
        }
        let waiting = self.ready.values().filter(|ready| ready.plugin == plugin.name).count();
        if waiting >= plugin.free_calls || self.ready.len() >= MAX_READY {
            return Err(Rejection::DeviceBusy);
        }
        Ok((method, plugin.name))
    }

    /// Runs the method of an exec, whose response timeout is `expiry` seconds. An exec with an
    /// unknown or used ready id is ignored.
    pub(super) fn executed(
        &mut self,
        request_id: CorrelationId,
        payload: &[u8],
        expiry: Option<u32>,
    ) -> Vec<MethodStep> {
        let mut steps = self.abandoned(Instant::now());
        let exec = match Exec::decode(payload) {
            Ok(exec) => exec,
            Err(error) => {
                warn!(%request_id, %error, "malformed exec ignored");
                return steps;
            }
        };
        let is_known = self.ready.get(&request_id).is_some_and(|ready| ready.id == exec.ready_id);
        let Some(ready) = self.ready.remove(&request_id).filter(|_| is_known) else {
            debug!(%request_id, "exec with an unknown ready id ignored");
            return steps;
        };
        let response = Duration::from_secs(expiry.unwrap_or(0).into());
        if !response.is_zero() && response <= MIN_MARGIN {
            let reason = AbandonReason::InsufficientTime;
            let abandon = Abandon { ready_id: ready.id, reason };
            steps.push(MethodStep::Abandon(request_id, abandon));
            return steps;
        }
        let rid = request_id.to_string().parse().expect("hexadecimal digits are a request id");
        let topic = HubTopic::Method { name: ready.method, rid }.to_string();
        steps.push(MethodStep::Run(Publish::new(topic, QoS::AtMostOnce, exec.params)));
        steps
    }

    /// Removes the expired ready ids.
    fn abandoned(&mut self, now: Instant) -> Vec<MethodStep> {
        let expired = self.ready.extract_if(|_, ready| ready.until <= now);
        let reason = AbandonReason::ReadyWaitTimeout;
        expired
            .map(|(request_id, ready)| {
                MethodStep::Abandon(request_id, Abandon { ready_id: ready.id, reason })
            })
            .collect()
    }

    /// Returns an id that no earlier one of this connection equals. Random bytes make it
    /// unguessable, and the number makes it unique even without them.
    fn new_id(&mut self) -> CorrelationId {
        self.next_id += 1;
        let mut bytes = random_bytes();
        bytes[8..].copy_from_slice(&self.next_id.to_be_bytes());
        CorrelationId::from_random(bytes)
    }
}

/// Returns the result of a method as a message of the profile, and the id of its request.
/// Returns `None` for a request of another profile.
pub(super) fn result(
    status: i32,
    rid: &RequestId,
    publish: &Publish,
) -> Option<(CorrelationId, ResultMessage)> {
    let request_id = rid.as_str().parse().ok()?;
    Some((request_id, ResultMessage { status, body: publish.payload.to_vec() }))
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
