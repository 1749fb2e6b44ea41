//! Outcomes of a call: the plugin's answer, its refusal, or a failure.

use crate::rig::{Host, call, engine, load};
use behaviour_plugin::{CallError, PluginSettings, Refusal};

#[tokio::test]
async fn a_payload_reaches_the_guest_and_the_answer_reaches_the_caller() {
    let plugin = load("misbehaves.wat");
    let host = Host::default();

    for payload in ["null", "\"text\"", "{\"a\": [1, 2]}", "\"Grüße\""] {
        let answer = host.call(&plugin, "echo", payload).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.payload.unwrap().get(), payload);
    }
}

#[tokio::test]
async fn a_component_in_text_form_can_be_loaded_from_a_file() {
    let plugin = engine()
        .load_file("reply", &fixtures::file("reply.wat"), PluginSettings::default())
        .unwrap();

    let answer = Host::default().call(&plugin, "any", "[42]").await.unwrap();
    assert_eq!(answer.payload.unwrap().get(), "[42]");
}

#[tokio::test]
async fn an_answer_can_have_no_payload() {
    let answer = call(&load("answers.wat"), "nothing").await.unwrap();

    assert_eq!(answer.status, 204);
    assert!(answer.payload.is_none());
}

#[tokio::test]
async fn each_kind_of_bad_answer_has_its_own_error() {
    let plugin = load("answers.wat");

    let error = call(&plugin, "json").await.unwrap_err();
    assert!(matches!(error, CallError::AnswerNotJson(_)), "{error}");
    for (method, message) in [
        ("deep", "answer is nested too deep: more than 100 levels"),
        ("pair", "answer has half of a surrogate pair"),
        ("raw", "answer has a string that is not UTF-8"),
    ] {
        let error = call(&plugin, method).await.unwrap_err();
        assert_eq!((error.status(), error.code()), (502, "bad-answer"));
        assert_eq!(error.message(), message);
    }
    let error = call(&plugin, "status").await.unwrap_err();
    assert!(matches!(error, CallError::AnswerStatus(42)), "{error}");
    let error = call(&plugin, "huge").await.unwrap_err();
    assert!(matches!(error, CallError::AnswerTooLarge { bytes: 300_000, .. }), "{error}");
}

#[tokio::test]
async fn a_refusal_keeps_its_variant_and_message() {
    let plugin = load("answers.wat");
    let text = || "because".to_owned();
    let cases = [
        ("invalid", Refusal::InvalidPayload(text())),
        ("unknown", Refusal::UnknownMethod),
        ("busy", Refusal::Busy(Some(250))),
        ("failed", Refusal::Failed(text())),
        ("other", Refusal::Other(text())),
    ];

    for (method, expected) in cases {
        match call(&plugin, method).await {
            Err(CallError::Refused(refusal)) => assert_eq!(refusal, expected),
            other => panic!("{method}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_invalid_payload_does_not_reach_the_guest() {
    let plugin = load("misbehaves.wat");
    let host = Host::default();

    let error = host.call(&plugin, "trap", "{").await.unwrap_err();
    assert!(matches!(error, CallError::PayloadNotJson(_)), "{error}");
    let error = host.call(&plugin, "trap", r#""\ud83d""#).await.unwrap_err();
    assert_eq!(error.message(), "payload has half of a surrogate pair");
    let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
    let error = host.call(&plugin, "trap", &deep).await.unwrap_err();
    assert_eq!(error.message(), "payload is nested too deep: more than 100 levels");
    let long = format!("\"{}\"", "a".repeat(128 * 1024));
    let error = host.call(&plugin, "trap", &long).await.unwrap_err();
    assert_eq!(error.to_string(), "payload has 131074 bytes; 131072 are allowed");
}

#[tokio::test]
async fn the_largest_allowed_payload_is_delivered() {
    let payload = format!("\"{}\"", "a".repeat(128 * 1024 - 2));

    let answer = Host::default().call(&load("misbehaves.wat"), "echo", &payload).await.unwrap();
    assert_eq!(answer.payload.unwrap().get(), payload);
}

#[tokio::test]
async fn a_trap_names_its_cause_and_the_next_call_works() {
    let plugin = load("misbehaves.wat");

    let error = call(&plugin, "trap").await.unwrap_err();
    assert!(matches!(&error, CallError::Trapped(text) if text.contains("unreachable")), "{error}");
    call(&plugin, "echo").await.unwrap();
}

#[tokio::test]
async fn endless_recursion_traps_and_the_next_call_works() {
    let plugin = load("misbehaves.wat");

    let error = call(&plugin, "recurse").await.unwrap_err();
    assert!(matches!(&error, CallError::Trapped(text) if text.contains("stack")), "{error}");
    call(&plugin, "echo").await.unwrap();
}
