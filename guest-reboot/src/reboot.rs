//! The method `rebootDevice`: its effects and their order.
//!
//! [`answer`] handles one call: it waits, reports the time of the reboot and answers. All
//! effects go through a [`RebootableDevice`], so that tests can observe them. The module
//! does not depend on WIT, twins or MQTT.

use std::fmt;
use std::time::Duration;

use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::answer::{MethodAnswer, MethodRefusal, failed};
use crate::device::{RebootableDevice, ReportProgress};
use crate::real;
use crate::settings::{RebootMode, RebootSettings, delay};

/// Name of the only method of this plugin.
pub const METHOD: &str = "rebootDevice";

/// Answers one call. Invalid settings are refused before any effect.
pub fn answer(
    device: &mut impl RebootableDevice,
    method: &str,
    payload: &str,
    settings: Result<RebootSettings, String>,
) -> Result<MethodAnswer, MethodRefusal> {
    if method != METHOD {
        return Err(MethodRefusal::UnknownMethod);
    }
    let settings = settings.map_err(|reason| failed("configuration", &reason))?;
    let delay = requested_delay(payload)?.unwrap_or(settings.delay);
    if settings.mode == RebootMode::Real {
        return real::begin(device, delay, settings.boot_within);
    }

    device.log("Rebooting device");
    device.sleep(delay).map_err(|reason| failed("reboot", &reason))?;
    device.log("Device rebooted");

    let patch = settings.report.with_time(&device.now());
    let reported =
        device.report(&patch).map_err(|reason| failed("reported properties", &reason))?;
    device.log(match reported {
        ReportProgress::Updated => "Device twins updated with latest rebootTime",
        ReportProgress::Queued => "Device twins will be updated when the hub answers again",
    });

    let payload = r#"{"Response": "This is the response from the device"}"#;
    Ok(MethodAnswer { status: 200, payload: payload.into() })
}

/// Returns the delay that the payload requests, if any. Any JSON is a valid payload, and
/// the tutorial's service sends a string; only objects are searched.
fn requested_delay(payload: &str) -> Result<Option<Duration>, MethodRefusal> {
    if !payload.trim_start().starts_with('{') {
        return Ok(None);
    }
    let mut json = serde_json::Deserializer::from_str(payload);
    let requested = json.deserialize_map(DelaySeconds).map_err(|error| error.to_string());
    let requested = requested.map_err(MethodRefusal::InvalidPayload)?;
    requested
        .map(|requested| delay(&requested))
        .transpose()
        .map_err(|reason| MethodRefusal::InvalidPayload(["delaySeconds: ", &reason].concat()))
}

/// Visitor that extracts `delaySeconds`. Other members may be nested to any depth and contain
/// numbers of any size.
struct DelaySeconds;

impl<'de> Visitor<'de> for DelaySeconds {
    type Value = Option<Value>;

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Option<Value>, A::Error> {
        let mut found = None;
        while let Some(key) = object.next_key::<String>()? {
            if key == "delaySeconds" {
                found = Some(object.next_value()?);
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;

    #[derive(Default)]
    struct Recorder {
        effects: Vec<String>,
        refuses_sleep: bool,
        refuses_report: bool,
        queues_report: bool,
    }

    impl Device for Recorder {
        fn log(&mut self, message: &str) {
            self.effects.push(format!("log {message}"));
        }

        fn sleep(&mut self, delay: Duration) -> Result<(), String> {
            self.effects.push(format!("sleep {delay:?}"));
            if self.refuses_sleep { Err("no time".into()) } else { Ok(()) }
        }

        fn now(&mut self) -> String {
            "2026-01-31T23:59:59.123Z".into()
        }

        fn report(&mut self, patch: &str) -> Result<ReportProgress, String> {
            self.effects.push(format!("report {patch}"));
            match (self.refuses_report, self.queues_report) {
                (true, _) => Err("too large: 33 KB".into()),
                (false, true) => Ok(ReportProgress::Queued),
                (false, false) => Ok(ReportProgress::Updated),
            }
        }
    }

    impl RebootableDevice for Recorder {
        fn after_boot(&mut self, _: &str, _: Duration) -> Result<String, String> {
            panic!("a simulated reboot requests no job")
        }

        fn cancel(&mut self, _: &str) {
            panic!("a simulated reboot cancels no job")
        }

        fn request_reboot(&mut self, _: Duration) -> Result<(), String> {
            panic!("a simulated reboot does not reboot the machine")
        }
    }

    fn call(
        device: &mut Recorder,
        payload: &str,
        config: &[(&str, &str)],
    ) -> Result<MethodAnswer, MethodRefusal> {
        let config: Vec<_> = config.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        answer(device, METHOD, payload, RebootSettings::parse(&config))
    }

    fn check_sleep(payload: &str, config: &[(&str, &str)], sleep: &str) {
        let mut device = Recorder::default();
        call(&mut device, payload, config).unwrap();
        assert_eq!(device.effects[1], format!("sleep {sleep}"), "payload {payload}");
    }

    fn check_refused(payload: &str, config: &[(&str, &str)], refusal: MethodRefusal) {
        let mut device = Recorder::default();
        assert_eq!(call(&mut device, payload, config), Err(refusal));
        assert!(device.effects.is_empty(), "refused, but did {:?}", device.effects);
    }

    #[test]
    fn a_reboot_has_the_log_and_the_order_of_the_tutorial() {
        let mut device = Recorder::default();

        let answer = call(&mut device, r#""{\"method_number\":\"42\"}""#, &[]).unwrap();

        assert_eq!(
            device.effects,
            [
                "log Rebooting device",
                "sleep 20s",
                "log Device rebooted",
                r#"report {"rebootTime":"2026-01-31T23:59:59.123Z"}"#,
                "log Device twins updated with latest rebootTime",
            ]
        );
        assert_eq!(answer.status, 200);
        assert_eq!(answer.payload, r#"{"Response": "This is the response from the device"}"#);
    }

    #[test]
    fn a_payload_without_a_delay_keeps_the_default() {
        let deep = format!(r#"{{"deep":{}1e400{}}}"#, "[".repeat(5000), "]".repeat(5000));
        for payload in [&deep, "null", "true", "1e400", r#""text""#, "[5]", "{}", r#"{"other":1}"#]
        {
            check_sleep(payload, &[], "20s");
        }
    }

    #[test]
    fn the_payload_overrides_the_setting_which_overrides_the_default() {
        check_sleep("null", &[("delay_seconds", "3")], "3s");
        check_sleep(r#"{"delaySeconds":5}"#, &[("delay_seconds", "3")], "5s");
        check_sleep(r#"{"delaySeconds":0}"#, &[], "0ns");
        check_sleep(r#"{"delaySeconds":0.25}"#, &[], "250ms");
        check_sleep(r#"{"delaySeconds":300}"#, &[], "300s");
    }

    #[test]
    fn a_delay_outside_0_to_300_is_refused_and_quoted() {
        for requested in ["-1", "300.5", "1e300", "\"5\"", "null", "[]", "true"] {
            let reason = format!("delaySeconds: {requested} is not a number from 0 to 300");
            let reason = reason.replace("1e300", "1e+300");
            let payload = format!(r#"{{"delaySeconds":{requested}}}"#);
            check_refused(&payload, &[], MethodRefusal::InvalidPayload(reason));
        }
    }

    #[test]
    fn an_absurd_delay_is_refused_with_a_short_message() {
        let list = format!("[{}0]", "0,".repeat(1000));
        let reason = "delaySeconds: a value of 2003 bytes is not a number from 0 to 300";
        let payload = format!(r#"{{"delaySeconds":{list}}}"#);
        check_refused(&payload, &[], MethodRefusal::InvalidPayload(reason.into()));

        let reason = "number out of range at line 1 column 21";
        check_refused(
            r#"{"delaySeconds":1e400}"#,
            &[],
            MethodRefusal::InvalidPayload(reason.into()),
        );
    }

    #[test]
    fn the_last_of_two_delays_is_used() {
        check_sleep(r#"{"delaySeconds":1,"delaySeconds":2}"#, &[], "2s");
    }

    #[test]
    fn an_invalid_setting_refuses_every_call_before_any_effect() {
        let reason = "configuration: delay_seconds: \"soon\" is not a number from 0 to 300";
        check_refused("null", &[("delay_seconds", "soon")], MethodRefusal::Failed(reason.into()));
    }

    #[test]
    fn another_method_is_unknown_and_has_no_effect() {
        let mut device = Recorder::default();
        let answer = answer(&mut device, "lockDoor", "null", RebootSettings::parse(&[]));
        assert_eq!(answer, Err(MethodRefusal::UnknownMethod));
        assert!(device.effects.is_empty());
    }

    #[test]
    fn a_refused_report_fails_the_call_and_is_not_logged_as_updated() {
        let mut device = Recorder { refuses_report: true, ..Recorder::default() };
        let answer = call(&mut device, "null", &[]);
        assert_eq!(
            answer,
            Err(MethodRefusal::Failed("reported properties: too large: 33 KB".into()))
        );
        assert!(device.effects.last().unwrap().starts_with("report"));
    }

    #[test]
    fn a_queued_report_is_answered_but_not_logged_as_updated() {
        let mut device = Recorder { queues_report: true, ..Recorder::default() };
        assert_eq!(call(&mut device, "null", &[]).unwrap().status, 200);
        let last = device.effects.last().unwrap();
        assert_eq!(last, "log Device twins will be updated when the hub answers again");
    }

    #[test]
    fn an_interrupted_wait_reports_no_reboot() {
        let mut device = Recorder { refuses_sleep: true, ..Recorder::default() };
        assert_eq!(
            call(&mut device, "null", &[]),
            Err(MethodRefusal::Failed("reboot: no time".into()))
        );
        assert_eq!(device.effects, ["log Rebooting device", "sleep 20s"]);
    }
}
