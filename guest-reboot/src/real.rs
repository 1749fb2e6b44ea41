//! Real reboots: the method is answered first, and the outcome is reported after the boot.
//!
//! `begin` handles the call: it schedules the reporting job, requests the reboot, and answers
//! immediately. [`report_outcome`] is the job, which runs after the boot or, without a boot, at
//! the time limit. The host persists the job and the reboot, so that neither is lost in a power
//! failure.

use std::time::Duration;

use crate::answer::{MethodAnswer, MethodRefusal, failed};
use crate::device::{Device, RebootableDevice, ReportProgress};
use crate::settings::RebootSettings;

/// Name of the job that reports the outcome of the reboot.
pub const JOB: &str = "report-reboot";

/// Failure of a job, with the reason. The host retries the job.
#[derive(Debug, PartialEq, Eq)]
pub struct JobFailure(pub String);

/// Requests a reboot after `delay` and schedules the job that reports the outcome.
pub(crate) fn begin(
    machine: &mut impl RebootableDevice,
    delay: Duration,
    boot_within: Duration,
) -> Result<MethodAnswer, MethodRefusal> {
    // The job is scheduled first: a reboot without a report would be worse than a report
    // without a reboot.
    let job = machine.after_boot(JOB, delay.saturating_add(boot_within));
    let job = job.map_err(|reason| failed("reboot", &reason))?;
    if let Err(reason) = machine.request_reboot(delay) {
        machine.cancel(&job);
        return Err(failed("reboot", &reason));
    }
    machine.log("Rebooting device");
    let payload = r#"{"Response": "The device is rebooting and will report the outcome"}"#;
    Ok(MethodAnswer { status: 202, payload: payload.into() })
}

/// Reports the outcome of the reboot.
pub fn report_outcome(
    device: &mut impl Device,
    rebooted: bool,
    settings: Result<RebootSettings, String>,
) -> Result<(), JobFailure> {
    let failure = |subject: &str, reason: &str| JobFailure([subject, ": ", reason].concat());
    let settings = settings.map_err(|reason| failure("configuration", &reason))?;
    let time = rebooted.then(|| device.now());
    device.log(if rebooted { "Device rebooted" } else { "Device was not rebooted" });
    let patch = settings.report.with_outcome(time.as_deref());
    let reported =
        device.report(&patch).map_err(|reason| failure("reported properties", &reason))?;
    device.log(match (reported, rebooted) {
        (ReportProgress::Updated, true) => "Device twins updated with latest rebootTime",
        (ReportProgress::Updated, false) => "Device twins updated",
        (ReportProgress::Queued, _) => "Device twins will be updated when the hub answers again",
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reboot::{METHOD, answer};

    #[derive(Default)]
    struct Recorder {
        effects: Vec<String>,
        refuses_job: bool,
        refuses_reboot: bool,
        refuses_report: bool,
    }

    impl Device for Recorder {
        fn log(&mut self, message: &str) {
            self.effects.push(format!("log {message}"));
        }

        fn sleep(&mut self, _: Duration) -> Result<(), String> {
            panic!("a real reboot does not sleep")
        }

        fn now(&mut self) -> String {
            "2026-01-31T23:59:59.123Z".into()
        }

        fn report(&mut self, patch: &str) -> Result<ReportProgress, String> {
            self.effects.push(format!("report {patch}"));
            if self.refuses_report { Err("disk full".into()) } else { Ok(ReportProgress::Updated) }
        }
    }

    impl RebootableDevice for Recorder {
        fn after_boot(&mut self, job: &str, within: Duration) -> Result<String, String> {
            self.effects.push(format!("job {job} within {within:?}"));
            if self.refuses_job { Err("no room".into()) } else { Ok("7".into()) }
        }

        fn cancel(&mut self, job_id: &str) {
            self.effects.push(format!("cancel {job_id}"));
        }

        fn request_reboot(&mut self, delay: Duration) -> Result<(), String> {
            self.effects.push(format!("reboot after {delay:?}"));
            if self.refuses_reboot { Err("a reboot is pending".into()) } else { Ok(()) }
        }
    }

    fn settings(entries: &[(&str, &str)]) -> Result<RebootSettings, String> {
        let entries: Vec<_> = entries.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        RebootSettings::parse(&entries)
    }

    fn call(recorder: &mut Recorder, payload: &str) -> Result<MethodAnswer, MethodRefusal> {
        answer(recorder, METHOD, payload, settings(&[("mode", "real")]))
    }

    #[test]
    fn a_real_reboot_is_answered_immediately_and_reported_by_a_job() {
        let mut recorder = Recorder::default();
        let answer = call(&mut recorder, r#"{"delaySeconds":5}"#).unwrap();

        let effects = ["job report-reboot within 605s", "reboot after 5s", "log Rebooting device"];
        assert_eq!(recorder.effects, effects);
        assert_eq!(answer.status, 202);
    }

    #[test]
    fn a_refused_job_prevents_the_reboot_and_a_refused_reboot_cancels_the_job() {
        let mut recorder = Recorder { refuses_job: true, ..Recorder::default() };
        let refused = call(&mut recorder, "null").unwrap_err();
        assert_eq!(refused, MethodRefusal::Failed("reboot: no room".into()));
        assert_eq!(recorder.effects, ["job report-reboot within 620s"]);

        let mut recorder = Recorder { refuses_reboot: true, ..Recorder::default() };
        let refused = call(&mut recorder, "null").unwrap_err();
        assert_eq!(refused, MethodRefusal::Failed("reboot: a reboot is pending".into()));
        assert_eq!(recorder.effects.last().unwrap(), "cancel 7");
    }

    #[test]
    fn the_time_and_outcome_are_reported_after_the_boot() {
        let mut recorder = Recorder::default();
        report_outcome(&mut recorder, true, settings(&[("mode", "real")])).unwrap();
        assert_eq!(
            recorder.effects,
            [
                "log Device rebooted",
                r#"report {"rebootTime":"2026-01-31T23:59:59.123Z","rebooted":true}"#,
                "log Device twins updated with latest rebootTime",
            ]
        );
    }

    #[test]
    fn a_missing_boot_is_reported_without_a_time() {
        let mut recorder = Recorder::default();
        report_outcome(&mut recorder, false, settings(&[("mode", "real")])).unwrap();
        assert_eq!(
            recorder.effects,
            [
                "log Device was not rebooted",
                r#"report {"rebooted":false}"#,
                "log Device twins updated",
            ]
        );
    }

    #[test]
    fn a_refused_report_fails_the_job_with_its_reason() {
        let mut recorder = Recorder { refuses_report: true, ..Recorder::default() };
        let failure = report_outcome(&mut recorder, true, settings(&[])).unwrap_err();
        assert_eq!(failure, JobFailure("reported properties: disk full".into()));
        let failure = report_outcome(&mut recorder, true, settings(&[("mode", "no")])).unwrap_err();
        let reason = "configuration: mode: `no` is neither `tutorial` nor `real`";
        assert_eq!(failure, JobFailure(reason.into()));
    }
}
