//! The command `behaviour-service device`: help from afar, by the reserved methods of a host.

use std::time::Duration;

use behaviour_service::{Client, MethodRequest, ServiceError, ServiceErrorKind, Target};
use clap::{Args, Subcommand};
use program::{Progress, candidates, note, say, while_read};
use protocol::remote_method::RemoteMethod;
use serde_json::{Value, json};

use super::input;
use super::show::{self, OutputFormat};
use crate::command_error::{CommandError, FailureKind};
use crate::known_ids;

mod answer_text;

use answer_text::{items, log_line, note_left_out, note_restart, plugins, properties};

pub(super) const EXAMPLES: &str = "\
Examples:
  behaviour-service device status my-device
  behaviour-service device logs my-device fan --lines 20
  behaviour-service device logs my-device fan --follow
  behaviour-service device rollback my-device fan
  behaviour-service device bundle my-device > bundle.json";

#[derive(Subcommand)]
pub(crate) enum DeviceCommand {
    /// Print the connection, the calls and the pending work of the host
    Status(DeviceTarget),
    /// Print the plugins with their versions and states
    Plugins(DeviceTarget),
    /// Print the last log lines of a plugin
    Logs {
        #[command(flatten)]
        target: PluginTarget,
        /// Number of lines
        #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
        lines: u32,
        /// Print new lines as well, until Ctrl-C
        #[arg(long, short)]
        follow: bool,
        /// Time between two requests for new lines
        #[arg(long, default_value = "2s", value_parser = input::interval, value_name = "TIME")]
        every: Duration,
    },
    /// Print the metrics of the host as OpenMetrics text
    Metrics {
        #[command(flatten)]
        target: DeviceTarget,
        /// Only metrics whose names begin with this text, such as behaviour_host_plugin
        #[arg(long, value_name = "TEXT", default_value = "")]
        name: String,
    },
    /// Load a plugin's file again, even if its version was rolled back
    Reload(PluginTarget),
    /// Answer a plugin's methods with 503 until it is enabled, even after a restart
    Disable(PluginTarget),
    /// Enable a disabled plugin immediately
    Enable(PluginTarget),
    /// Return to the previous version of a plugin until its file changes
    Rollback(PluginTarget),
    /// Print a description of the host without secrets, as JSON
    Bundle(DeviceTarget),
}

#[derive(Args)]
pub(crate) struct DeviceTarget {
    /// The device's id, or DEVICE/MODULE
    #[arg(add = candidates(known_ids::of_devices))]
    device: Target,
    /// Maximum time for the device to answer, 5s to 300s
    #[arg(long, default_value = "30s", value_parser = input::response_timeout, value_name = "TIME")]
    timeout: Duration,
    /// Maximum time for the device to connect, 0s to 300s
    #[arg(long, default_value = "0s", value_parser = input::connect_timeout, value_name = "TIME")]
    connect_timeout: Duration,
}

#[derive(Args)]
pub(crate) struct PluginTarget {
    #[command(flatten)]
    target: DeviceTarget,
    /// Name of the plugin in the device's host.toml
    #[arg(value_name = "PLUGIN")]
    plugin: String,
}

pub(super) async fn run(
    command: DeviceCommand,
    client: &Client,
    show: OutputFormat,
) -> Result<(), CommandError> {
    let (method, target, payload) = match command {
        DeviceCommand::Status(target) => (RemoteMethod::Status, target, json!({})),
        DeviceCommand::Plugins(target) => (RemoteMethod::Plugins, target, json!({})),
        DeviceCommand::Logs { target: PluginTarget { target, plugin }, lines, follow, every } => {
            let payload = json!({ "plugin": plugin, "lines": lines });
            if follow {
                return while_read(follow_log(client, &target, payload, every, show)).await;
            }
            (RemoteMethod::Logs, target, payload)
        }
        DeviceCommand::Metrics { target, name } => {
            (RemoteMethod::Metrics, target, json!({ "name": name }))
        }
        DeviceCommand::Bundle(target) => (RemoteMethod::Bundle, target, json!({})),
        DeviceCommand::Reload(plugin) => plugin.request(RemoteMethod::Reload),
        DeviceCommand::Disable(plugin) => plugin.request(RemoteMethod::Disable),
        DeviceCommand::Enable(plugin) => plugin.request(RemoteMethod::Enable),
        DeviceCommand::Rollback(plugin) => plugin.request(RemoteMethod::Rollback),
    };
    let answer = ask(client, &target, method, payload).await?;
    if show.as_json {
        show::json(&answer);
        return Ok(());
    }
    match method {
        RemoteMethod::Status => {
            say(properties(&answer));
            note_restart(&answer);
        }
        RemoteMethod::Plugins => {
            plugins(&answer).into_iter().for_each(say);
            note_restart(&answer);
        }
        RemoteMethod::Logs => {
            note_left_out(&answer, "earlier lines");
            items(&answer, "lines").for_each(|line| say(log_line(line)));
        }
        RemoteMethod::Metrics => {
            let text = answer["metrics"].as_str().unwrap_or_default();
            text.lines().for_each(|line| say(json::escape(line)));
            note_left_out(&answer, "lines");
        }
        RemoteMethod::Bundle => say(format!("{answer:#}")),
        _ => say(json::escape(answer["done"].as_str().unwrap_or("done"))),
    }
    Ok(())
}

/// Prints the lines of a plugin, and new ones as they are found. A device that is not available
/// after the first answer is asked again.
async fn follow_log(
    client: &Client,
    target: &DeviceTarget,
    mut payload: Value,
    every: Duration,
    show: OutputFormat,
) -> Result<(), CommandError> {
    let mut failed = false;
    loop {
        let answer = match ask(client, target, RemoteMethod::Logs, payload.clone()).await {
            Err(error) if payload["after"].is_string() && may_pass(error.kind()) => {
                if !std::mem::replace(&mut failed, true) {
                    note(format_args!("asked again every {every:?}: {}", error.message()));
                }
                tokio::time::sleep(every).await;
                continue;
            }
            answer => answer?,
        };
        failed = false;
        if let Some(count) = answer["left_out"].as_u64().filter(|count| *count > 0) {
            note(format_args!("{count} lines left out"));
        }
        items(&answer, "lines").for_each(|line| match show.as_json {
            true => show::json(line),
            false => say(log_line(line)),
        });
        let Some(cursor) = answer["cursor"].as_str() else {
            let kind = FailureKind::default();
            return Err(CommandError::new(kind, "this version of the host cannot follow its log"));
        };
        payload["after"] = cursor.into();
        tokio::time::sleep(every).await;
    }
}

/// Returns `true` for failures that a device in the field causes at times.
fn may_pass(kind: FailureKind) -> bool {
    use ServiceErrorKind::{Offline, TimedOut, Unreachable};
    matches!(kind, FailureKind::Service(Offline | TimedOut | Unreachable))
}

impl PluginTarget {
    fn request(self, method: RemoteMethod) -> (RemoteMethod, DeviceTarget, Value) {
        (method, self.target, json!({ "plugin": self.plugin }))
    }
}

/// Invokes a reserved method, and returns the payload of its answer.
async fn ask(
    client: &Client,
    target: &DeviceTarget,
    method: RemoteMethod,
    payload: Value,
) -> Result<Value, CommandError> {
    let request = MethodRequest {
        response_timeout: target.timeout,
        connect_timeout: target.connect_timeout,
        ..MethodRequest::new(method.method(), payload)
    };
    let waiting = Progress::new(&format!("{}: {} is running", target.device, request.name));
    let result = client.invoke(&target.device, &request).await?;
    drop(waiting);
    let payload = result.payload.to_value();
    if result.status == 200 {
        return Ok(payload);
    }
    let error = ServiceError::Device {
        device: target.device.to_string(),
        method: request.name.to_string(),
        status: result.status,
        payload: result.payload.compact(),
    };
    let kind = FailureKind::Service(error.kind());
    Err(match payload["error"].as_str() {
        Some("not-granted") => CommandError::new(kind, error).with_hint(format!(
            "add \"{}\" to `methods` under [host.remote] in the device's host.toml, and restart the \
             host",
            method.name()
        )),
        Some("unknown-method") => CommandError::new(kind, error)
            .with_hint("the device runs another program, or an earlier version of behaviour-host"),
        Some("unknown-plugin") => CommandError::new(kind, error).with_hint(format!(
            "`behaviour-service device plugins {}` lists the plugins of the device",
            target.device
        )),
        Some("unknown-metric") => CommandError::new(kind, error).with_hint(format!(
            "`behaviour-service device metrics {}` prints all metrics of the device",
            target.device
        )),
        _ => CommandError::new(kind, error),
    })
}
