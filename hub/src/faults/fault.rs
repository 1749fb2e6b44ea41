//! Description of a fault: step, effect, device, count and lifetime.

use std::time::Duration;

use protocol::id::DeviceId;
use serde::{Deserialize, Serialize};

use super::MAX_FAULTS;

/// Default lifetime of a fault that has not happened.
pub(super) const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

/// Point of the protocol at which a fault can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// A device's CONNECT and the CONNACK to it.
    Connect,
    /// The SUBACK to a subscription.
    Subscribe,
    /// The PUBACK to a packet that a device has published at QoS 1.
    Acknowledge,
    /// A method on its way to the device.
    Method,
    /// A device's answer to a method.
    Answer,
    /// The twin on its way to the device that has asked for it.
    TwinGet,
    /// The hub's answer to reported properties. The hub has stored them by then.
    TwinReport,
    /// A change of desired properties on its way to the device.
    Desired,
    /// A device's telemetry.
    Message,
    /// A request to the REST API.
    Request,
}

/// Deviation from the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The connection ends; the packet is neither sent nor processed.
    DropBefore,
    /// The packet is sent or processed; then the connection ends.
    DropAfter,
    /// The packet is lost.
    Lose,
    /// The packet is late, and so are those behind it.
    Delay(Duration),
    /// The packet is late, and others overtake it.
    Reorder(Duration),
    /// The packet is sent twice.
    Duplicate,
    /// The hub stops reading and writing for this time without closing the
    /// connection. Then it drops it.
    HalfOpen(Duration),
    /// The request is answered with 429, too many requests.
    Throttle,
    /// The CONNACK has this refusal.
    Refuse(Refused),
}

/// Return code of a CONNACK that refuses.
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

/// Fault to be set. [`Fault::new`] happens once, at any device, within a minute;
/// the other functions change that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Point of the protocol.
    pub step: Step,
    /// Deviation at that point.
    pub effect: Effect,
    /// Affected device; `None` affects all of them.
    pub device: Option<DeviceId>,
    /// Steps that work before the first that fails.
    pub after: u32,
    /// Steps that fail; at least 1.
    pub times: u32,
    /// Time after which the fault is removed, whether it has happened or not.
    pub lasting: Duration,
}

/// Reason why a fault cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// The effect is impossible at the step.
    #[error("`{effect:?}` cannot happen at the step `{step:?}`")]
    Impossible {
        /// The step.
        step: Step,
        /// The effect.
        effect: Effect,
    },
    /// The fault would never happen.
    #[error("`times` must be at least 1")]
    Never,
    /// The limit of faults is reached.
    #[error("{MAX_FAULTS} faults are already set, which is the limit")]
    TooMany,
}

/// Part of the hub's state that a restart loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forget {
    /// Nothing; subscriptions survive.
    #[default]
    Nothing,
    /// The sessions: no device is subscribed to anything.
    Sessions,
    /// Sessions and twins: twins are those of new devices; keys survive.
    Twins,
}

impl Fault {
    /// Returns a fault that happens at the next such step of any device, if
    /// there is one within a minute.
    #[must_use]
    pub fn new(step: Step, effect: Effect) -> Fault {
        Fault { step, effect, device: None, after: 0, times: 1, lasting: DEFAULT_LIFETIME }
    }

    /// Restricts the fault to one device.
    #[must_use]
    pub fn of(self, device: &DeviceId) -> Fault {
        Fault { device: Some(device.clone()), ..self }
    }

    /// Lets the first `after` steps work.
    #[must_use]
    pub fn after(self, after: u32) -> Fault {
        Fault { after, ..self }
    }

    /// Repeats the fault at `times` steps.
    #[must_use]
    pub fn times(self, times: u32) -> Fault {
        Fault { times, ..self }
    }

    /// Removes the fault after this time.
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
