//! Fault injection by device: the vendors' own end-to-end tests send a telemetry
//! message whose properties ask the hub to disturb its sender.

use std::time::Duration;

use protocol::id::DeviceId;
use protocol::properties::MessageProperties;
use tracing::info;

use super::fault::{Effect, Fault, Refused, Step};

const OPERATION: &str = "AzIoTHub_FaultOperationType";
const DELAY: &str = "AzIoTHub_FaultOperationDelayInSecs";
const DURATION: &str = "AzIoTHub_FaultOperationDurationInSecs";

/// The longest delay and duration that a message may ask for.
const MAX_TIME: Duration = Duration::from_secs(600);

/// Time in which a client reconnects and repeats the message.
const REPEAT_PATIENCE: Duration = Duration::from_secs(30);

/// Limit of refusals and of throttled requests of one device within the duration.
const REPEATS: u32 = 10_000;

/// Fault that a telemetry message asks for. The sender's connection ends after
/// [`Injection::delay`]; [`Injection::faults`] follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Injection {
    operation: InjectedOperation,
    pub(crate) delay: Duration,
    /// Lifetime of the faults that follow.
    duration: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InjectedOperation {
    /// `KillTcp` and `ShutDownMqtt`: the connection ends.
    Drop,
    /// `InvokeThrottling` and `InvokeMaxMessageQuota`: the connection ends; the
    /// device is refused with code 3 and its twin requests with 429.
    Throttle,
    /// `InvokeAuthError`: the connection ends; the device is refused with code 5.
    Refuse,
}

impl Injection {
    /// Parses the properties of a message; `None` for ordinary telemetry.
    pub(crate) fn parse(properties: &MessageProperties) -> Option<Injection> {
        let operation = match properties.get(OPERATION)? {
            "KillTcp" | "ShutDownMqtt" => InjectedOperation::Drop,
            "InvokeThrottling" | "InvokeMaxMessageQuota" => InjectedOperation::Throttle,
            "InvokeAuthError" => InjectedOperation::Refuse,
            other => {
                info!(operation = %other.escape_debug(), "unknown fault injection ignored");
                return None;
            }
        };
        let seconds = |name: &str| {
            let text = properties.get(name).unwrap_or_default();
            Duration::from_secs(text.parse().unwrap_or_default()).min(MAX_TIME)
        };
        Some(Injection { operation, delay: seconds(DELAY), duration: seconds(DURATION) })
    }

    /// Returns the time in which the message is expected once more.
    pub(crate) fn lifetime(self) -> Duration {
        self.delay + self.duration + REPEAT_PATIENCE
    }

    /// Returns the faults that follow the end of the sender's connection.
    pub(crate) fn faults(self, device: &DeviceId) -> Vec<Fault> {
        if self.duration.is_zero() {
            return Vec::new();
        }
        let fault = |step, effect| {
            Fault::new(step, effect).of(device).times(REPEATS).lasting(self.duration)
        };
        match self.operation {
            InjectedOperation::Drop => Vec::new(),
            InjectedOperation::Throttle => vec![
                fault(Step::Connect, Effect::Refuse(Refused::Unavailable)),
                fault(Step::TwinGet, Effect::Throttle),
                fault(Step::TwinReport, Effect::Throttle),
            ],
            InjectedOperation::Refuse => {
                vec![fault(Step::Connect, Effect::Refuse(Refused::NotAuthorized))]
            }
        }
    }
}
