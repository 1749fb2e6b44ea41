//! Fault injection by telemetry messages.
//!
//! The end-to-end tests of Microsoft's SDKs send messages with special properties, which
//! make the hub disturb the connection of the sender.

use std::time::Duration;

use protocol::id::DeviceId;
use protocol::properties::MessageProperties;
use tracing::info;

use super::fault::{Effect, Fault, Refused, Step};

const OPERATION: &str = "AzIoTHub_FaultOperationType";
const DELAY: &str = "AzIoTHub_FaultOperationDelayInSecs";
const DURATION: &str = "AzIoTHub_FaultOperationDurationInSecs";

/// Maximum delay and duration in a message.
const MAX_TIME: Duration = Duration::from_secs(600);

/// Time that a client has to reconnect and repeat the message.
const REPEAT_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum number of refused connections or throttled requests within the duration.
const MAX_TIMES: u32 = 10_000;

/// A fault injection that a telemetry message requests. When [`Injection::delay`] is over, the
/// sender's connection ends and [`Injection::faults`] are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Injection {
    operation: InjectedOperation,
    pub(crate) delay: Duration,
    /// Lifetime of the faults.
    duration: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InjectedOperation {
    /// `KillTcp` and `ShutDownMqtt`: ends the connection.
    Drop,
    /// `InvokeThrottling` and `InvokeMaxMessageQuota`: ends the connection, then refuses
    /// new ones with code 3 and twin requests with 429.
    Throttle,
    /// `InvokeAuthError`: ends the connection, then refuses new ones with code 5.
    Refuse,
}

impl Injection {
    /// Parses the properties of a message. Returns `None` for ordinary telemetry.
    pub(crate) fn parse(properties: &MessageProperties) -> Option<Injection> {
        let operation = match properties.get(OPERATION)? {
            "KillTcp" | "ShutDownMqtt" => InjectedOperation::Drop,
            "InvokeThrottling" | "InvokeMaxMessageQuota" => InjectedOperation::Throttle,
            "InvokeAuthError" => InjectedOperation::Refuse,
            other => {
                info!(operation = %json::readable(other), "unknown fault injection ignored");
                return None;
            }
        };
        let seconds = |name: &str| {
            let text = properties.get(name).unwrap_or_default();
            Duration::from_secs(text.parse().unwrap_or_default()).min(MAX_TIME)
        };
        Some(Injection { operation, delay: seconds(DELAY), duration: seconds(DURATION) })
    }

    /// Returns the time within which the client is expected to repeat the message.
    pub(crate) fn lifetime(self) -> Duration {
        self.delay + self.duration + REPEAT_TIMEOUT
    }

    /// Returns the faults to set when the sender's connection ends.
    pub(crate) fn faults(self, device: &DeviceId) -> Vec<Fault> {
        if self.duration.is_zero() {
            return Vec::new();
        }
        let fault = |step, effect| {
            Fault::new(step, effect).of(device).times(MAX_TIMES).lasting(self.duration)
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
