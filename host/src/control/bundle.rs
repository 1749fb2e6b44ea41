//! The support bundle: a description of a host for somebody who helps from afar.
//!
//! It contains no file but `host.toml`, without the settings of plugins and without values
//! that look secret. What is left out there is removed from the rest as well, because a plugin may
//! have logged it. So are the settings of all loaded versions: the file may have changed since, and
//! those of plugins that the cloud has chosen are not in it.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tokio::task::spawn_blocking;

use super::{ControlAnswer, ControlHandles, ControlRequest, PluginStatus};
use crate::lent::log::LoggedLine;
use crate::record::{NameRule, Secrets};

/// Number of log lines of each plugin.
const LOG_LINES: usize = 20;

/// Parts that may be left out if the bundle is too large, in this order.
const OPTIONAL: [&str; 4] = ["log", "jobs", "configuration", "plugins"];

/// Collects the bundle.
pub(super) async fn collect(handles: &ControlHandles, configuration: Option<PathBuf>) -> Value {
    let status = match handles.answer(ControlRequest::Status {}).await {
        ControlAnswer::Status(status) => json!(status),
        _ => Value::Null,
    };
    let jobs = match handles.answer(ControlRequest::Jobs {}).await {
        ControlAnswer::Jobs(jobs) => json!(jobs),
        _ => Value::Null,
    };
    let table = handles.router.table();
    let plugins: Vec<_> = table.slots().values().map(|slot| PluginStatus::of(slot)).collect();
    let lines = plugins.iter().map(|plugin| {
        let (lines, _) = handles.log.follow(&plugin.name, LOG_LINES);
        let lines: Vec<&LoggedLine> = lines.iter().map(|line| &**line).collect();
        (plugin.name.clone(), json!(lines))
    });
    let bundle = json!({
        "time": format!("{:.3}", jiff::Timestamp::now()),
        "status": status,
        "configuration_refused": handles.operator.configuration().refused,
        "plugins": plugins,
        "jobs": jobs,
        "log": lines.collect::<Map<_, _>>(),
    });
    let versions = handles.router.versions();
    let settings = versions.iter().flat_map(|version| version.loaded.settings.texts());
    let mut secrets = Secrets::default();
    settings.for_each(|text| secrets.search_for(text));
    let work = move || {
        let machine = json!({ "kernel": kernel(), "architecture": std::env::consts::ARCH });
        let configuration = configuration.as_deref().and_then(read_configuration);
        without_secrets(secrets, bundle, machine, configuration)
    };
    // The panic hook has already reported a panic, after which secrets could be left.
    spawn_blocking(work).await.unwrap_or_default()
}

/// Reads `host.toml`. Returns `None` if it is not readable or not TOML.
fn read_configuration(file: &Path) -> Option<Value> {
    let table: toml::Table = program::text::read(file).ok()?.parse().ok()?;
    serde_json::to_value(table).ok()
}

fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

/// Adds the machine and the configuration to a bundle, and removes the secrets from all of it:
/// those that are known already, and those of the configuration.
fn without_secrets(
    mut secrets: Secrets,
    mut bundle: Value,
    machine: Value,
    configuration: Option<Value>,
) -> Value {
    let mut configuration = configuration.unwrap_or_default();
    let plugins = configuration.get_mut("plugins").and_then(Value::as_object_mut);
    for (name, plugin) in plugins.into_iter().flatten() {
        // Nothing is known about the settings of a plugin, so none is harmless.
        let settings = plugin.get_mut("config").and_then(Value::as_object_mut);
        for (key, value) in settings.into_iter().flatten() {
            secrets.leave_out(format!("/plugins/{name}/config/{key}"), value);
        }
    }
    let mut status = bundle["status"].take();
    secrets.redact("", &mut configuration, NameRule::Host);
    secrets.redact("", &mut status, NameRule::Host);
    secrets.redact("", &mut bundle, NameRule::Data);
    bundle["status"] = status;
    secrets.redact_pairs(&mut configuration);
    secrets.redact_pairs(&mut bundle);
    secrets.remove_from(&mut bundle);
    secrets.remove_from(&mut configuration);
    bundle["machine"] = machine;
    bundle["configuration"] = configuration;
    bundle
}

/// Removes parts until the bundle has at most `max_bytes`, and lists them in `left_out`.
pub(super) fn fit(mut bundle: Value, max_bytes: usize) -> Value {
    let mut left_out = Vec::new();
    for part in OPTIONAL {
        if bundle.to_string().len() + 256 <= max_bytes {
            break;
        }
        if let Some(part_of_bundle) = bundle.get_mut(part) {
            *part_of_bundle = Value::Null;
            left_out.push(part);
        }
    }
    bundle["left_out"] = json!(left_out);
    bundle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_the_configuration_are_in_no_part_of_the_bundle() {
        let configuration = json!({
            "host": {
                "grace": "10s",
                "traceparent_key": "traceparent",
                "trust": { "keys": ["release.pub"] },
                "otlp": { "endpoint": "https://user:pass-word@example.com" },
            },
            "plugins": { "fan": {
                "file": "fan.wasm",
                "config": { "mode": "innocent-name", "nested": { "list": [1234567, "deep-secret"] } },
            } },
            "hub": { "connection_string_file": "/etc/device" },
        });
        let bundle = json!({ "status": { "token_expires": "2026-01-01T00:00:00Z" }, "log": { "fan": [
            { "message": "signed in with innocent-name and 1234567" },
            { "message": "HostName=h;SharedAccessKey=abc" },
            { "message": "deep-secret", "fields": { "apiToken": "xyz" } },
            { "message": "run --password=in-line now", "fields": { "x": "db_pwd=p;n=1" } },
        ] } });
        let bundle = without_secrets(Secrets::default(), bundle, json!({}), Some(configuration));
        let text = bundle.to_string();
        for secret in
            ["innocent-name", "1234567", "deep-secret", "abc", "xyz", "pass-word", "in-line"]
        {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert_eq!(bundle["status"]["token_expires"], "2026-01-01T00:00:00Z");
        let host = &bundle["configuration"]["host"];
        assert_eq!([&host["grace"], &host["traceparent_key"]], ["10s", "traceparent"]);
        assert_eq!(host["trust"]["keys"], json!(["release.pub"]));
        assert_eq!(bundle["configuration"]["hub"]["connection_string_file"], "/etc/device");
        assert_eq!(bundle["configuration"]["plugins"]["fan"]["file"], "fan.wasm");
        assert!(text.contains("signed in with"), "{text}");
        assert!(text.contains("run --password=redacted now"), "{text}");
        assert!(text.contains("db_pwd=redacted;n=1"), "{text}");
    }

    #[test]
    fn settings_of_loaded_versions_are_removed_without_a_configuration() {
        let mut secrets = Secrets::default();
        secrets.search_for("innocent-name");
        secrets.search_for(r#"{"list":["deep-secret",1234567]}"#);
        let bundle = json!({ "log": { "fan": [
            { "message": "innocent-name, 1234567", "fields": { "said": "deep-secret" } },
        ] } });
        let text = without_secrets(secrets, bundle, json!({}), None).to_string();
        for secret in ["innocent-name", "deep-secret", "1234567"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }

    #[test]
    fn a_large_bundle_is_cut_and_says_so() {
        let bundle = json!({ "status": 1, "log": "x".repeat(2000), "jobs": [], "plugins": [] });
        let cut = fit(bundle.clone(), 1000);
        let expected =
            json!({ "status": 1, "log": null, "jobs": [], "plugins": [], "left_out": ["log"] });
        assert_eq!(cut, expected);
        assert_eq!(fit(bundle, 10_000)["left_out"], json!([]));
    }
}
