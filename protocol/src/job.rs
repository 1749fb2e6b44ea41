//! Jobs, which call a method on or change the twin of many devices.
//!
//! A service creates a [`Job`] and reads its state; the hub fills in all other fields.
//! [`DeviceJob`] is the part of one device. Source: documentation of IoT Hub, "Schedule jobs
//! on multiple devices".

use json::Json;
use serde::{Deserialize, Serialize};

use crate::id::{DeviceId, JobId, ModuleId};
use crate::method::MethodResult;
use crate::nulls::null_as_default;

/// Maximum execution time of a job that has none, in seconds.
pub const DEFAULT_EXECUTION_SECONDS: u64 = 3600;

/// The fields of a device's part in a query of `devices.jobs`.
pub const DEVICE_JOB_FIELDS: &[&str] = &[
    "deviceId",
    "moduleId",
    "jobId",
    "jobType",
    "status",
    "startTimeUtc",
    "endTimeUtc",
    "createdDateTimeUtc",
    "lastUpdatedDateTimeUtc",
    "outcome",
    "error",
];

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// The id, chosen by the service.
    pub job_id: JobId,
    /// The work.
    #[serde(rename = "type")]
    pub kind: JobKind,
    /// The state.
    #[serde(default)]
    pub status: JobStatus,
    /// The condition that selects the devices; `*` selects all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_condition: Option<String>,
    /// The time of creation, in RFC 3339 format, as all times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_time: Option<String>,
    /// The time of the start; the creation by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// The time of the end, once the job has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<String>,
    /// Maximum time from the start to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_execution_time_in_seconds: Option<u64>,
    /// The method, as in the body of a direct method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_to_device_method: Option<Json>,
    /// The patch of the twins, with an `etag` of `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_twin: Option<Json>,
    /// The reason of a failed job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// Further information about the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
    /// Numbers of devices by state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_job_statistics: Option<JobStatistics>,
}

/// The work of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum JobKind {
    /// Calls a method.
    ScheduleDeviceMethod,
    /// Patches twins.
    ScheduleUpdateTwin,
    /// Other work, such as the export of the registry, which this crate does not describe.
    #[serde(other)]
    Unknown,
}

/// The state of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum JobStatus {
    /// Accepted.
    #[serde(alias = "enqueued")]
    Queued,
    /// Accepted, with a start in the future.
    Scheduled,
    /// Started.
    Running,
    /// Ended on all devices, successfully or not.
    Completed,
    /// Ended because the job itself failed.
    Failed,
    /// Cancelled before the start.
    Cancelled,
    /// A state that this crate does not describe.
    #[default]
    #[serde(other)]
    Unknown,
}

impl JobStatus {
    /// Returns `true` if the state is final.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled)
    }
}

/// Numbers of devices by the state of their part in a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobStatistics {
    /// All devices.
    pub device_count: u64,
    /// Devices that failed.
    pub failed_count: u64,
    /// Devices that succeeded.
    pub succeeded_count: u64,
    /// Devices on which the work is in progress.
    pub running_count: u64,
    /// Devices that still have to start.
    pub pending_count: u64,
}

/// The part of a device in a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceJob {
    /// The device.
    pub device_id: DeviceId,
    /// The module of the device, if the job selects modules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<ModuleId>,
    /// The job.
    pub job_id: JobId,
    /// The work of the job.
    pub job_type: JobKind,
    /// The state.
    pub status: DeviceJobStatus,
    /// The time of the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time_utc: Option<String>,
    /// The time of the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time_utc: Option<String>,
    /// The time at which the device became part of the job.
    #[serde(default)]
    pub created_date_time_utc: String,
    /// The time of the last change.
    #[serde(default)]
    pub last_updated_date_time_utc: String,
    /// The answer of a method.
    #[serde(default, deserialize_with = "null_as_default")]
    pub outcome: DeviceJobOutcome,
    /// The reason of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<DeviceJobError>,
}

/// The state of a device's part in a job. In contrast to a job, `canceled` has one `l`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are the documentation's own")]
pub enum DeviceJobStatus {
    Pending,
    Scheduled,
    Running,
    Completed,
    Failed,
    Canceled,
}

/// The result of the work on a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceJobOutcome {
    /// The answer of a method; `None` for a change of the twin.
    pub device_method_response: Option<MethodResult>,
}

/// The reason of a failure on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceJobError {
    /// The number of an error code.
    pub code: String,
    /// The message.
    #[serde(default)]
    pub description: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_documented_job_survives_a_round_trip() {
        let text = r#"{"jobId":"job01","type":"scheduleDeviceMethod","status":"completed","queryCondition":"*","createdTime":"2026-01-01T00:00:00Z","maxExecutionTimeInSeconds":60,"cloudToDeviceMethod":{"methodName":"m","payload":1e400},"deviceJobStatistics":{"deviceCount":2,"failedCount":1,"succeededCount":1,"runningCount":0,"pendingCount":0}}"#;
        let job: Job = serde_json::from_str(text).unwrap();
        assert!(job.status.is_final());
        assert_eq!(serde_json::to_string(&job).unwrap(), text);
    }

    #[test]
    fn states_and_work_of_other_jobs_are_accepted() {
        let text = r#"{"jobId":"j","type":"export","status":"archived"}"#;
        let job: Job = serde_json::from_str(text).unwrap();
        assert_eq!((job.kind, job.status), (JobKind::Unknown, JobStatus::Unknown));
        let text = r#"{"jobId":"j","type":"scheduleUpdateTwin","status":"enqueued"}"#;
        assert_eq!(serde_json::from_str::<Job>(text).unwrap().status, JobStatus::Queued);
    }

    #[test]
    fn the_documented_part_of_a_device_is_read() {
        let text = r#"{"deviceId":"d1","jobId":"job01","jobType":"scheduleDeviceMethod","status":"failed","startTimeUtc":"2016-09-29T18:18:52.7418462Z","createdDateTimeUtc":"2016-09-29T18:18:56.7787107Z","lastUpdatedDateTimeUtc":"2016-09-29T18:18:56.8894408Z","outcome":null,"error":{"code":"404103","description":"offline"}}"#;
        let part: DeviceJob = serde_json::from_str(text).unwrap();
        assert_eq!(part.status, DeviceJobStatus::Failed);
        assert_eq!(part.error.unwrap().code, "404103");
        let text = r#"{"deviceMethodResponse":{"status":200,"payload":{}}}"#;
        let outcome: DeviceJobOutcome = serde_json::from_str(text).unwrap();
        assert_eq!(outcome.device_method_response.unwrap().status, 200);
    }
}
