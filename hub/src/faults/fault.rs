//! Specification of a fault: step, effect, device, count and lifetime.

use std::time::Duration;

use protocol::id::DeviceId;
use serde::{Deserialize, Serialize};

use super::MAX_FAULTS;

/// Default lifetime of a fault.
pub(super) const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

/// Point of the protocol at which a fault can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// A device's CONNECT and its CONNACK.
    Connect,
    /// The SUBACK of a subscription.
    Subscribe,
    /// The PUBACK of a message that a device published at QoS 1.
    Acknowledge,
    /// A method that the hub sends to the device.
    Method,
    /// A device's answer to a method.
    Answer,
    /// A device's birth with MQTT 5, and its answer.
    Birth,
    /// A probe for a method that the hub sends to a device with MQTT 5. Its exec is a
    /// [`Step::Method`].
    Probe,
    /// The answer to a probe. The result that follows is a [`Step::Answer`].
    ProbeAck,
    /// A twin that the hub sends to the device on request.
    TwinGet,
    /// The hub's answer to reported properties, after the hub has stored them.
    TwinReport,
    /// A change of desired properties that the hub sends to the device.
    Desired,
    /// A cloud-to-device message that the hub sends to the device.
    CloudToDevice,
    /// A telemetry message of a device.
    Message,
    /// A request to the REST API.
    Request,
    /// The first answer to a device's request for a certificate, which the hub has recorded.
    CertificateRequest,
    /// The final answer to a device's request for a certificate.
    CertificateAnswer,
    /// A device's CONNECT to the Device Provisioning Service (DPS) and its CONNACK.
    DpsConnect,
    /// The SUBACK of a device's subscription at DPS.
    DpsSubscribe,
    /// The answer to a registration at DPS, after it has been recorded.
    DpsRegister,
    /// The answer to a poll of a registration at DPS.
    DpsStatus,
}

/// Effect of a fault on a packet, request or connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// End of the connection before the packet is sent or processed.
    DropBefore,
    /// End of the connection after the packet was sent or processed.
    DropAfter,
    /// Loss of the packet.
    Lose,
    /// Delay of the packet and of all later packets.
    Delay(Duration),
    /// Delay of the packet, which later packets overtake.
    Reorder(Duration),
    /// Second copy of the packet.
    Duplicate,
    /// Silence of the hub for this time, followed by the end of the connection.
    HalfOpen(Duration),
    /// Response with the status 429 (too many requests).
    Throttle,
    /// Refusal of the connection with this return code.
    Refuse(Refused),
    /// Response with the status 409 (conflict).
    Conflict,
    /// Response with the status 500, or 503 to a request for a certificate.
    ServerError,
    /// Response whose body is cut in half.
    BrokenBody,
    /// Response that the registration is still in progress.
    Assigning,
    /// Refusal of the certificate signing request.
    RejectCsr,
    /// Issued certificate that has expired.
    ExpiredChain,
    /// Issued certificate of an authority that the hub does not trust.
    UntrustedChain,
    /// Regular response, after which the device is disabled at the hub.
    Disable,
    /// Answer to a birth with the nonce of another connection.
    StaleNonce,
}

/// Return code of a CONNACK that refuses a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// 1: unacceptable protocol version.
    Protocol = 1,
    /// 2: identifier rejected.
    ClientId = 2,
    /// 3: server unavailable.
    Unavailable = 3,
    /// 4: bad user name or password.
    Password = 4,
    /// 5: not authorised.
    NotAuthorized = 5,
}

/// A fault. By default it affects a single step of any device within a minute; the builder
/// methods change that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Affected step of the protocol.
    pub step: Step,
    /// Effect at that step.
    pub effect: Effect,
    /// Affected device; `None` affects all devices.
    pub device: Option<DeviceId>,
    /// Number of unaffected steps before the fault happens.
    pub after: u32,
    /// Number of affected steps; at least 1.
    pub times: u32,
    /// Lifetime, after which the fault is removed even if it has not happened.
    pub lasting: Duration,
}

/// Reason why a fault cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// Effect that is impossible at the step.
    #[error("`{effect:?}` cannot happen at the step `{step:?}`")]
    Impossible {
        /// The step.
        step: Step,
        /// The effect.
        effect: Effect,
    },
    /// Fault that would never happen.
    #[error("`times` must be at least 1")]
    Never,
    /// More faults than the limit.
    #[error("{MAX_FAULTS} faults are already set, which is the limit")]
    TooMany,
}

/// Part of the hub's state that a restart loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forget {
    /// Nothing, not even subscriptions.
    #[default]
    Nothing,
    /// All sessions, with the subscriptions of the devices.
    Sessions,
    /// All sessions and twins. Twins become those of new devices; keys survive.
    Twins,
}

impl Fault {
    /// Creates a fault that happens once, at the next `step` of any device within a minute.
    #[must_use]
    pub fn new(step: Step, effect: Effect) -> Fault {
        Fault { step, effect, device: None, after: 0, times: 1, lasting: DEFAULT_LIFETIME }
    }

    /// Restricts the fault to one device.
    #[must_use]
    pub fn of(self, device: &DeviceId) -> Fault {
        Fault { device: Some(device.clone()), ..self }
    }

    /// Exempts the first `after` steps from the fault.
    #[must_use]
    pub fn after(self, after: u32) -> Fault {
        Fault { after, ..self }
    }

    /// Repeats the fault at `times` steps.
    #[must_use]
    pub fn times(self, times: u32) -> Fault {
        Fault { times, ..self }
    }

    /// Sets the lifetime of the fault.
    #[must_use]
    pub fn lasting(self, lasting: Duration) -> Fault {
        Fault { lasting, ..self }
    }

    /// Checks that the fault can happen.
    pub(super) fn check(&self) -> Result<(), FaultError> {
        let Fault { step, effect, .. } = *self;
        if !effect.handling().is_possible_at(step) {
            return Err(FaultError::Impossible { step, effect });
        }
        if self.times == 0 { Err(FaultError::Never) } else { Ok(()) }
    }
}
