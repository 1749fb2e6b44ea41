//! The device's view of its twin.

use serde_json::{Map, Value, json};

use super::VERSION;

/// A twin as a device reads it: both sections with their versions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeviceTwin {
    /// The desired properties.
    pub desired: Map<String, Value>,
    /// The version of the desired properties.
    pub desired_version: u64,
    /// The reported properties.
    pub reported: Map<String, Value>,
    /// The version of the reported properties.
    pub reported_version: u64,
}

/// A change of the desired properties: a patch in which `null` deletes a key.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredPatch {
    /// The patch, without `$version`.
    pub patch: Map<String, Value>,
    /// The version of the desired properties after the change.
    pub version: u64,
}

/// A malformed twin or patch.
#[derive(Debug, thiserror::Error)]
pub enum TwinBodyError {
    /// A body that is not JSON.
    #[error("body is not JSON")]
    NotJson(#[from] serde_json::Error),
    /// A value that is not an object.
    #[error("{0} is not a JSON object")]
    NotAnObject(&'static str),
    /// An object without a version.
    #[error("{0} has no $version")]
    NoVersion(&'static str),
}

impl DeviceTwin {
    /// Parses `{"desired":{…,"$version":4},"reported":{…,"$version":7}}`.
    pub fn parse(body: &[u8]) -> Result<DeviceTwin, TwinBodyError> {
        let mut body = object("twin", serde_json::from_slice(body)?)?;
        let mut section = |name| object(name, body.remove(name).unwrap_or_default());
        let (desired, reported) = (section("desired")?, section("reported")?);
        let (desired, desired_version) = versioned("desired", desired)?;
        let (reported, reported_version) = versioned("reported", reported)?;
        Ok(DeviceTwin { desired, desired_version, reported, reported_version })
    }

    /// Returns the twin as JSON, in the format that [`DeviceTwin::parse`] accepts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "desired": with_version(&self.desired, self.desired_version),
            "reported": with_version(&self.reported, self.reported_version),
        })
    }
}

impl DesiredPatch {
    /// Parses a patch with its `$version`.
    pub fn parse(body: &[u8]) -> Result<DesiredPatch, TwinBodyError> {
        let body = object("patch", serde_json::from_slice(body)?)?;
        let (patch, version) = versioned("patch", body)?;
        Ok(DesiredPatch { patch, version })
    }

    /// Returns the patch as JSON, in the format that [`DesiredPatch::parse`] accepts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        with_version(&self.patch, self.version)
    }
}

fn object(what: &'static str, value: Value) -> Result<Map<String, Value>, TwinBodyError> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(TwinBodyError::NotAnObject(what)),
    }
}

fn versioned(
    what: &'static str,
    mut object: Map<String, Value>,
) -> Result<(Map<String, Value>, u64), TwinBodyError> {
    let version = object.remove(VERSION).and_then(|version| version.as_u64());
    Ok((object, version.ok_or(TwinBodyError::NoVersion(what))?))
}

fn with_version(body: &Map<String, Value>, version: u64) -> Value {
    let mut body = body.clone();
    body.insert(VERSION.to_owned(), version.into());
    Value::Object(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_survives_a_round_trip() {
        let body = json!({"desired": {"a": 1, "$version": 4}, "reported": {"$version": 7}});
        let twin = DeviceTwin::parse(body.to_string().as_bytes()).unwrap();
        assert_eq!((twin.desired_version, twin.reported_version), (4, 7));
        assert_eq!(twin.to_json(), body);
    }

    #[test]
    fn a_patch_with_nulls_survives_a_round_trip() {
        let body = json!({"z": 5, "q": null, "$version": 2});
        let patch = DesiredPatch::parse(body.to_string().as_bytes()).unwrap();
        assert_eq!(patch.version, 2);
        assert_eq!(patch.to_json(), body);
    }

    #[test]
    fn a_body_without_a_version_or_of_the_wrong_type_is_refused() {
        for bad in
            ["", "[]", "{}", r#"{"desired":{},"reported":{"$version":1}}"#, "{\"desired\":1}"]
        {
            assert!(DeviceTwin::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let error = DesiredPatch::parse(br#"{"a":1}"#).unwrap_err();
        assert_eq!(error.to_string(), "patch has no $version");
    }
}
