//! The property bag of a message: URL-encoded pairs at the end of a topic.
//!
//! An example is `%24.ct=application%2Fjson&plain=&flag`. Names that begin with `$.` are
//! system properties. A name without `=` has no value, which is distinct from an empty
//! value.

use std::fmt;
use std::str::FromStr;

use crate::percent;

/// The properties of a device-to-cloud or cloud-to-device message, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageProperties(Vec<(String, Option<String>)>);

/// A malformed property bag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    /// A name or value that is not UTF-8. Properties are numbered from 1.
    #[error("property {0} is not UTF-8")]
    NotUtf8(usize),
    /// A value without a name. Properties are numbered from 1.
    #[error("property {0} has no name")]
    NoName(usize),
}

impl MessageProperties {
    /// The system property with the media type of the body.
    pub const CONTENT_TYPE: &str = "$.ct";
    /// The system property with the encoding of the body.
    pub const CONTENT_ENCODING: &str = "$.ce";
    /// The system property with the id of the message.
    pub const MESSAGE_ID: &str = "$.mid";
    /// The system property with the id of the message that this one answers.
    pub const CORRELATION_ID: &str = "$.cid";
    /// The system property with the sender of the message.
    pub const USER_ID: &str = "$.uid";
    /// The system property with the address of a cloud-to-device message.
    pub const TO: &str = "$.to";
    /// The system property with the time at which the message expires.
    pub const EXPIRY: &str = "$.exp";
    /// The property with the outcomes of a cloud-to-device message that its sender wants to
    /// be notified of. Unlike the others, its name has no prefix.
    pub const ACK: &str = "iothub-ack";

    /// Adds a property. Names may be repeated.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.push((name.into(), Some(value.into())));
        self
    }

    /// Returns the value of the first property with this name; `Some("")` if the property
    /// has no value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(value.as_deref().unwrap_or(""))
    }

    /// Returns an iterator over the names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// Returns `true` if there are no properties.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for MessageProperties {
    type Err = PropertiesError;

    fn from_str(text: &str) -> Result<Self, PropertiesError> {
        let mut pairs = Vec::new();
        for (index, field) in text.split('&').enumerate() {
            if field.is_empty() {
                continue;
            }
            let (name, value) = match field.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (field, None),
            };
            if name.is_empty() {
                return Err(PropertiesError::NoName(index + 1));
            }
            let decode = |text| {
                percent::decode(text)
                    .map(std::borrow::Cow::into_owned)
                    .ok_or(PropertiesError::NotUtf8(index + 1))
            };
            pairs.push((decode(name)?, value.map(decode).transpose()?));
        }
        Ok(Self(pairs))
    }
}

impl fmt::Display for MessageProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("&")?;
            }
            write!(f, "{}", percent::encode(name))?;
            if let Some(value) = value {
                write!(f, "={}", percent::encode(value))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_property_bag_of_the_python_sdk_is_parsed() {
        let bag = "%24.mid=m%201&%24.cid=co&%24.ct=application%2Fjson&%24.ce=utf-8&a%20b=c%2Fd%26e";
        let bag: MessageProperties = bag.parse().unwrap();
        assert_eq!(bag.get(MessageProperties::CONTENT_TYPE), Some("application/json"));
        assert_eq!(bag.get("a b"), Some("c/d&e"));
    }

    #[test]
    fn a_missing_value_differs_from_an_empty_value() {
        let bag: MessageProperties = "a&b=".parse().unwrap();
        assert_eq!(bag.iter().collect::<Vec<_>>(), [("a", None), ("b", Some(""))]);
        assert_eq!(bag.to_string(), "a&b=");
    }

    proptest! {
        #[test]
        fn every_bag_survives_a_round_trip(pairs: Vec<(String, Option<String>)>) {
            let pairs = pairs.into_iter().filter(|(name, _)| !name.is_empty()).collect();
            let bag = MessageProperties(pairs);
            prop_assert_eq!(bag.to_string().parse::<MessageProperties>().unwrap(), bag);
        }
    }
}
