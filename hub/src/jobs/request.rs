//! Requests that create jobs.

use jiff::Timestamp;
use json::Json;
use protocol::error::{ErrorCode, HubError};
use protocol::id::JobId;
use protocol::job::{DEFAULT_EXECUTION_SECONDS, Job, JobKind, JobStatus};
use protocol::method::{MAX_PAYLOAD_BYTES, MethodRequest};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::query::{QueryError, TwinFilter};
use crate::state::TwinChange;

/// Maximum execution time of a job, in seconds.
const MAX_EXECUTION_SECONDS: u64 = 30 * 86_400;

/// The body of a request. Members that clients send besides these, such as a status, are
/// ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestedJob {
    job_id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<Value>,
    cloud_to_device_method: Option<Json>,
    update_twin: Option<Json>,
    query_condition: Option<String>,
    start_time: Option<String>,
    max_execution_time_in_seconds: Option<i64>,
}

/// Parses and checks a requested job.
pub(super) fn parse(id: &str, body: &str, now: &str) -> Result<Job, HubError> {
    let id: JobId = id.parse().map_err(|error: protocol::id::IdError| invalid(error))?;
    json::value(body).map_err(|error| invalid(format!("the body {error}")))?;
    let requested: RequestedJob =
        serde_json::from_str(body).map_err(|error| invalid(format!("job: {error}")))?;
    if requested.job_id.is_some_and(|named| named != id.as_str()) {
        return Err(invalid("the jobId in the body differs from the id in the path"));
    }
    let kind = match requested.kind.as_ref().and_then(Value::as_str) {
        Some("scheduleDeviceMethod") => JobKind::ScheduleDeviceMethod,
        Some("scheduleUpdateTwin") => JobKind::ScheduleUpdateTwin,
        _ => return Err(HubError::new(ErrorCode::GenericBadRequest, "BadRequest")),
    };
    let condition = requested.query_condition.unwrap_or_else(|| "*".to_owned());
    match TwinFilter::of_job(&condition) {
        Ok(_) => {}
        // IoT Hub has this code for it (Azure/azure-iot-sdk-csharp#1680).
        Err(error @ QueryError::TooLong(_)) => {
            return Err(HubError::new(ErrorCode::PreconditionFailed, error.to_string()));
        }
        Err(error) => return Err(invalid(format!("queryCondition: {error}"))),
    }
    let start = match requested.start_time.as_deref() {
        None | Some("") => None,
        Some(text) => Some(text.parse::<Timestamp>().map_err(|_| {
            invalid(format!("startTime `{}` is not a time in ISO 8601", json::escape(text)))
        })?),
    };
    let seconds = match requested.max_execution_time_in_seconds {
        // The .NET client sends 0 for the default.
        None | Some(0) => DEFAULT_EXECUTION_SECONDS,
        Some(seconds) => match u64::try_from(seconds) {
            Ok(seconds) if seconds <= MAX_EXECUTION_SECONDS => seconds,
            _ => {
                let text = format!(
                    "maxExecutionTimeInSeconds is {seconds}; 1 to {MAX_EXECUTION_SECONDS} are allowed"
                );
                return Err(invalid(text));
            }
        },
    };
    let (method, twin) = match kind {
        JobKind::ScheduleDeviceMethod => {
            let method = requested.cloud_to_device_method;
            let method = method.ok_or_else(|| invalid("cloudToDeviceMethod is missing"))?;
            check_method(&method)?;
            (Some(method), None)
        }
        JobKind::ScheduleUpdateTwin | JobKind::Unknown => {
            let twin = requested.update_twin;
            let twin = twin.ok_or_else(|| invalid("updateTwin is missing"))?;
            change(&twin)?;
            (None, Some(twin))
        }
    };
    Ok(Job {
        job_id: id,
        kind,
        status: JobStatus::Queued,
        query_condition: Some(condition),
        created_time: Some(now.to_owned()),
        start_time: Some(start.map_or_else(|| now.to_owned(), |start| format!("{start:.7}"))),
        end_time: None,
        max_execution_time_in_seconds: Some(seconds),
        cloud_to_device_method: method,
        update_twin: twin,
        failure_reason: None,
        status_message: None,
        device_job_statistics: None,
    })
}

fn check_method(method: &Json) -> Result<(), HubError> {
    let length = MethodRequest::from_json(method.get())?.payload.get().len();
    if length > MAX_PAYLOAD_BYTES {
        let text =
            format!("the payload has {length} bytes; at most {MAX_PAYLOAD_BYTES} are allowed");
        return Err(HubError::new(ErrorCode::MessageTooLarge, text));
    }
    Ok(())
}

/// Returns the change of a twin. Refuses a body without an `etag` of `*` and with properties in
/// the wrong place, as IoT Hub does (Azure/azure-iot-sdk-node#44).
pub(super) fn change(twin: &Json) -> Result<TwinChange, HubError> {
    let Value::Object(body) = twin.to_value() else {
        return Err(invalid("updateTwin is not a JSON object"));
    };
    if body.get("etag").and_then(Value::as_str) != Some("*") {
        return Err(invalid("updateTwin needs the etag `*`"));
    }
    if ["desired", "reported"].iter().any(|name| body.contains_key(*name)) {
        return Err(invalid("desired properties belong in `properties` of updateTwin"));
    }
    TwinChange::parse(members(body))
}

/// Returns the members that a job changes. The Node client sends all members of a twin.
fn members(mut body: Map<String, Value>) -> Map<String, Value> {
    body.retain(|name, _| name == "tags" || name == "properties");
    body
}

fn invalid(message: impl ToString) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, message.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn method(change: Value) -> Result<Job, HubError> {
        let mut body = json!({"type": "scheduleDeviceMethod",
            "cloudToDeviceMethod": {"methodName": "m"}, "queryCondition": "*"});
        let Value::Object(change) = change else { panic!() };
        body.as_object_mut().unwrap().extend(change);
        parse("job01", &body.to_string(), "2026-01-01T00:00:00.0000000Z")
    }

    #[test]
    fn a_job_has_the_defaults_of_the_documentation() {
        let job = method(json!({"maxExecutionTimeInSeconds": 0})).unwrap();
        assert_eq!(job.max_execution_time_in_seconds, Some(3600));
        assert_eq!(job.start_time, job.created_time);
        let later = method(json!({"startTime": "2026-02-01T01:00:00+01:00"})).unwrap();
        assert_eq!(later.start_time.unwrap(), "2026-02-01T00:00:00.0000000Z");
    }

    #[test]
    fn an_invalid_job_is_refused_with_the_reason() {
        let long = format!("deviceId = '{}'", "x".repeat(9000));
        let twin = |twin: Value| json!({"type": "scheduleUpdateTwin", "updateTwin": twin});
        for (change, code, reason) in [
            (json!({"type": "reboot"}), ErrorCode::GenericBadRequest, "BadRequest"),
            (json!({"jobId": "other"}), ErrorCode::ArgumentInvalid, "differs from the id"),
            (json!({"queryCondition": long}), ErrorCode::PreconditionFailed, "9013 characters"),
            (json!({"queryCondition": "a ="}), ErrorCode::ArgumentInvalid, "queryCondition: query"),
            (json!({"startTime": "soon"}), ErrorCode::ArgumentInvalid, "startTime `soon`"),
            (json!({"maxExecutionTimeInSeconds": -1}), ErrorCode::ArgumentInvalid, "is -1"),
            (json!({"cloudToDeviceMethod": {}}), ErrorCode::ArgumentInvalid, "methodName"),
            (json!({"cloudToDeviceMethod": null}), ErrorCode::ArgumentInvalid, "is missing"),
            (twin(json!({"tags": {}})), ErrorCode::ArgumentInvalid, "needs the etag `*`"),
            (twin(json!({"etag": "x"})), ErrorCode::ArgumentInvalid, "needs the etag `*`"),
            (
                twin(json!({"etag": "*", "desired": {}})),
                ErrorCode::ArgumentInvalid,
                "belong in `properties`",
            ),
            (twin(json!({"etag": "*", "tags": 1})), ErrorCode::ArgumentInvalid, "tags is not"),
        ] {
            let error = method(change.clone()).unwrap_err();
            assert_eq!(error.code, code, "{change}");
            assert!(error.message.contains(reason), "{change}: {}", error.message);
        }
        assert!(parse("a_b", "{}", "").unwrap_err().message.contains("job id `a_b`"));
        assert!(parse("a", "{", "").unwrap_err().message.starts_with("the body"));
    }
}
