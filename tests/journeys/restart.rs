//! Tests of starting a host whose files have changed since it last ran.

use std::fs;
use std::process::Command;

use rig::{Rig, Running, set, until, within};
use serde_json::json;

/// Starts a rig with two plugins, one of which has a known good version.
async fn rig_with_known_good() -> Running {
    let rig = Rig::new()
        .host(set("host.compile_cache", "compiled"))
        .plugin("version-one.wat", set("methods", vec!["one"]))
        .plugin("reply.wat", set("methods", vec!["reply"]))
        .start()
        .await;
    assert_eq!(rig.service.call("one", json!(1)).await.unwrap().status, 200);
    until("the good version is persisted", || async {
        let record = fs::read_to_string(rig.data().join("known-good/record.json")).ok()?;
        record.contains("\"good\": \"").then_some(())
    })
    .await;
    rig
}

#[tokio::test]
async fn a_corrupt_plugin_is_replaced_by_its_known_good_version() {
    let mut rig = rig_with_known_good().await;
    rig.stop_host().await.unwrap();
    let component = fs::read(rig.plugin_file("version-one")).unwrap();
    fs::write(rig.plugin_file("version-one"), &component[..component.len() / 2]).unwrap();
    rig.start_host().await;

    assert_eq!(rig.service.call("reply", json!(1)).await.unwrap().payload, json!(1));
    assert_eq!(rig.service.call("one", json!(1)).await.unwrap().payload["first"], "one");
    let error = until("the corrupt file is reported", || async {
        let plugin = rig.service.reported().await["plugins"]["version-one"].take();
        (!plugin["lastError"].is_null()).then(|| plugin["lastError"].to_string())
    })
    .await;
    assert!(error.contains("unexpected end-of-file"), "{error}");
}

#[tokio::test]
async fn a_plugin_file_that_is_a_pipe_is_replaced_by_its_known_good_version() {
    let mut rig = rig_with_known_good().await;
    rig.stop_host().await.unwrap();
    let file = rig.plugin_file("version-one");
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    rig.start_host().await;

    assert_eq!(rig.service.call("reply", json!(1)).await.unwrap().payload, json!(1));
    assert_eq!(rig.service.call("one", json!(1)).await.unwrap().payload["first"], "one");
    let error = until("the pipe is reported", || async {
        let plugin = rig.service.reported().await["plugins"]["version-one"].take();
        (!plugin["lastError"].is_null()).then(|| plugin["lastError"].to_string())
    })
    .await;
    assert!(error.contains("not a regular file"), "{error}");
    rig.stop_host().await.unwrap();
}

/// The compiled code of the slow plugin is a pipe, because reading it waits for a writer.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_reachable_before_its_plugins_are_loaded() {
    let mut rig = rig_with_known_good().await;
    rig.stop_host().await.unwrap();
    let module = fs::read(rig.plugin_file("version-one")).unwrap();
    let digest = oci::Digest::of(&plugin::encode(&module).unwrap()).hex();
    let cached = fs::read_dir(rig.directory().join("compiled")).unwrap();
    let mut cached = cached.map(|entry| entry.unwrap().path());
    let slow = cached.find(|path| path.to_string_lossy().contains(&digest)).unwrap();
    fs::remove_file(&slow).unwrap();
    assert!(Command::new("mkfifo").args(["-m", "600"]).arg(&slow).status().unwrap().success());
    rig.start_host().await;

    assert_eq!(rig.service.call("reply", json!(1)).await.unwrap().payload, json!(1));
    rig.until_reported("/plugins/version-one/state", &json!("loading")).await;

    let writer = tokio::task::spawn_blocking(move || fs::write(slow, ""));
    within("the pipe is read", writer).await.unwrap().unwrap();
    rig.until_reported("/plugins/version-one/state", &json!("active")).await;
    assert_eq!(rig.service.call("one", json!(1)).await.unwrap().payload["first"], "one");
}
