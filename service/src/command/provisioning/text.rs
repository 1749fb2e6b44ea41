//! Enrollments and registrations as lines of text.

use serde_json::Value;

/// Returns a line with the id, the status and the attestation of an enrollment, and the hub of
/// its device.
pub(super) fn enrollment(entry: &Value) -> String {
    let id = [&entry["registrationId"], &entry["enrollmentGroupId"]];
    let id = id.into_iter().find_map(Value::as_str).unwrap_or_default();
    let status = entry["provisioningStatus"].as_str().unwrap_or("enabled");
    let attestation = entry["attestation"]["type"].as_str().unwrap_or("none");
    let line = format!("{id:<32} {status:<8} {attestation:<12}");
    let hub = entry["registrationState"]["assignedHub"].as_str().unwrap_or_default();
    format!("{line} {hub}").trim_end().to_owned()
}

/// Returns a line with the id, the status, the hub and the device of a registration.
pub(super) fn registration(registration: &Value) -> String {
    let text = |name: &str| registration[name].as_str().unwrap_or_default();
    let (id, status) = (text("registrationId"), text("status"));
    let line = format!("{id:<32} {status:<10} {} {}", text("assignedHub"), text("deviceId"));
    line.trim_end().to_owned()
}
