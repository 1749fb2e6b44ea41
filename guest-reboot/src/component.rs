//! WebAssembly component: implements the traits in [`device`](crate::device) with the host's
//! interfaces, and exports the method.
//!
//! This module contains no logic and is compiled only for WebAssembly.

use std::time::Duration;

use device::behaviour::types::{Error, MethodError, Response};
use device::behaviour::{clock, config, log, twin};
use exports::device::behaviour::methods::Guest;

use crate::answer::MethodRefusal;
use crate::device::{Device, ReportProgress};
use crate::reboot;
use crate::settings::RebootSettings;

#[cfg(not(feature = "power"))]
wit_bindgen::generate!({ path: "../wit", world: "behaviour" });
#[cfg(feature = "power")]
wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package guest:reboot;
        world real {
            include device:behaviour/behaviour@0.1.2;
            import device:behaviour/power@0.1.2;
            export device:behaviour/deferred@0.1.2;
        }
    ",
    world: "guest:reboot/real",
    generate_all,
});

#[cfg(feature = "power")]
mod power;

/// Maximum time to wait for the delivery of the report, in milliseconds.
const LONGEST_REPORT_MS: u32 = 5_000;

struct RebootPlugin;

impl Guest for RebootPlugin {
    fn invoke(name: String, payload: String) -> Result<Response, MethodError> {
        let settings = RebootSettings::parse(&config::entries());
        match reboot::answer(&mut Host, &name, &payload, settings) {
            Ok(answer) => Ok(Response { status: answer.status, payload: Some(answer.payload) }),
            Err(MethodRefusal::InvalidPayload(reason)) => Err(MethodError::InvalidPayload(reason)),
            Err(MethodRefusal::UnknownMethod) => Err(MethodError::UnknownMethod),
            Err(MethodRefusal::Failed(reason)) => Err(MethodError::Failed(reason)),
        }
    }
}

export!(RebootPlugin);

struct Host;

impl Device for Host {
    fn log(&mut self, message: &str) {
        log::write(log::Level::Info, message, &[]);
    }

    fn sleep(&mut self, delay: Duration) -> Result<(), String> {
        clock::sleep_ms(milliseconds(delay)).map_err(text)
    }

    fn now(&mut self) -> String {
        clock::now_rfc3339()
    }

    fn report(&mut self, patch: &str) -> Result<ReportProgress, String> {
        match twin::report_and_wait(patch, LONGEST_REPORT_MS) {
            Ok(_version) => Ok(ReportProgress::Updated),
            // The host has accepted the report and will deliver it later.
            Err(Error::Offline | Error::Timeout) => Ok(ReportProgress::Queued),
            Err(error) => Err(text(error)),
        }
    }
}

/// Refuses every request: this component does not import the capability `power`.
#[cfg(not(feature = "power"))]
impl crate::device::RebootableDevice for Host {
    fn after_boot(&mut self, _job: &str, _within: Duration) -> Result<String, String> {
        Err("this component only simulates a reboot; build `guest-reboot/real` for a real one"
            .into())
    }

    fn cancel(&mut self, _job_id: &str) {}

    fn request_reboot(&mut self, _delay: Duration) -> Result<(), String> {
        Err("this component cannot reboot the machine".into())
    }
}

/// Converts a delay to milliseconds. A `u32` holds 49 days, and the maximum delay is about a
/// day.
fn milliseconds(delay: Duration) -> u32 {
    u32::try_from(delay.as_millis()).unwrap_or(u32::MAX)
}

fn text(error: Error) -> String {
    let (kind, reason) = match error {
        Error::Denied(reason) => ("denied", reason),
        Error::Invalid(reason) => ("invalid", reason),
        Error::TooLarge(reason) => ("too large", reason),
        Error::QuotaExceeded(reason) => ("quota exceeded", reason),
        Error::Offline => return "the device is offline".into(),
        Error::Timeout => return "no answer from the hub in time".into(),
        Error::Throttled(_) => return "throttled by the hub".into(),
        Error::Other(reason) => return reason,
    };
    [kind, ": ", &reason].concat()
}
