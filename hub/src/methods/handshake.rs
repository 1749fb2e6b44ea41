//! Direct methods of devices with MQTT 5: probe, exec and result.
//!
//! A device that rejects the probe, or that abandons the method, has not run it. A method is
//! sent once for each ready id, and never again on another connection without a new probe.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::error::{ErrorCode, HubError};
use protocol::id::DeviceId;
use protocol::method::MethodRequest;
use protocol::mqtt5::{
    Abandon, CorrelationId, Exec, MessageType, Probe, ProbeAck, ResultMessage, Timestamp,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::outcome::{MethodOutcome, method_outcome, rejected};
use super::{MAX_IN_FLIGHT, Methods, no_answer, not_online};
use crate::faults::Step;
use crate::mqtt5::Mqtt5Publish;
use crate::sessions::MethodLink;
use crate::state::Owner;

/// Minimum time for a device to answer a probe. Services send no connect timeout by default,
/// and the .NET SDK needs at least two seconds.
const MIN_PROBE_TIME: Duration = Duration::from_secs(5);

/// Maximum number of times that a device can abandon a method. It must not keep the hub busy.
const MAX_ABANDONS: usize = 3;

/// Number of messages of a device that can wait for a call. A device sends two of them, and
/// repetitions.
const BACKLOG: usize = 8;

/// A message of a device about a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeviceStep {
    ProbeAck(ProbeAck),
    Result(ResultMessage),
    Abandon(Abandon),
}

/// The methods in flight, by device and request id.
#[derive(Default)]
pub(super) struct Handshakes(Mutex<HashMap<DeviceId, PendingSteps>>);

type PendingSteps = HashMap<CorrelationId, mpsc::Sender<DeviceStep>>;

/// Outcome of an attempt to run a method.
enum Attempt {
    Done(MethodOutcome),
    /// The device has abandoned the method, so it has not run.
    Abandoned,
    /// The device has not answered the probe in time, or its connection has ended before the
    /// exec. The method has not run.
    NotReady,
}

impl Methods {
    /// Calls a method of a device with MQTT 5 that is connected. Waits for its readiness until
    /// `deadline`, but at least for [`MIN_PROBE_TIME`].
    pub(super) async fn invoke_in_steps(
        &self,
        id: &Owner,
        request: &MethodRequest,
        deadline: Instant,
    ) -> MethodOutcome {
        let deadline = deadline.max(Instant::now() + MIN_PROBE_TIME);
        let mut abandons = 0;
        while let Some(link) = self.route(id, deadline).await {
            match self.attempt(id, request, link, deadline).await? {
                Attempt::Done(outcome) => return outcome,
                Attempt::Abandoned => abandons += 1,
                Attempt::NotReady => {}
            }
            if abandons >= MAX_ABANDONS || Instant::now() >= deadline {
                break;
            }
        }
        Err(not_online(request.connect_timeout))
    }

    async fn attempt(
        &self,
        id: &Owner,
        request: &MethodRequest,
        link: MethodLink,
        deadline: Instant,
    ) -> Result<Attempt, HubError> {
        let request_id = random_id()?;
        let (_pending, mut steps) = self.handshakes.register(&id.device, request_id)?;
        let (serial, in_flight) = (link.serial, link.in_flight.clone());
        let seconds = u32::try_from(request.response_timeout.as_secs()).unwrap_or(u32::MAX);
        let probe =
            Probe { method_name: request.name.to_string(), response_timeout_seconds: seconds };
        let message = Mqtt5Publish::to_device(&id.device, MessageType::Probe, request_id, &probe);
        let left = deadline.saturating_duration_since(Instant::now());
        let probed = timeout_at(deadline, async {
            self.send_step(id, link, Step::Probe, message, left).await?;
            loop {
                if let DeviceStep::ProbeAck(ack) = steps.recv().await? {
                    return Some(ack);
                }
            }
        });
        let probed = tokio::select! {
            biased;
            probed = probed => probed,
            // The probe or its answer may be lost with the connection. Another probe follows.
            () = self.sessions.replaced(id, serial) => {
                if let Some(in_flight) = in_flight {
                    in_flight.forget(request_id);
                }
                return Ok(Attempt::NotReady);
            }
        };
        let ready_id = match probed {
            Ok(Some(ProbeAck::Ready(ready_id))) => ready_id,
            Ok(Some(ProbeAck::Rejected(reason))) => {
                return Ok(Attempt::Done(Ok(rejected(reason))));
            }
            Ok(None) | Err(_) => return Ok(Attempt::NotReady),
        };
        // A ready id belongs to the connection of its probe.
        let link = match self.route(id, deadline).await {
            Some(link) if link.serial == serial => link,
            _ => return Ok(Attempt::NotReady),
        };
        let now = jiff::Timestamp::now();
        let exec = Exec {
            ready_id,
            params: request.payload.get().as_bytes().to_vec(),
            exec_start: Some(Timestamp {
                seconds: now.as_second(),
                nanos: now.subsec_nanosecond(),
            }),
        };
        let message = Mqtt5Publish::to_device(&id.device, MessageType::Exec, request_id, &exec);
        let wait = request.response_timeout;
        let executed = timeout(wait, async {
            self.send_step(id, link, Step::Method, message, wait).await?;
            loop {
                match steps.recv().await? {
                    DeviceStep::Result(ResultMessage { status, body }) => {
                        return Some(Attempt::Done(method_outcome(status, &body)));
                    }
                    DeviceStep::Abandon(Abandon { ready_id: abandoned, reason })
                        if abandoned == ready_id =>
                    {
                        debug!(device = %id, ?reason, "method abandoned");
                        return Some(Attempt::Abandoned);
                    }
                    _ => {}
                }
            }
        });
        match executed.await {
            Ok(Some(attempt)) => Ok(attempt),
            Ok(None) | Err(_) => Err(no_answer(wait)),
        }
    }

    /// Sends a message of a method that is of use for `lifetime`. Returns `None` if the session
    /// has ended before that.
    async fn send_step(
        &self,
        id: &Owner,
        link: MethodLink,
        step: Step,
        message: Mqtt5Publish,
        lifetime: Duration,
    ) -> Option<()> {
        let packet = link.in_flight.as_ref()?.send(message, lifetime).await?;
        self.send(id, link, step, packet).await;
        Some(())
    }

    /// Passes a message of a device to its pending call. Drops the message if there is none.
    pub(crate) fn step(&self, id: &DeviceId, request_id: CorrelationId, step: DeviceStep) {
        let pending = self.handshakes.0.lock();
        let waiting = pending.get(id).and_then(|calls| calls.get(&request_id));
        match waiting.map(|waiting| waiting.try_send(step)) {
            Some(Ok(())) => {}
            _ => debug!(device = %id, request = %request_id, "late message of a method ignored"),
        }
    }
}

impl Handshakes {
    fn register(
        &self,
        id: &DeviceId,
        request_id: CorrelationId,
    ) -> Result<(PendingHandshake<'_>, mpsc::Receiver<DeviceStep>), HubError> {
        let (sender, steps) = mpsc::channel(BACKLOG);
        let mut pending = self.0.lock();
        let calls = pending.entry(id.clone()).or_default();
        if calls.len() >= MAX_IN_FLIGHT {
            let text = format!("the device has {MAX_IN_FLIGHT} methods in flight");
            return Err(HubError::new(ErrorCode::DeviceMaximumInflightMethodExceeded, text));
        }
        calls.insert(request_id, sender);
        Ok((PendingHandshake { handshakes: self, device: id.clone(), request_id }, steps))
    }
}

/// Registration of a pending call, which is removed when dropped.
struct PendingHandshake<'a> {
    handshakes: &'a Handshakes,
    device: DeviceId,
    request_id: CorrelationId,
}

impl Drop for PendingHandshake<'_> {
    fn drop(&mut self) {
        let mut pending = self.handshakes.0.lock();
        if let Some(calls) = pending.get_mut(&self.device) {
            calls.remove(&self.request_id);
            if calls.is_empty() {
                pending.remove(&self.device);
            }
        }
    }
}

fn random_id() -> Result<CorrelationId, HubError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| HubError::new(ErrorCode::ServerError, error.to_string()))?;
    Ok(CorrelationId::from_random(bytes))
}
