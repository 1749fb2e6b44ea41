//! Hostile plugins beside a good one, in one host: whoever calls them gets what
//! the table of failures says, and the good one never notices.

use rig::{Rig, Running, Settings, deadline, set};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A plugin of one sin: the method that commits it, its fixture, and what its
/// caller gets: a status, and the word of the host where the answer is its own.
struct Sinner {
    method: &'static str,
    fixture: &'static str,
    settings: fn() -> Settings,
    status: i32,
    error: Option<&'static str>,
}

const PATIENT: fn() -> Settings = || ().into();

const SINNERS: &[Sinner] = &[
    Sinner {
        method: "spin",
        fixture: "misbehaves.wat",
        settings: || deadline("200ms").into(),
        status: 504,
        error: Some("deadline-exceeded"),
    },
    Sinner {
        method: "grow",
        fixture: "misbehaves.wat",
        settings: PATIENT,
        status: 507,
        error: Some("out-of-memory"),
    },
    Sinner {
        method: "recurse",
        fixture: "misbehaves.wat",
        settings: PATIENT,
        status: 500,
        error: Some("trapped"),
    },
    Sinner {
        method: "table",
        fixture: "hoards.wat",
        settings: PATIENT,
        status: 500,
        error: Some("trapped"),
    },
    Sinner {
        method: "huge",
        fixture: "answers.wat",
        settings: PATIENT,
        status: 502,
        error: Some("bad-answer"),
    },
    Sinner { method: "flood", fixture: "talks.wat", settings: PATIENT, status: 200, error: None },
    // The host says no to the twin's flood, and the guest answers with its word.
    Sinner { method: "often", fixture: "asks.wat", settings: PATIENT, status: 403, error: None },
    Sinner {
        method: "trap",
        fixture: "misbehaves.wat",
        settings: || set("disable_after", 3).into(),
        status: 500,
        error: Some("trapped"),
    },
];

/// One host with all of them and a good one, which serves all other methods.
async fn house(guests: &TempDir) -> Running {
    let mut rig = Rig::new().plugin("reply.wat", ());
    for sinner in SINNERS {
        let file = guests.path().join(sinner.method).with_extension("wasm");
        std::fs::write(&file, fixtures::guest(sinner.fixture)).unwrap();
        let settings = (sinner.settings)().and([set("methods", vec![sinner.method])]);
        rig = rig.plugin_named(sinner.method, file, settings);
    }
    rig.start().await
}

/// The good one answers.
async fn good(rig: &Running, payload: &str) {
    let answer = rig.service.call("echo", json!(payload)).await.unwrap();
    assert_eq!((answer.status, answer.payload), (200, json!(payload)));
}

async fn call(rig: &Running, method: &str) -> (i32, Value) {
    let answer = rig.service.call(method, json!({ "a": 1 })).await.unwrap();
    (answer.status, answer.payload)
}

/// Calls until it gets this status.
async fn until_answered(rig: &Running, method: &str, status: i32) -> Value {
    let look = async {
        loop {
            let (found, body) = call(rig, method).await;
            if found == status {
                return body;
            }
        }
    };
    let waited = tokio::time::timeout(rig::PATIENCE, look).await;
    waited.unwrap_or_else(|_| panic!("`{method}` is not answered with {status}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_plugins_get_what_the_table_says_and_a_good_one_beside_them_never_notices() {
    let guests = tempfile::tempdir().unwrap();
    let mut rig = house(&guests).await;
    good(&rig, "before").await;

    for Sinner { method, status, error, .. } in SINNERS {
        let ((found, body), ()) = tokio::join!(call(&rig, method), good(&rig, "meanwhile"));
        assert_eq!(found, *status, "{method}: {body}");
        if let Some(error) = error {
            assert_eq!(body["error"], *error, "{method}: {body}");
            assert!(body["message"].is_string() && body["call"].is_string(), "{method}: {body}");
        }
        good(&rig, method).await;
    }

    // Two more, and it is left alone for a while; then it has one more chance.
    for _ in 0..2 {
        assert_eq!(call(&rig, "trap").await.0, 500);
    }
    rig.until_reported("/plugins/trap/state", &json!("disabled")).await;
    let disabled = until_answered(&rig, "trap", 503).await;
    assert_eq!(disabled["error"], "disabled");
    good(&rig, "while it rests").await;
    until_answered(&rig, "trap", 500).await;
    until_answered(&rig, "trap", 503).await;

    // Nobody else was disabled, what was reported arrived, and it ends well.
    for sinner in SINNERS.iter().filter(|sinner| sinner.method != "trap") {
        let state = format!("/plugins/{}/state", sinner.method);
        rig.until_reported(&state, &json!("active")).await;
    }
    rig.until_reported("/a", &json!(1)).await;
    rig.until_reported("/plugins/reply/version", &json!(1)).await;
    good(&rig, "after").await;
    rig.stop_host().await.unwrap();
}
