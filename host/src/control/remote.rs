//! The reserved direct methods: requests of an operator that arrive through the hub.
//!
//! Each method is granted by its name in `[host.remote]`; none is by default. An answer fits
//! into that of a direct method. The log has a line for each request.

use std::collections::BTreeSet;
use std::path::PathBuf;

use futures_util::future::{BoxFuture, FutureExt as _};
use protocol::method::MAX_PAYLOAD_BYTES;
use protocol::remote_method::{RESERVED_PREFIX, RemoteMethod};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use super::bundle;
use super::{ControlAnswer, ControlHandles, ControlRequest};
use crate::lent::log::LinesAfter;
use crate::router::ReservedMethods;

/// Maximum size of an answer in bytes, with room for what a hub adds.
const MAX_ANSWER_BYTES: usize = MAX_PAYLOAD_BYTES - 8 * 1024;

/// Maximum number of requests at the same time. A reload may wait for a compiler.
const MAX_REQUESTS: usize = 4;

/// Number of log lines, if the caller names none.
const LOG_LINES: u32 = 100;

/// Handler of the reserved methods of a host.
pub(crate) struct Remote {
    granted: BTreeSet<RemoteMethod>,
    handles: ControlHandles,
    /// Path of `host.toml`, for the bundle.
    configuration: Option<PathBuf>,
    requests: Semaphore,
}

/// Payload of a reserved method.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RemotePayload {
    plugin: Option<String>,
    lines: Option<u32>,
    /// Cursor of the earlier answer, after which the lines begin.
    after: Option<String>,
    /// Start of the names of the metrics.
    name: Option<String>,
}

/// Status, error code and message of a request that was not carried out.
type Refusal = (i32, &'static str, String);

impl Remote {
    /// Creates the handler for a host with this configuration file.
    pub(crate) fn new(
        granted: BTreeSet<RemoteMethod>,
        handles: ControlHandles,
        configuration: Option<PathBuf>,
    ) -> Remote {
        Remote { granted, handles, configuration, requests: Semaphore::new(MAX_REQUESTS) }
    }

    async fn carry_out(&self, name: &str, payload: &[u8]) -> Result<Value, Refusal> {
        let method = RemoteMethod::ALL.into_iter().find(|method| method.name() == name);
        let unknown = || format!("the host has no method `{RESERVED_PREFIX}{name}`");
        let method = method.ok_or_else(|| (404, "unknown-method", unknown()))?;
        if !self.granted.contains(&method) {
            let message = format!(
                "`{RESERVED_PREFIX}{name}` is not granted: add \"{name}\" to `methods` \
                 under [host.remote], and restart the host"
            );
            return Err((403, "not-granted", message));
        }
        let busy = |_| (429, "busy", format!("{MAX_REQUESTS} requests are in progress"));
        let _permit = self.requests.try_acquire().map_err(busy)?;
        let payload = RemotePayload::parse(payload)?;
        let plugin = || {
            let missing = || (400, "invalid-payload", "`plugin` is missing".to_owned());
            payload.plugin.clone().ok_or_else(missing)
        };
        let request = match method {
            RemoteMethod::Status => ControlRequest::Status {},
            RemoteMethod::Plugins => ControlRequest::List {},
            RemoteMethod::Metrics => ControlRequest::Metrics {},
            RemoteMethod::Reload => ControlRequest::Reload { plugin: plugin()? },
            RemoteMethod::Disable => ControlRequest::Disable { plugin: plugin()? },
            RemoteMethod::Enable => ControlRequest::Enable { plugin: plugin()? },
            RemoteMethod::Rollback => ControlRequest::Rollback { plugin: plugin()? },
            RemoteMethod::Logs => {
                let count = payload.lines.unwrap_or(LOG_LINES);
                return self.logs(&plugin()?, payload.after.as_deref(), count);
            }
            RemoteMethod::Bundle => {
                let bundle = bundle::collect(&self.handles, self.configuration.clone()).await;
                return Ok(bundle::fit(bundle, MAX_ANSWER_BYTES));
            }
        };
        match self.handles.answer(request).await {
            ControlAnswer::Error(reason) => Err((409, "refused", reason)),
            answer @ ControlAnswer::UnknownPlugin(_) => Err(unknown_plugin(&answer)),
            ControlAnswer::Status(status) => Ok(json!(status)),
            ControlAnswer::Metrics(text) => metrics(&text, payload.name.as_deref().unwrap_or("")),
            answer => Ok(json!(answer)),
        }
    }

    /// Returns the last lines of a plugin, or those after a cursor, without the oldest ones that do
    /// not fit.
    fn logs(&self, plugin: &str, after: Option<&str>, count: u32) -> Result<Value, Refusal> {
        if self.handles.router.table().slot(plugin).is_none() {
            return Err(unknown_plugin(&ControlAnswer::UnknownPlugin(plugin.to_owned())));
        }
        let LinesAfter { lines, missed, cursor } =
            self.handles.log.after(plugin, after, count as usize);
        let mut left = MAX_ANSWER_BYTES - 1024;
        let lines: Vec<_> = lines.iter().map(|line| json!(**line)).collect();
        let fitting = lines.iter().rev().take_while(|line| {
            let bytes = line.to_string().len() + 1;
            let fits = bytes <= left;
            left = left.saturating_sub(bytes);
            fits
        });
        let cut = lines.len() - fitting.count();
        Ok(json!({ "lines": &lines[cut..], "left_out": cut as u64 + missed, "cursor": cursor }))
    }
}

impl ReservedMethods for Remote {
    fn answer<'a>(&'a self, name: &'a str, payload: &'a [u8]) -> BoxFuture<'a, (i32, String)> {
        async move {
            let outcome = self.carry_out(name, payload).await;
            let too_large = || (413, "too-large", "the answer does not fit".to_owned());
            let outcome = outcome.map(|value| value.to_string()).and_then(|body| {
                if body.len() <= MAX_ANSWER_BYTES { Ok(body) } else { Err(too_large()) }
            });
            match outcome {
                Ok(body) => {
                    let carried_out = "operator's request through the hub carried out";
                    // A follower of the log asks every few seconds.
                    match RemotePayload::parse(payload) {
                        Ok(RemotePayload { after: Some(_), .. }) => {
                            debug!(method = name, "{carried_out}");
                        }
                        _ => info!(method = name, "{carried_out}"),
                    }
                    (200, body)
                }
                Err((status, error, message)) => {
                    let method = json::escape(name);
                    warn!(%method, status, error, "operator's request through the hub refused");
                    (status, json!({ "error": error, "message": message }).to_string())
                }
            }
        }
        .boxed()
    }
}

impl RemotePayload {
    /// Parses a payload. An empty one and `null` name nothing.
    fn parse(payload: &[u8]) -> Result<RemotePayload, Refusal> {
        if payload.is_empty() {
            return Ok(RemotePayload::default());
        }
        let refused = |message: String| (400, "invalid-payload", message);
        match serde_json::from_slice(payload) {
            Ok(Value::Null) => Ok(RemotePayload::default()),
            // An array would fill the members by their order.
            Ok(object @ Value::Object(_)) => serde_json::from_value(object)
                .map_err(|error| refused(json::escape(&error.to_string()).into_owned())),
            Ok(_) => Err(refused("the payload is not a JSON object".to_owned())),
            Err(_) => Err(refused("the payload is not JSON".to_owned())),
        }
    }
}

fn unknown_plugin(answer: &ControlAnswer) -> Refusal {
    (404, "unknown-plugin", answer.to_text())
}

/// Returns the families of metrics whose name starts with `name`, without the last ones that do
/// not fit. Refuses a name with which none starts.
fn metrics(text: &str, name: &str) -> Result<Value, Refusal> {
    let name_of = |line: &str| {
        let described =
            ["# HELP ", "# TYPE ", "# UNIT "].iter().find_map(|it| line.strip_prefix(it));
        described.unwrap_or(line).starts_with(name)
    };
    let lines = text.lines().filter(|line| *line != "# EOF" && name_of(line));
    // Quotation marks and line breaks become two characters each in JSON.
    let mut left = MAX_ANSWER_BYTES - 1024;
    let (mut shown, mut left_out) = (String::new(), 0);
    for line in lines {
        let bytes = Value::from(line).to_string().len();
        if left_out > 0 || bytes > left {
            left_out += 1;
            continue;
        }
        left -= bytes;
        shown += line;
        shown.push('\n');
    }
    if shown.is_empty() && left_out == 0 {
        let name = json::readable(name);
        return Err((
            404,
            "unknown-metric",
            format!("no metric has a name that begins with `{name}`"),
        ));
    }
    Ok(json!({ "metrics": shown, "left_out": left_out }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_an_object_or_null() {
        for payload in ["", "null", "{}", r#"{"plugin":"fan"}"#] {
            assert!(RemotePayload::parse(payload.as_bytes()).is_ok(), "{payload}");
        }
        for (payload, expected) in [
            (r#"["fan",null,null,null]"#, "the payload is not a JSON object"),
            ("5", "the payload is not a JSON object"),
            ("{", "the payload is not JSON"),
            (r#"{"plugin":5}"#, "invalid type: integer `5`, expected a string"),
        ] {
            let (status, error, message) = RemotePayload::parse(payload.as_bytes()).unwrap_err();
            assert_eq!((status, error, &*message), (400, "invalid-payload", expected));
        }
    }

    #[test]
    fn metrics_are_selected_by_name_and_cut_at_a_line() {
        let text =
            "# HELP a_x Help.\n# TYPE a_x gauge\na_x 1\n# TYPE b gauge\nb{c=\"d\"} 2\n# EOF\n";
        let expected = "# HELP a_x Help.\n# TYPE a_x gauge\na_x 1\n";
        assert_eq!(metrics(text, "a_"), Ok(json!({ "metrics": expected, "left_out": 0 })));
        assert_eq!(metrics(text, "c").unwrap_err().1, "unknown-metric");

        let long: String = (0..10_000).map(|number| format!("m{{l=\"{number}\"}} 1\n")).collect();
        let cut = metrics(&long, "").unwrap();
        assert!(cut.to_string().len() <= MAX_ANSWER_BYTES);
        let shown = cut["metrics"].as_str().unwrap().lines().count() as u64;
        assert_eq!(shown + cut["left_out"].as_u64().unwrap(), 10_000);
    }
}
