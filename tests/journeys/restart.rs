//! Starts of a host whose files have changed since it last ran.

use std::fs;
use std::process::Command;

use rig::{Rig, Running, set, until, within};
use serde_json::json;

/// Returns a rig of two plugins, one of which is known to work.
async fn proven() -> Running {
    let rig = Rig::new()
        .plugin("version-one.wat", set("methods", vec!["one"]))
        .plugin("reply.wat", set("methods", vec!["reply"]))
        .start()
        .await;
    assert_eq!(rig.service.call("one", json!(1)).await.unwrap().status, 200);
    until("the version that works is kept", || async {
        let record = fs::read_to_string(rig.data().join("known-good/record.json")).ok()?;
        record.contains("\"good\": \"").then_some(())
    })
    .await;
    rig
}

#[tokio::test]
async fn a_damaged_plugin_takes_neither_itself_nor_the_device_away() {
    let mut rig = proven().await;
    rig.stop_host().await.unwrap();
    let whole = fs::read(rig.plugin_file("version-one")).unwrap();
    fs::write(rig.plugin_file("version-one"), &whole[..whole.len() / 2]).unwrap();
    rig.start_host().await;

    assert_eq!(rig.service.call("reply", json!(1)).await.unwrap().payload, json!(1));
    assert_eq!(rig.service.call("one", json!(1)).await.unwrap().payload["first"], "one");
    let error = until("the damaged file is reported", || async {
        let plugin = rig.service.reported().await["plugins"]["version-one"].take();
        (!plugin["lastError"].is_null()).then(|| plugin["lastError"].to_string())
    })
    .await;
    assert!(error.contains("unexpected end-of-file"), "{error}");
}

/// A pipe stands for a plugin that takes long: its reader waits for the writer.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_reachable_before_its_plugins_are_loaded() {
    let mut rig = proven().await;
    rig.stop_host().await.unwrap();
    let (file, slow) = (rig.plugin_file("version-one"), rig.data().join("slow"));
    assert!(Command::new("mkfifo").arg(&slow).status().unwrap().success());
    let aside = rig.data().join("aside");
    fs::rename(&file, &aside).unwrap();
    std::os::unix::fs::symlink(&slow, &file).unwrap();
    rig.start_host().await;

    assert_eq!(rig.service.call("reply", json!(1)).await.unwrap().payload, json!(1));
    rig.until_reported("/plugins/version-one/state", &json!("loading")).await;

    fs::rename(&aside, &file).unwrap();
    let writer = tokio::task::spawn_blocking(move || fs::write(slow, ""));
    within("the pipe is read", writer).await.unwrap().unwrap();
    rig.until_reported("/plugins/version-one/state", &json!("active")).await;
    assert_eq!(rig.service.call("one", json!(1)).await.unwrap().payload["first"], "one");
}
