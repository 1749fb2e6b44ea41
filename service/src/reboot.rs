//! The service side of the reboot tutorial.
//!
//! Invokes `rebootDevice`, then polls the twin until the device has reported the time of
//! the reboot or its failure. The module prints nothing; a callback receives each step.

use std::fmt;
use std::time::Duration;

use protocol::id::DeviceId;
use protocol::method::{MethodRequest, MethodResult, RESPONSE_TIMEOUT_SECONDS};
use protocol::twin::METADATA;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use crate::{Client, ServiceError};

/// The name of the tutorial's method.
pub const METHOD: &str = "rebootDevice";

/// The reported property with the time of the reboot.
pub const PROPERTY: &str = "rebootTime";

/// The reported property with the outcome of the reboot: `true` if the device rebooted.
pub const OUTCOME: &str = "rebooted";

/// Interval between two reads of the twin.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The steps of a reboot, in order.
#[derive(Debug)]
pub enum RebootStep<'a> {
    /// The start, before any request.
    Beginning {
        /// The hub's host name, with the port if it is not 443.
        hub: &'a str,
        /// The device.
        device: &'a DeviceId,
    },
    /// The invocation of the method.
    Invoking,
    /// The device's answer to the method.
    Answered(&'a MethodResult),
    /// A twin without the new time.
    Waiting,
    /// A twin with the new time.
    Rebooted {
        /// The time, as the device reported it.
        time: &'a str,
    },
}

impl fmt::Display for RebootStep<'_> {
    /// Writes the step as in the tutorial.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RebootStep::Beginning { hub, device } => write!(f, "Hub {hub}, device {device}"),
            RebootStep::Invoking => f.write_str("Invoking device to reboot..."),
            RebootStep::Answered(MethodResult { status, payload }) => {
                write!(f, "The device answered {status}: {}", payload.compact())
            }
            RebootStep::Waiting => f.write_str("Waiting for device to report last reboot time..."),
            RebootStep::Rebooted { time } => write!(f, "Last reboot time: {time}"),
        }
    }
}

/// Returns the request of the tutorial's service. Its payload is a JSON *string* that
/// contains a serialised object.
fn request(timeout: Duration) -> MethodRequest {
    let (shortest, longest) = RESPONSE_TIMEOUT_SECONDS.into_inner();
    let seconds = Duration::from_secs;
    let response_timeout = timeout.clamp(seconds(shortest), seconds(longest));
    let name = METHOD.parse().expect("the constant is a valid method name");
    let payload = json!(r#"{"method_number":"42"}"#);
    MethodRequest { response_timeout, ..MethodRequest::new(name, payload) }
}

/// Reboots a device and returns the time that it reported.
///
/// `timeout` applies to the answer of the method, within the limits of IoT Hub (5 to
/// 300 s), and then again to the report of the outcome.
pub async fn reboot(
    client: &Client,
    device: &DeviceId,
    timeout: Duration,
    mut on_step: impl FnMut(RebootStep<'_>),
) -> Result<String, ServiceError> {
    on_step(RebootStep::Beginning { hub: &client.hub(), device });
    let request = request(timeout);
    let before = Report::of(client, device).await?;
    on_step(RebootStep::Invoking);
    let result = client.invoke(device, &request).await?;
    on_step(RebootStep::Answered(&result));
    if !(200..300).contains(&result.status) {
        return Err(ServiceError::Device {
            device: device.to_string(),
            method: request.name.to_string(),
            status: result.status,
            payload: result.payload.compact(),
        });
    }
    let until = Instant::now() + timeout;
    loop {
        let now = Report::of(client, device).await?;
        if let Some(time) = now.time.filter(|time| before.time.as_ref() != Some(time)) {
            on_step(RebootStep::Rebooted { time: &time });
            return Ok(time);
        }
        // A new report of the same outcome has a new time in its metadata.
        if now.rebooted == Some(false) && now.changed != before.changed {
            return Err(ServiceError::NotRebooted { device: device.to_string() });
        }
        if Instant::now() >= until {
            return Err(ServiceError::NotReported {
                device: device.to_string(),
                property: PROPERTY.to_owned(),
                timeout,
            });
        }
        on_step(RebootStep::Waiting);
        sleep(POLL_INTERVAL).await;
    }
}

/// The report of a reboot in a twin.
#[derive(Debug, PartialEq)]
struct Report {
    time: Option<String>,
    rebooted: Option<bool>,
    /// The metadata of the outcome: the time of its last change.
    changed: Option<Value>,
}

impl Report {
    async fn of(client: &Client, device: &DeviceId) -> Result<Report, ServiceError> {
        Ok(Report::read(&client.twin(device).await?.properties.reported))
    }

    fn read(reported: &Map<String, Value>) -> Report {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Report {
            time: reported.get(PROPERTY).and_then(text),
            rebooted: reported.get(OUTCOME).and_then(Value::as_bool),
            changed: reported.get(METADATA).and_then(|metadata| metadata.get(OUTCOME)).cloned(),
        }
    }
}
