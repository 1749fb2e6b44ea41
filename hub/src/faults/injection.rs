//! The faults that the vendors' own end-to-end tests ask for: a telemetry
//! message whose properties say what the hub is to do to its sender.

use std::time::Duration;

use protocol::properties::MessageProperties;
use tracing::info;

use super::{Effect, Fault, Faults, Refused, Step};

const OPERATION: &str = "AzIoTHub_FaultOperationType";
const DELAY: &str = "AzIoTHub_FaultOperationDelayInSecs";
const DURATION: &str = "AzIoTHub_FaultOperationDurationInSecs";

/// The longest delay and duration that a message may ask for.
const LONGEST: Duration = Duration::from_secs(600);

/// How often a device may be refused or throttled within the duration.
const OFTEN: u32 = 10_000;

/// What a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Injection {
    operation: Operation,
    /// How long until then.
    pub(crate) delay: Duration,
    /// How long, where it is not over at once.
    duration: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    /// `KillTcp` and `ShutDownMqtt`: the connection ends.
    Drop,
    /// `InvokeThrottling` and `InvokeMaxMessageQuota`: it ends, and the device
    /// is turned away with code 3 and its twin requests with 429.
    Throttle,
    /// `InvokeAuthError`: it ends, and the device is refused with code 5.
    Refuse,
}

impl Injection {
    /// What a message asks for; `None` of an ordinary one.
    pub(crate) fn read(properties: &MessageProperties) -> Option<Injection> {
        let operation = match properties.get(OPERATION)? {
            "KillTcp" | "ShutDownMqtt" => Operation::Drop,
            "InvokeThrottling" | "InvokeMaxMessageQuota" => Operation::Throttle,
            "InvokeAuthError" => Operation::Refuse,
            other => {
                info!(operation = %other.escape_debug(), "fault injection that this hub has not");
                return None;
            }
        };
        let seconds = |name: &str| {
            let text = properties.get(name).unwrap_or_default();
            Duration::from_secs(text.parse().unwrap_or_default()).min(LONGEST)
        };
        Some(Injection { operation, delay: seconds(DELAY), duration: seconds(DURATION) })
    }

    /// Sets what is to follow the end of the sender's connection.
    pub(crate) fn set(self, faults: &Faults, device: &protocol::id::DeviceId) {
        let set = |step, effect| {
            let fault = Fault::new(step, effect).of(device).times(OFTEN).lasting(self.duration);
            if let Err(error) = faults.set(fault) {
                info!(%device, %error, "fault injection not done");
            }
        };
        if self.duration.is_zero() {
            return;
        }
        match self.operation {
            Operation::Drop => {}
            Operation::Throttle => {
                set(Step::Connect, Effect::Refuse(Refused::Unavailable));
                set(Step::TwinGet, Effect::Throttle);
                set(Step::TwinReport, Effect::Throttle);
            }
            Operation::Refuse => set(Step::Connect, Effect::Refuse(Refused::NotAuthorized)),
        }
    }
}
