//! The service side of the reboot tutorial: invoke `rebootDevice`, then look at
//! the twin until the device has reported the time of it.
//!
//! It prints nothing: who wants to show the steps is told of each.

use std::fmt;
use std::time::Duration;

use protocol::id::DeviceId;
use protocol::method::{MethodRequest, MethodResult};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{Client, ServiceError};

/// The method of the tutorial.
pub const METHOD: &str = "rebootDevice";

/// The reported property that tells of it.
pub const PROPERTY: &str = "rebootTime";

/// How often the twin is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long the twin is looked at after the answer.
const LONGEST_LOOK: Duration = Duration::from_secs(30);

/// What happens, in order.
#[derive(Debug)]
pub enum RebootStep<'a> {
    /// Which device of which hub is about to be rebooted.
    Beginning {
        /// The hub's name, and its port where it is not 443.
        hub: &'a str,
        /// The device.
        device: &'a DeviceId,
    },
    /// The method is being invoked; the device may take a while.
    Invoking,
    /// The device has answered.
    Answered(&'a MethodResult),
    /// The twin does not have the new time yet.
    Waiting,
    /// The twin has it.
    Rebooted {
        /// As the device reported it.
        time: &'a str,
    },
}

impl fmt::Display for RebootStep<'_> {
    /// In the words of the tutorial.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RebootStep::Beginning { hub, device } => write!(f, "Hub {hub}, device {device}"),
            RebootStep::Invoking => f.write_str("Invoking device to reboot..."),
            RebootStep::Answered(MethodResult { status, payload }) => {
                write!(f, "The device answered {status}: {payload}")
            }
            RebootStep::Waiting => f.write_str("Waiting for device to report last reboot time..."),
            RebootStep::Rebooted { time } => write!(f, "Last reboot time: {time}"),
        }
    }
}

/// The request of the tutorial's service: its payload is a JSON *text* that
/// happens to look like an object.
#[must_use]
pub fn request(response_timeout: Duration) -> MethodRequest {
    let name = METHOD.parse().expect("it is a method name");
    let payload = json!(r#"{"method_number":"42"}"#);
    MethodRequest { response_timeout, ..MethodRequest::new(name, payload) }
}

/// Reboots a device and gives the time that it reported.
pub async fn reboot(
    client: &Client,
    device: &DeviceId,
    request: &MethodRequest,
    mut tell: impl FnMut(RebootStep<'_>),
) -> Result<String, ServiceError> {
    tell(RebootStep::Beginning { hub: &client.hub(), device });
    let before = reboot_time(client, device).await?;
    tell(RebootStep::Invoking);
    let result = client.invoke(device, request).await?;
    tell(RebootStep::Answered(&result));
    if !(200..300).contains(&result.status) {
        return Err(ServiceError::Device {
            device: device.to_string(),
            method: request.name.to_string(),
            status: result.status,
            payload: result.payload.to_string(),
        });
    }
    let until = Instant::now() + LONGEST_LOOK;
    loop {
        let now = reboot_time(client, device).await?;
        if let Some(time) = now.filter(|time| before.as_ref() != Some(time)) {
            tell(RebootStep::Rebooted { time: &time });
            return Ok(time);
        }
        if Instant::now() >= until {
            return Err(ServiceError::NotReported {
                device: device.to_string(),
                property: PROPERTY.to_owned(),
                seconds: LONGEST_LOOK.as_secs(),
            });
        }
        tell(RebootStep::Waiting);
        sleep(LOOK_EVERY).await;
    }
}

async fn reboot_time(client: &Client, device: &DeviceId) -> Result<Option<String>, ServiceError> {
    let twin = client.twin(device).await?;
    Ok(twin.properties.reported.get(PROPERTY).and_then(Value::as_str).map(str::to_owned))
}
