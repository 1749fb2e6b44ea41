//! The steps of a case.

use std::time::Duration;

use protocol::id::MethodName;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::expect::{Expect, present};
use super::message::CaseMessage;
use super::{Boot, Case};
use crate::desk::{ExportCall, Outcome, Restart, Session};

/// One step of a case: a call, a span of time or a restart.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// A name for the output.
    pub name: Option<String>,
    /// The method to call. Exactly one of `method`, `job`, `changed`, `message`, `start`, `after`
    /// and `restart` must be present.
    pub method: Option<MethodName>,
    /// The job to run.
    pub job: Option<String>,
    /// A patch of the desired properties, of which a plugin that exports `desired` is notified.
    pub changed: Option<Map<String, Value>>,
    /// A cloud-to-device message.
    pub message: Option<CaseMessage>,
    /// The version that the starting plugin replaces; `null` if there was none.
    #[serde(default, deserialize_with = "present")]
    pub start: Option<Option<String>>,
    /// The payload of the method or job; `null` by default.
    pub payload: Option<Box<RawValue>>,
    /// The attempt number of the job or message; 1 by default.
    pub attempt: Option<u32>,
    /// The outcome of the boot that the job waited for.
    pub boot_outcome: Option<Boot>,
    /// A span of virtual time, in which the due jobs run.
    #[serde(default, deserialize_with = "duration")]
    pub after: Option<Duration>,
    /// A restart of the host or of the machine.
    pub restart: Option<RestartKind>,
    /// `true` if the device is not connected to the hub, from this step on.
    pub offline: Option<bool>,
    /// The expected outcome of the step.
    #[serde(default)]
    pub expect: Expect,
}

/// The extent of a restart.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestartKind {
    /// The host ends and starts again.
    Host,
    /// The machine boots.
    Machine,
}

/// The keys that describe a call, which a case without steps and a step have in common.
#[derive(Clone, Copy)]
pub(super) struct CallKeys<'a> {
    method: Option<&'a MethodName>,
    job: Option<&'a str>,
    changed: Option<&'a Map<String, Value>>,
    message: Option<&'a CaseMessage>,
    start: Option<Option<&'a str>>,
    payload: Option<&'a RawValue>,
    attempt: Option<u32>,
    boot_outcome: Option<Boot>,
}

impl<'a> CallKeys<'a> {
    pub(super) fn of_case(case: &'a Case) -> CallKeys<'a> {
        CallKeys {
            method: case.method.as_ref(),
            job: case.job.as_deref(),
            changed: case.changed.as_ref(),
            message: case.message.as_ref(),
            start: case.start.as_ref().map(Option::as_deref),
            payload: case.payload.as_deref(),
            attempt: case.attempt,
            boot_outcome: case.boot_outcome,
        }
    }

    fn of_step(step: &'a Step) -> CallKeys<'a> {
        CallKeys {
            method: step.method.as_ref(),
            job: step.job.as_deref(),
            changed: step.changed.as_ref(),
            message: step.message.as_ref(),
            start: step.start.as_ref().map(Option::as_deref),
            payload: step.payload.as_deref(),
            attempt: step.attempt,
            boot_outcome: step.boot_outcome,
        }
    }

    /// Returns `true` if no key is present.
    pub(super) fn is_empty(self) -> bool {
        let no_call = self.method.is_none() && self.job.is_none();
        no_call
            && self.changed.is_none()
            && self.message.is_none()
            && self.start.is_none()
            && self.payload.is_none()
            && self.attempt.is_none()
            && self.boot_outcome.is_none()
    }

    /// Returns the call that the keys describe.
    pub(super) fn described_call(self) -> Result<DescribedCall<'a>, String> {
        let Some(message) = self.message else {
            return self.export_call().map(DescribedCall::Export);
        };
        let others = CallKeys { message: None, attempt: None, ..self };
        if !others.is_empty() {
            return Err("`message` allows no other call, and only `attempt`".to_owned());
        }
        let (body, attempt) = (message.bytes()?, self.attempt.unwrap_or(1));
        Ok(DescribedCall::Message { body, properties: &message.properties, attempt })
    }

    /// Returns the call of an export other than `messages`.
    fn export_call(self) -> Result<ExportCall<'a>, String> {
        let payload = self.payload.map_or("null", RawValue::get);
        let no_job = self.attempt.is_none() && self.boot_outcome.is_none();
        match (self.method, self.job, self.changed, self.start) {
            (Some(name), None, None, None) if no_job => {
                Ok(ExportCall::Method { name: name.as_str(), payload })
            }
            (None, Some(name), None, None) => Ok(ExportCall::Job {
                name,
                payload,
                attempt: self.attempt.unwrap_or(1),
                boot_outcome: self.boot_outcome.unwrap_or(Boot::NotWaitedFor).into(),
            }),
            (None, None, Some(patch), None) if no_job && self.payload.is_none() => {
                Ok(ExportCall::Changed { patch })
            }
            (None, None, None, Some(previous_version)) if no_job && self.payload.is_none() => {
                Ok(ExportCall::Start { previous_version })
            }
            (Some(_), None, None, None) => {
                Err("`attempt` and `boot_outcome` need `job`".to_owned())
            }
            (None, None, Some(_), None) | (None, None, None, Some(_)) => {
                Err("`payload`, `attempt` and `boot_outcome` do not apply to `changed` and `start`"
                    .to_owned())
            }
            _ => Err("expected exactly one of `method`, `job`, `changed`, `message` and `start`"
                .to_owned()),
        }
    }
}

/// A call that the keys describe.
pub(super) enum DescribedCall<'a> {
    Export(ExportCall<'a>),
    Message { body: Vec<u8>, properties: &'a [(String, String)], attempt: u32 },
}

impl DescribedCall<'_> {
    pub(super) fn as_export_call(&self) -> ExportCall<'_> {
        match self {
            DescribedCall::Export(call) => *call,
            DescribedCall::Message { body, properties, attempt } => {
                ExportCall::Message { body, properties, attempt: *attempt }
            }
        }
    }
}

/// The action of a step.
enum StepAction<'a> {
    Call(DescribedCall<'a>),
    Change(&'a Map<String, Value>),
    After(Duration),
    Restart(Restart),
}

impl Step {
    /// Checks the rules that the types do not enforce.
    pub(super) fn check(&self) -> Result<(), String> {
        self.action()?;
        self.expect.check()
    }

    /// Returns the name of the step for the output: its own, or a description of its action.
    pub(super) fn title(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        match self.action() {
            Ok(StepAction::Call(call)) => match call.as_export_call() {
                ExportCall::Method { name, .. } => format!("method {name}"),
                ExportCall::Job { name, .. } => format!("job {name}"),
                ExportCall::Message { .. } => "message".to_owned(),
                ExportCall::Changed { .. } | ExportCall::Start { .. } => "start".to_owned(),
            },
            Ok(StepAction::Change(_)) => "changed".to_owned(),
            Ok(StepAction::After(time)) => format!("after {time:?}"),
            Ok(StepAction::Restart(Restart::Host)) => "restart of the host".to_owned(),
            Ok(StepAction::Restart(Restart::Machine)) => "restart of the machine".to_owned(),
            Err(_) => String::new(),
        }
    }

    /// Runs the step.
    pub(super) fn run(&self, session: &mut Session<'_>) -> Result<Outcome, String> {
        if let Some(offline) = self.offline {
            session.set_offline(offline);
        }
        Ok(match self.action()? {
            StepAction::Call(call) => session.call(&call.as_export_call()),
            StepAction::Change(patch) => {
                session.change(patch).map_err(|error| format!("changed: {error}"))?
            }
            StepAction::After(time) => session.pass(time),
            StepAction::Restart(restart) => session.restart(restart),
        })
    }

    fn action(&self) -> Result<StepAction<'_>, String> {
        let call = CallKeys::of_step(self);
        match (self.after, self.restart) {
            (None, None) if !call.is_empty() => Ok(match call.described_call()? {
                DescribedCall::Export(ExportCall::Changed { patch }) => StepAction::Change(patch),
                call => StepAction::Call(call),
            }),
            (Some(time), None) if call.is_empty() => Ok(StepAction::After(time)),
            (None, Some(RestartKind::Host)) if call.is_empty() => {
                Ok(StepAction::Restart(Restart::Host))
            }
            (None, Some(RestartKind::Machine)) if call.is_empty() => {
                Ok(StepAction::Restart(Restart::Machine))
            }
            _ => Err("expected exactly one of `method`, `job`, `changed`, `message`, `start`, \
                      `after` and `restart`"
                .to_owned()),
        }
    }
}

fn duration<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(json)?;
    program::duration::parse(&text).map(Some).map_err(serde::de::Error::custom)
}
