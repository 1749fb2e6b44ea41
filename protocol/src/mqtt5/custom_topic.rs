//! Custom topics of device-to-cloud messages, as in a topic group of Azure IoT Hub.

use std::str::FromStr;

use crate::id::DeviceId;

/// The placeholder for the id of the device that publishes.
const DEVICE_ID: &str = "{deviceId}";

/// A template of topics to which a device can publish in addition to its own, such as
/// `factory/{deviceId}/alerts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomTopic(String);

/// A malformed template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CustomTopicError {
    /// An empty template, or one with a wildcard.
    #[error("topic template is empty or has a wildcard")]
    Wildcard,
    /// A template of topics that the hub itself uses.
    #[error("topic template begins with `ih/`, `devices/` or `$`, which the hub uses itself")]
    Reserved,
    /// A template with another placeholder.
    #[error("topic template has a placeholder other than `{{deviceId}}`")]
    Placeholder,
}

impl CustomTopic {
    /// Returns the topic of a device.
    #[must_use]
    pub fn of(&self, device: &DeviceId) -> String {
        self.0.replace(DEVICE_ID, device.as_str())
    }
}

impl FromStr for CustomTopic {
    type Err = CustomTopicError;

    fn from_str(text: &str) -> Result<CustomTopic, CustomTopicError> {
        if text.is_empty() || text.contains(['+', '#', '\0']) {
            return Err(CustomTopicError::Wildcard);
        }
        if ["ih/", "devices/", "$"].iter().any(|prefix| text.starts_with(prefix)) {
            return Err(CustomTopicError::Reserved);
        }
        match text.replace(DEVICE_ID, "").contains(['{', '}']) {
            true => Err(CustomTopicError::Placeholder),
            false => Ok(CustomTopic(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_one_topic_for_each_device() {
        let template: CustomTopic = "factory/{deviceId}/alerts".parse().unwrap();
        assert_eq!(template.of(&"d1".parse().unwrap()), "factory/d1/alerts");
        assert_eq!(template.of(&"d2".parse().unwrap()), "factory/d2/alerts");
    }

    #[test]
    fn a_template_that_could_match_other_topics_is_refused() {
        for (text, error) in [
            ("", CustomTopicError::Wildcard),
            ("a/#", CustomTopicError::Wildcard),
            ("ih/{deviceId}/srv/x", CustomTopicError::Reserved),
            ("$iot/x", CustomTopicError::Reserved),
            ("a/{model}", CustomTopicError::Placeholder),
        ] {
            assert_eq!(text.parse::<CustomTopic>(), Err(error), "{text}");
        }
    }
}
