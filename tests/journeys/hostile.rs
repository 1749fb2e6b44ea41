//! Tests of hostile plugins next to a well-behaved plugin in the same host. Each hostile
//! plugin gets the answer in the table of failures, and the other plugin is not affected.

use rig::{Rig, Running, Settings, deadline, set};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A plugin with one kind of misbehaviour, and the answer to its caller.
struct Hostile {
    method: &'static str,
    fixture: &'static str,
    settings: fn() -> Settings,
    status: i32,
    /// The host's error code, if the host answers instead of the plugin.
    error: Option<&'static str>,
}

const NO_SETTINGS: fn() -> Settings = || ().into();

const HOSTILE: &[Hostile] = &[
    Hostile {
        method: "spin",
        fixture: "misbehaves.wat",
        settings: || deadline("200ms").into(),
        status: 504,
        error: Some("deadline-exceeded"),
    },
    Hostile {
        method: "grow",
        fixture: "misbehaves.wat",
        settings: NO_SETTINGS,
        status: 507,
        error: Some("out-of-memory"),
    },
    Hostile {
        method: "recurse",
        fixture: "misbehaves.wat",
        settings: NO_SETTINGS,
        status: 500,
        error: Some("trapped"),
    },
    Hostile {
        method: "table",
        fixture: "hoards.wat",
        settings: NO_SETTINGS,
        status: 500,
        error: Some("trapped"),
    },
    Hostile {
        method: "huge",
        fixture: "answers.wat",
        settings: NO_SETTINGS,
        status: 502,
        error: Some("bad-answer"),
    },
    Hostile {
        method: "flood",
        fixture: "talks.wat",
        settings: NO_SETTINGS,
        status: 200,
        error: None,
    },
    // The host refuses some of the reports, and the guest answers with the refusal.
    Hostile {
        method: "often",
        fixture: "asks.wat",
        settings: NO_SETTINGS,
        status: 403,
        error: None,
    },
    Hostile {
        method: "trap",
        fixture: "misbehaves.wat",
        settings: || [set("disable_after", 3), set("failing_for", "0s")].into(),
        status: 500,
        error: Some("trapped"),
    },
];

/// Starts a host with all hostile plugins, and with a well-behaved plugin for all other
/// methods.
async fn start(guests: &TempDir) -> Running {
    let mut rig = Rig::new().plugin("reply.wat", ());
    for plugin in HOSTILE {
        let file = guests.path().join(plugin.method).with_extension("wasm");
        std::fs::write(&file, fixtures::guest(plugin.fixture)).unwrap();
        let settings = (plugin.settings)().and([set("methods", vec![plugin.method])]);
        rig = rig.plugin_named(plugin.method, file, settings);
    }
    rig.start().await
}

/// Asserts that the well-behaved plugin answers.
async fn expect_good(rig: &Running, payload: &str) {
    let answer = rig.service.call("echo", json!(payload)).await.unwrap();
    assert_eq!((answer.status, answer.payload), (200, json!(payload)));
}

async fn call(rig: &Running, method: &str) -> (i32, Value) {
    let answer = rig.service.call(method, json!({ "a": 1 })).await.unwrap();
    (answer.status, answer.payload)
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_plugins_fail_as_documented_and_do_not_affect_other_plugins() {
    let guests = tempfile::tempdir().unwrap();
    let mut rig = start(&guests).await;
    expect_good(&rig, "before").await;

    for Hostile { method, status, error, .. } in HOSTILE {
        let ((found, body), ()) = tokio::join!(call(&rig, method), expect_good(&rig, "meanwhile"));
        assert_eq!(found, *status, "{method}: {body}");
        if let Some(error) = error {
            assert_eq!(body["error"], *error, "{method}: {body}");
            assert!(body["message"].is_string() && body["call"].is_string(), "{method}: {body}");
        }
        expect_good(&rig, method).await;
    }

    // Two more failures disable the plugin temporarily. After that time, one call is allowed.
    for _ in 0..2 {
        assert_eq!(call(&rig, "trap").await.0, 500);
    }
    rig.until_reported("/plugins/trap/state", &json!("disabled")).await;
    let disabled = rig.service.until_status("trap", 503).await;
    assert_eq!(disabled["error"], "disabled");
    expect_good(&rig, "while another is disabled").await;
    rig.service.until_status("trap", 500).await;
    rig.service.until_status("trap", 503).await;

    // No other plugin was disabled, all reports arrived, and the host stops cleanly.
    for plugin in HOSTILE.iter().filter(|plugin| plugin.method != "trap") {
        let state = format!("/plugins/{}/state", plugin.method);
        rig.until_reported(&state, &json!("active")).await;
    }
    rig.until_reported("/a", &json!(1)).await;
    rig.until_reported("/plugins/reply/version", &json!(1)).await;
    expect_good(&rig, "after").await;
    rig.stop_host().await.unwrap();
}
