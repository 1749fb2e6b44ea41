//! Cloud-to-device messages: limits, acknowledgements and feedback.
//!
//! The limits and the names are those of the IoT Hub documentation, "Send cloud-to-device
//! messages".

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Maximum size of a message with its properties, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// Maximum number of messages in the queue of a device.
pub const MAX_QUEUED: usize = 50;

/// Lifetime of a message without an expiry.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);

/// Maximum lifetime of a message.
pub const MAX_LIFETIME: Duration = Duration::from_secs(2 * 86_400);

/// Maximum number of deliveries of a message that the device abandons each time.
pub const MAX_DELIVERIES: u32 = 10;

/// Time for which a delivered message is locked. After that, it is delivered again.
pub const LOCK_TIME: Duration = Duration::from_secs(60);

/// Media type of feedback.
pub const FEEDBACK_TYPE: &str = "application/vnd.microsoft.iothub.feedback.json";

/// The outcomes of a message of which its sender wants to be notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acknowledgement {
    /// None.
    #[default]
    None,
    /// The success.
    Positive,
    /// Failures: expiry, rejection, too many deliveries, and a purged queue.
    Negative,
    /// All outcomes.
    Full,
}

impl Acknowledgement {
    /// Returns `true` if the sender wants to be notified of this outcome.
    #[must_use]
    pub fn includes(self, outcome: Outcome) -> bool {
        match self {
            Acknowledgement::None => false,
            Acknowledgement::Positive => outcome == Outcome::Success,
            Acknowledgement::Negative => outcome != Outcome::Success,
            Acknowledgement::Full => true,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Acknowledgement::None => "none",
            Acknowledgement::Positive => "positive",
            Acknowledgement::Negative => "negative",
            Acknowledgement::Full => "full",
        }
    }
}

impl fmt::Display for Acknowledgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that is not an acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not one of `none`, `positive`, `negative` and `full`")]
pub struct AcknowledgementError(String);

impl FromStr for Acknowledgement {
    type Err = AcknowledgementError;

    fn from_str(text: &str) -> Result<Acknowledgement, AcknowledgementError> {
        use Acknowledgement::{Full, Negative, None, Positive};
        let known = [None, Positive, Negative, Full].into_iter().find(|own| own.name() == text);
        known.ok_or_else(|| AcknowledgementError(json::excerpt(text, 40).into_owned()))
    }
}

/// Final state of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Completed by the device.
    Success,
    /// Not completed before its expiry.
    Expired,
    /// Abandoned by the device too many times.
    DeliveryCountExceeded,
    /// Rejected by the device.
    Rejected,
    /// Removed from the queue by a service.
    Purged,
}

/// A notification of the outcome of a message, in the JSON form of IoT Hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedbackRecord {
    /// The id of the message.
    pub original_message_id: String,
    /// Time of the outcome.
    pub enqueued_time_utc: String,
    /// The outcome.
    pub status_code: Outcome,
    /// The outcome as text.
    pub description: String,
    /// The device that the message was sent to.
    pub device_id: String,
    /// The generation of that device.
    pub device_generation_id: String,
}

/// The result of a purge, in the JSON form of IoT Hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PurgeResult {
    /// Number of removed messages.
    pub total_messages_purged: usize,
    /// The device.
    pub device_id: String,
    /// Always absent, since modules have no queue.
    pub module_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_selects_outcomes() {
        for (text, success, failure) in [
            ("none", false, false),
            ("positive", true, false),
            ("negative", false, true),
            ("full", true, true),
        ] {
            let parsed: Acknowledgement = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
            assert_eq!(parsed.includes(Outcome::Success), success, "{text}");
            for outcome in [Outcome::Expired, Outcome::Rejected, Outcome::Purged] {
                assert_eq!(parsed.includes(outcome), failure, "{text}");
            }
        }
        let refused = "Full".parse::<Acknowledgement>().unwrap_err().to_string();
        assert_eq!(refused, "`Full` is not one of `none`, `positive`, `negative` and `full`");
    }
}
