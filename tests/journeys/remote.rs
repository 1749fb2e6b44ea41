//! The reserved direct methods of a host.

use std::sync::Arc;

use parking_lot::Mutex;
use program::{EventFields, forward_log};
use rig::{Rig, config, set};
use serde_json::{Value, json};

const ALL: [&str; 9] =
    ["status", "plugins", "logs", "metrics", "bundle", "reload", "disable", "enable", "rollback"];

#[tokio::test(flavor = "multi_thread")]
async fn a_reserved_method_without_a_grant_is_refused_and_reaches_no_plugin() {
    // The plugin answers every method with its payload.
    let granted = set("host.remote.methods", vec!["status"]);
    let refused = Arc::new(Mutex::new(Vec::new()));
    let _forwarding = {
        let refused = Arc::clone(&refused);
        forward_log(Arc::new(move |event| {
            let EventFields { message, fields } = EventFields::of(event);
            // Hosts of other tests log as well.
            if fields.contains(&("method", json!("format-disk"))) {
                refused.lock().push((message, fields));
            }
        }))
    };
    let rig = Rig::new().plugin("reply.wat", ()).host(granted).start().await;
    let call = |name: &'static str, payload: Value| rig.service.call(name, payload);

    let status = call("behaviour.status", json!(null)).await.unwrap();
    assert_eq!((status.status, &status.payload["connected"]), (200, &json!(true)));
    for name in ALL.iter().filter(|name| **name != "status") {
        let method = format!("behaviour.{name}");
        let answer = rig.service.call(&method, json!({ "plugin": "reply" })).await.unwrap();
        assert_eq!((answer.status, &answer.payload["error"]), (403, &json!("not-granted")));
        let message = answer.payload["message"].as_str().unwrap();
        assert!(message.contains(&format!("add \"{name}\" to `methods`")), "{message}");
    }
    let unknown = call("behaviour.format-disk", json!(null)).await.unwrap();
    assert_eq!((unknown.status, &unknown.payload["error"]), (404, &json!("unknown-method")));
    let lines = refused.lock().clone();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].0, "operator's request through the hub refused");
    assert!(lines[0].1.contains(&("error", json!("unknown-method"))), "{lines:?}");
    let invalid = call("behaviour.status", json!({ "pluign": "reply" })).await.unwrap();
    assert_eq!((invalid.status, &invalid.payload["error"]), (400, &json!("invalid-payload")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_controlled_through_the_hub() {
    let granted = set("host.remote.methods", ALL.to_vec());
    let rig = Rig::new().plugin("reply.wat", ()).host(granted).start().await;
    let call = async |name: &str, payload: Value| {
        rig.service.call(&format!("behaviour.{name}"), payload).await.unwrap()
    };
    let of_plugin = || json!({ "plugin": "reply" });

    assert_eq!(call("disable", of_plugin()).await.payload["done"], "disabled until it is enabled");
    assert_eq!(rig.service.call("echo", json!(1)).await.unwrap().status, 503);
    let plugins = call("plugins", json!(null)).await.payload;
    assert_eq!(plugins["plugins"][0]["state"], "off");
    assert_eq!(call("enable", of_plugin()).await.payload["done"], "enabled");
    assert_eq!(rig.service.call("echo", json!(1)).await.unwrap().status, 200);

    rig.swap("reply", "version-two.wat");
    rig.until_reported("/plugins/reply/version", &json!(2)).await;
    let done = call("rollback", of_plugin()).await.payload;
    assert_eq!(done["done"], "version 1 is active again, in place of 2");
    let refused = call("rollback", of_plugin()).await;
    assert_eq!((refused.status, &refused.payload["error"]), (409, &json!("refused")));
    assert_eq!(call("reload", of_plugin()).await.status, 200);
    let unknown = call("reload", json!({ "plugin": "q" })).await;
    assert_eq!((unknown.status, &unknown.payload["error"]), (404, &json!("unknown-plugin")));
    assert_eq!(call("reload", json!(null)).await.status, 400);

    let metrics = call("metrics", json!({ "name": "behaviour_host_plugin_swaps" })).await.payload;
    let text = metrics["metrics"].as_str().unwrap();
    assert!(text.contains("behaviour_host_plugin_swaps_total{plugin=\"reply\"} "), "{text}");
    assert!(!text.contains("memory"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_fit_into_an_answer_and_a_bundle_has_no_secrets() {
    let granted = set("host.remote.methods", vec!["logs", "bundle"]);
    // The plugin logs the second one, whose name does not look secret.
    let settings =
        [config("api_key", "s3cr3t-of-the-plugin"), config("greeting", r"two\u{1b}[31m")];
    let rig = Rig::new().plugin("talks.wat", settings).host(granted).start().await;
    for _ in 0..3 {
        rig.service.call("once", json!(null)).await.unwrap();
    }

    let logs = rig.service.call("behaviour.logs", json!({ "plugin": "talks", "lines": 2 }));
    let logs = logs.await.unwrap();
    let lines = logs.payload["lines"].as_array().unwrap();
    assert_eq!((logs.status, lines.len(), &logs.payload["left_out"]), (200, 2, &json!(0)));
    assert_eq!(lines[0]["message"], r"one\ntwo\u{1b}[31m");
    let after = async |cursor: &Value| {
        let payload = json!({ "plugin": "talks", "after": cursor });
        rig.service.call("behaviour.logs", payload).await.unwrap().payload
    };
    let none = after(&logs.payload["cursor"]).await;
    assert_eq!(none["lines"], json!([]));
    rig.service.call("once", json!(null)).await.unwrap();
    assert_eq!(after(&none["cursor"]).await["lines"].as_array().unwrap().len(), 1);

    let bundle = rig.service.call("behaviour.bundle", json!(null)).await.unwrap();
    assert_eq!(bundle.status, 200);
    let bundle = bundle.payload;
    assert_eq!(bundle["configuration"]["plugins"]["talks"]["methods"], json!(["*"]));
    assert!(bundle["configuration"]["plugins"]["talks"]["config"]["api_key"].is_string());
    assert_eq!(bundle["status"]["connected"], true);
    assert_eq!(bundle["log"]["talks"].as_array().unwrap().len(), 4);
    let text = bundle.to_string();
    let key = rig.device.to_text_with_key();
    let (_, key) = key.split_once("SharedAccessKey=").unwrap();
    for secret in ["s3cr3t-of-the-plugin", "[31m", key] {
        assert!(!text.contains(secret), "{text}");
    }
}
