//! The service side of the reboot tutorial: invokes `rebootDevice`, then polls the
//! twin until the device has reported the time of the reboot.
//!
//! The module prints nothing; a callback receives each step.

use std::fmt;
use std::time::Duration;

use protocol::id::DeviceId;
use protocol::method::{MethodRequest, MethodResult};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{Client, ServiceError};

/// The method of the tutorial.
pub const METHOD: &str = "rebootDevice";

/// The reported property with the time of the reboot.
pub const PROPERTY: &str = "rebootTime";

/// The time between two reads of the twin.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The longest time that the twin is polled after the answer.
const LONGEST_LOOK: Duration = Duration::from_secs(30);

/// The steps of a reboot, in order.
#[derive(Debug)]
pub enum RebootStep<'a> {
    /// The start: nothing has been sent yet.
    Beginning {
        /// The hub's name, with its port if it is not 443.
        hub: &'a str,
        /// The device.
        device: &'a DeviceId,
    },
    /// The invocation of the method, which may take a while.
    Invoking,
    /// The answer of the device.
    Answered(&'a MethodResult),
    /// A twin that does not have the new time yet.
    Waiting,
    /// A twin that has the new time.
    Rebooted {
        /// The time, as the device reported it.
        time: &'a str,
    },
}

impl fmt::Display for RebootStep<'_> {
    /// Writes the step in the words of the tutorial.
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

/// Returns the request of the tutorial's service. Its payload is a JSON *string*
/// with an object as its text.
#[must_use]
pub fn request(response_timeout: Duration) -> MethodRequest {
    let name = METHOD.parse().expect("the constant is a valid method name");
    let payload = json!(r#"{"method_number":"42"}"#);
    MethodRequest { response_timeout, ..MethodRequest::new(name, payload) }
}

/// Reboots a device and returns the time that it reported.
pub async fn reboot(
    client: &Client,
    device: &DeviceId,
    request: &MethodRequest,
    mut on_step: impl FnMut(RebootStep<'_>),
) -> Result<String, ServiceError> {
    on_step(RebootStep::Beginning { hub: &client.hub(), device });
    let before = reboot_time(client, device).await?;
    on_step(RebootStep::Invoking);
    let result = client.invoke(device, request).await?;
    on_step(RebootStep::Answered(&result));
    if !(200..300).contains(&result.status) {
        return Err(ServiceError::Device {
            device: device.to_string(),
            method: request.name.to_string(),
            status: result.status,
            payload: result.payload.compact(),
        });
    }
    let until = Instant::now() + LONGEST_LOOK;
    loop {
        let now = reboot_time(client, device).await?;
        if let Some(time) = now.filter(|time| before.as_ref() != Some(time)) {
            on_step(RebootStep::Rebooted { time: &time });
            return Ok(time);
        }
        if Instant::now() >= until {
            return Err(ServiceError::NotReported {
                device: device.to_string(),
                property: PROPERTY.to_owned(),
                seconds: LONGEST_LOOK.as_secs(),
            });
        }
        on_step(RebootStep::Waiting);
        sleep(LOOK_EVERY).await;
    }
}

async fn reboot_time(client: &Client, device: &DeviceId) -> Result<Option<String>, ServiceError> {
    let twin = client.twin(device).await?;
    Ok(twin.properties.reported.get(PROPERTY).and_then(Value::as_str).map(str::to_owned))
}
