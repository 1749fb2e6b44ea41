//! The case of a recorded call, in the format of the author's tool (docs/cases.md).

use jiff::Timestamp;
use plugin::{BootOutcome, Document, Json, Limits};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::RecordedCall;
use super::encode::base64;
use super::handles::{Effects, text};
use super::http;
use super::inputs::CallInputs;
use super::outputs::OutputRules;
use super::secrets::{NameRule, Secrets};

/// Outcome of a call.
pub(super) enum CallEnd {
    /// Answer of a method: status and payload.
    Answer(u16, Option<Json>),
    /// Success of a job.
    Done,
    /// Failure of the call, or an error that the plugin returned.
    Failed { status: Option<u16>, error: &'static str, message: String },
}

impl CallEnd {
    /// Returns the outcome of a call with an error that the plugin returned.
    pub(super) fn failed(error: &'static str, message: String) -> CallEnd {
        CallEnd::Failed { status: None, error, message }
    }
}

/// Outcome of a boot, with the names that cases use.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum CaseBootOutcome {
    NotWaitedFor,
    Rebooted,
    HostRestartedOnly,
    Expired,
}

/// A case. The fields have the order of the keys in the file.
#[derive(Serialize)]
struct Case {
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_outcome: Option<CaseBootOutcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_parent: Option<String>,
    time: String,
    #[serde(skip_serializing_if = "is_empty")]
    config: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    capabilities: Vec<String>,
    #[serde(skip_serializing_if = "is_empty")]
    limits: Value,
    #[serde(skip_serializing_if = "is_empty")]
    twin: Value,
    #[serde(skip_serializing_if = "is_empty")]
    state: Value,
    #[serde(skip_serializing_if = "is_empty")]
    http: Value,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    offline: bool,
    expect: Value,
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// Returns the case of a call that ended at `end`. `redact` contains JSON pointers to values of
/// the case that are left out.
pub(super) fn recorded(
    call: CallInputs,
    effects: Effects,
    ended: CallEnd,
    end: Timestamp,
    redact: &[String],
) -> RecordedCall {
    let (mut inputs, payload) = inputs(&call, &effects);
    let mut secrets = Secrets::default();
    for key in ["payload", "twin", "state"] {
        secrets.redact(&format!("/{key}"), &mut inputs[key], NameRule::Data);
    }
    secrets.redact("/config", &mut inputs["config"], NameRule::Settings);
    http::redact(&mut inputs["http"], &mut secrets);
    let mut notes = notes(&call, &effects);
    let (in_outputs, in_inputs): (Vec<_>, Vec<_>) =
        redact.iter().partition(|pointer| pointer.starts_with("/expect/"));
    for pointer in in_inputs {
        match inputs.pointer_mut(pointer) {
            Some(value) => secrets.leave_out(pointer.clone(), value),
            None => notes.push(format!("there is no value at `{pointer}`")),
        }
    }
    secrets.remove_from(&mut inputs);

    let outcome = match &ended {
        CallEnd::Answer(status, _) => format!("status {status}"),
        CallEnd::Done => "done".to_owned(),
        CallEnd::Failed { error, message, .. } => format!("{error}: {message}"),
    };
    let outcome = if secrets.occur_in(&outcome) { "failed".to_owned() } else { outcome };
    let mut expect = json!({"expect": expected(&effects, ended)});
    OutputRules::new(&call, &effects, &inputs, &secrets, end).generalise(&mut expect);
    for pointer in in_outputs {
        match expect.pointer_mut(pointer) {
            Some(value) => {
                *value = json::placeholder::ANY.into();
                secrets.left_out.push(pointer.clone());
            }
            None => notes.push(format!("there is no value at `{pointer}`")),
        }
    }
    // The text of the payload stays unchanged unless a value was removed from it.
    let payload = match inputs["payload"].take() {
        value if value == payload => Json::new(call.payload.clone()).unwrap_or_default(),
        value => Json::from(value),
    };
    let mut part = |key: &str| inputs[key].take();
    let is_job = call.job.is_some();
    let case = Case {
        description: format!(
            "recorded at {:.3}, plugin {} with SHA-256 {}",
            call.time, call.plugin, call.digest
        ),
        method: (!is_job).then(|| call.name.clone()),
        job: is_job.then(|| call.name.clone()),
        payload: (payload.get() != "null").then_some(payload),
        attempt: call.job.map(|(attempt, _)| attempt),
        boot_outcome: call.job.map(|(_, outcome)| case_boot_outcome(outcome)),
        trace_parent: call.trace_parent.clone(),
        time: format!("{:.3}", call.time),
        config: part("config"),
        capabilities: call.capabilities,
        limits: limits(&call.limits, &call.name),
        twin: part("twin"),
        state: part("state"),
        http: part("http"),
        offline: call.desired.is_none() || effects.hub_was_away,
        expect: expect["expect"].take(),
    };
    let text = serde_json::to_string_pretty(&case).expect("a case is JSON");
    RecordedCall { name: call.name, outcome, case: Some(text), left_out: secrets.left_out, notes }
}

/// Returns the inputs that can contain secrets, as members with the keys of a case, and the
/// payload.
fn inputs(call: &CallInputs, effects: &Effects) -> (Value, Value) {
    let payload: Value = serde_json::from_str(&call.payload).unwrap_or_default();
    let mut twin = Map::new();
    for (half, document) in [("desired", &call.desired), ("reported", &call.reported)] {
        if let Some(Document { body, version }) = document {
            twin.insert(half.to_owned(), serde_json::from_str(body).unwrap_or_default());
            twin.insert(format!("{half}_version"), (*version).into());
        }
    }
    let state = call.state.iter().map(|(key, value)| {
        let value = match std::str::from_utf8(value) {
            Ok(text) => text.into(),
            Err(_) => json!({"base64": base64(value)}),
        };
        (key.clone(), value)
    });
    let state: Map<String, Value> = state.collect();
    let inputs = json!({
        "payload": payload, "config": call.config, "twin": twin, "state": state,
        "http": effects.http, "trace_parent": call.trace_parent,
    });
    (inputs, payload)
}

/// Returns the reasons why a replay can differ.
fn notes(call: &CallInputs, effects: &Effects) -> Vec<String> {
    let mut notes = effects.refused.clone();
    if call.state_is_unknown {
        notes.push("the state before the call could not be read".to_owned());
    }
    if effects.metrics.lock().dropped {
        notes.push("the host dropped updates of metrics".to_owned());
    }
    if effects.incomplete {
        notes.push(
            "the effects of the call are too large and were recorded only in part".to_owned(),
        );
    }
    notes
}

/// Returns the expectations of a case, before they are generalised.
fn expected(effects: &Effects, ended: CallEnd) -> Value {
    let mut expect = Map::new();
    match ended {
        CallEnd::Answer(status, payload) => {
            expect.insert("status".to_owned(), status.into());
            expect
                .insert("answer".to_owned(), payload.as_ref().map_or(Value::Null, Json::to_value));
        }
        CallEnd::Done => {}
        CallEnd::Failed { status, error, message } => {
            expect.extend(status.map(|status| ("status".to_owned(), status.into())));
            expect.insert("error".to_owned(), error.into());
            expect.insert("message".to_owned(), message.into());
        }
    }
    if effects.incomplete {
        return Value::Object(expect);
    }
    let state = effects.state.iter().map(|(key, value)| (key.clone(), text(value).into()));
    let state: Map<String, Value> = state.collect();
    for (key, value) in [
        ("reported", json!(effects.reported)),
        ("log", json!(effects.log)),
        ("telemetry", json!(effects.telemetry)),
        ("state", state.into()),
        ("jobs", json!(effects.jobs)),
        ("metrics", effects.metrics.lock().expected()),
        ("reboot", json!(effects.reboot)),
    ] {
        expect.insert(key.to_owned(), value);
    }
    Value::Object(expect)
}

/// Returns the limits that differ from the defaults. `name` is the method's name.
fn limits(limits: &Limits, name: &str) -> Value {
    let defaults = Limits::default();
    let deadline = limits.deadlines.get(name).copied().unwrap_or(limits.deadline);
    let mut found = Map::new();
    if deadline != defaults.deadline {
        let ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        found.insert("deadline_ms".to_owned(), ms.into());
    }
    if limits.memory_bytes != defaults.memory_bytes {
        found.insert("memory_bytes".to_owned(), limits.memory_bytes.into());
    }
    Value::Object(found)
}

fn case_boot_outcome(outcome: BootOutcome) -> CaseBootOutcome {
    match outcome {
        BootOutcome::NotWaitedFor => CaseBootOutcome::NotWaitedFor,
        BootOutcome::Rebooted => CaseBootOutcome::Rebooted,
        BootOutcome::HostRestartedOnly => CaseBootOutcome::HostRestartedOnly,
        BootOutcome::Expired => CaseBootOutcome::Expired,
    }
}
