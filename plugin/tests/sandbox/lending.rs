//! The functions that the host lends to a guest.

use crate::rig::{Host, load, load_with};
use behaviour_plugin::{Plugin, PluginSettings};
use serde_json::json;
use std::collections::BTreeMap;

async fn ask(plugin: &Plugin, method: &str) -> String {
    let answer = Host::default().call(plugin, method, "null").await.unwrap();
    answer.payload.unwrap().get().to_owned()
}

#[tokio::test]
async fn a_guest_reads_the_ids_of_its_plugin_device_and_call() {
    let plugin = load("asks.wat");

    assert_eq!(ask(&plugin, "plugin").await, "\"reboot\"");
    assert_eq!(ask(&plugin, "id").await, "\"device-1\"");
    assert_eq!(ask(&plugin, "call").await, "\"call-1\"");
}

#[tokio::test]
async fn the_time_is_rfc_3339_with_milliseconds() {
    let text = ask(&load("asks.wat"), "now").await;

    assert_eq!(text.len(), "\"2026-01-31T23:59:59.123Z\"".len());
    text.trim_matches('"').parse::<jiff::Timestamp>().unwrap();
}

#[tokio::test]
async fn a_guest_reads_its_own_settings() {
    let config = BTreeMap::from([("delay".to_owned(), "20".to_owned())]);
    let settings = PluginSettings { config, ..PluginSettings::default() };

    assert_eq!(ask(&load_with("asks.wat", settings).unwrap(), "get").await, "20");
    let answer = Host::default().call(&load("asks.wat"), "get", "null").await.unwrap();
    assert!(answer.payload.is_none());
}

#[tokio::test]
async fn a_guest_reads_the_desired_properties() {
    assert_eq!(ask(&load("asks.wat"), "desired").await, r#"{"delay":5}"#);
}

#[tokio::test]
async fn a_patch_must_be_an_object_within_the_size_limit() {
    let host = Host::default();
    let plugin = load("asks.wat");
    let long = format!("{{\"a\":\"{}\"}}", "a".repeat(32 * 1024));
    let (invalid, too_large) = (400 + 1, 400 + 2);

    for (payload, expected) in
        [("{\"a\":{\"b\":1}}", 200), ("[1]", invalid), ("null", invalid), (&*long, too_large)]
    {
        let answer = host.call(&plugin, "report", payload).await.unwrap();
        assert_eq!(answer.status, expected, "{payload:.20}");
    }
    assert_eq!(host.patches(), [json!({"a": {"b": 1}})]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_hub_ends_before_the_deadline() {
    let timeout = 400 + 5;

    let answer = Host::default().call(&load("asks.wat"), "wait", "{}").await.unwrap();
    assert_eq!(answer.status, timeout);
}

#[tokio::test]
async fn a_message_is_sent_with_its_content_type() {
    let host = Host::default();

    host.call(&load("asks.wat"), "send", "{\"t\":21}").await.unwrap();
    assert_eq!(host.messages()[0], "reboot text/plain {\"t\":21}");
}

#[tokio::test]
async fn a_log_line_names_its_call_and_cannot_forge_another() {
    let host = Host::default();

    host.call(&load("talks.wat"), "once", "null").await.unwrap();
    let expected = r#"reboot once call-1 Info: one\ntwo\u{1b}[31m [("key", "a\\rb")]"#;
    assert_eq!(host.log(), [expected]);
}
