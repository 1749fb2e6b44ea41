//! Validation of changes to a twin.
//!
//! IoT Hub silently ignores the parts of a change that a service cannot make. To reveal
//! misplaced keys, such a change is refused before it is sent.

use protocol::twin::FIELDS;
use serde_json::{Map, Value};

use crate::command_error::{CommandError, usage};

const HINT: &str = "a service changes `tags` and `properties.desired`, as in \
    {\"properties\":{\"desired\":{\"interval\":5}}}";

/// Refuses a patch with a key that has no effect, and a patch without any effect.
pub(super) fn check_patch(patch: &Value) -> Result<(), CommandError> {
    check("the patch", patch, &["tags", "properties"], &["desired"])
}

/// Refuses a replacement with a key that twins do not have, and one with neither tags nor
/// desired properties. Accepts the fields that a service cannot change, so that the output
/// of `twin get --json` can be edited and sent back.
pub(super) fn check_replacement(twin: &Value) -> Result<(), CommandError> {
    check("the twin", twin, FIELDS, &["desired", "reported"])
}

fn check(
    name: &str,
    change: &Value,
    fields: &[&str],
    properties: &[&str],
) -> Result<(), CommandError> {
    let change = object(name, change)?;
    let no_properties = Map::new();
    let sections = match change.get("properties") {
        Some(value) => object(&format!("`properties` of {name}"), value)?,
        None => &no_properties,
    };
    if let Some(key) = change.keys().find(|key| !fields.contains(&key.as_str())) {
        return Err(refused(format!("{name} has `{key}`, which a service cannot change")));
    }
    if let Some(key) = sections.keys().find(|key| !properties.contains(&key.as_str())) {
        return Err(refused(format!(
            "{name} has `properties.{key}`, which a service cannot change"
        )));
    }
    if !change.contains_key("tags") && !sections.contains_key("desired") {
        return Err(refused(format!("{name} has neither `tags` nor `properties.desired`")));
    }
    Ok(())
}

fn object<'a>(name: &str, value: &'a Value) -> Result<&'a Map<String, Value>, CommandError> {
    value.as_object().ok_or_else(|| refused(format!("{name} is not a JSON object")))
}

fn refused(message: String) -> CommandError {
    usage(message).with_hint(HINT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(result: Result<(), CommandError>) -> String {
        result.unwrap_err().message()
    }

    #[test]
    fn a_patch_with_a_key_without_effect_is_refused() {
        for (patch, expected) in [
            (json!({ "b": 1 }), "the patch has `b`, which a service cannot change"),
            (json!({ "desired": {} }), "the patch has `desired`, which a service cannot change"),
            (
                json!({ "properties": { "reported": {} } }),
                "the patch has `properties.reported`, which a service cannot change",
            ),
            (
                json!({ "tags": {}, "etag": "AAA=" }),
                "the patch has `etag`, which a service cannot change",
            ),
            (json!({}), "the patch has neither `tags` nor `properties.desired`"),
            (json!({ "properties": {} }), "the patch has neither `tags` nor `properties.desired`"),
            (json!([]), "the patch is not a JSON object"),
            (json!({ "properties": 1 }), "`properties` of the patch is not a JSON object"),
        ] {
            assert_eq!(message(check_patch(&patch)), expected, "{patch}");
        }
    }

    #[test]
    fn a_patch_of_tags_or_desired_properties_is_accepted() {
        for patch in [
            json!({ "tags": null }),
            json!({ "properties": { "desired": { "a": null } } }),
            json!({ "tags": { "floor": 1 }, "properties": { "desired": null } }),
        ] {
            assert!(check_patch(&patch).is_ok(), "{patch}");
        }
    }

    #[test]
    fn a_whole_twin_can_be_sent_back_as_a_replacement() {
        let twin = json!({
            "deviceId": "d1", "etag": "AAA=", "version": 3, "tags": {},
            "properties": { "desired": { "$version": 2 }, "reported": { "a": 1 } },
        });
        assert!(check_replacement(&twin).is_ok());
        assert_eq!(
            message(check_replacement(&json!({ "tag": {} }))),
            "the twin has `tag`, which a service cannot change"
        );
        assert_eq!(
            message(check_replacement(&json!({ "properties": { "reported": {} } }))),
            "the twin has neither `tags` nor `properties.desired`"
        );
    }
}
