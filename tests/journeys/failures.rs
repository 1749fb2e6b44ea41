//! Tests of failures of the network and the hub from which a device recovers.

use std::time::{Duration, Instant};

use hub::{Effect, Fault, Refused, Step};
use protocol::error::ErrorCode;
use protocol::method::MethodRequest;
use rig::{Rig, Service, config, set, until, within};
use serde_json::json;
use service::ServiceErrorKind;
use tokio::task::JoinSet;

#[tokio::test]
async fn a_device_reconnects_to_a_hub_that_stopped_during_a_call() {
    let mut rig = Rig::new().plugin("sleeps.wat", set("limits.calls_at_once", 1)).start().await;
    let service = rig.service.clone();
    let lost = tokio::spawn(async move {
        // The plugin is busy if a probe of `until_busy` was first.
        until("the call is accepted or lost", || async {
            let result = service.call("sleep", json!(300)).await;
            let is_busy = result.as_ref().is_ok_and(|answer| answer.status == 429);
            (!is_busy).then_some(result)
        })
        .await
    });
    rig.service.until_busy("sleep").await;

    rig.stop_hub().await;
    lost.await.unwrap().unwrap_err();
    rig.start_hub().await;
    rig.ready().await;

    let answer = rig.service.call_until_free("sleep", json!(1)).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_call_is_answered_even_if_the_connection_drops_meanwhile() {
    let rig = Rig::new().plugin("sleeps.wat", set("limits.calls_at_once", 1)).start().await;
    let service = rig.service.clone();
    let running = tokio::spawn(async move { service.call_until_free("sleep", json!(400)).await });
    rig.service.until_busy("sleep").await;

    assert!(rig.hub().drop_connection(&rig.service.device));

    assert_eq!(running.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_report_made_while_the_hub_was_down_reaches_it_later() {
    let mut rig = Rig::new()
        .reboot([config("delay_seconds", 1), set("limits.calls_at_once", 1)])
        .start()
        .await;
    let service = rig.service.clone();
    let lost = tokio::spawn(async move { service.call("rebootDevice", json!(null)).await });
    rig.service.until_busy("probe").await;

    rig.stop_hub().await;
    lost.await.unwrap().unwrap_err();
    rig.start_hub().await;

    until("the report arrives", || async {
        rig.service.reported().await.get("rebootTime").map(drop)
    })
    .await;
}

#[tokio::test]
async fn repeated_token_renewals_under_load_lose_no_call() {
    // The hub ends a connection as soon as its token expires.
    let rig = Rig::new()
        .plugin("sleeps.wat", ())
        .host(set("hub.token_lifetime", "2s"))
        .token_grace(Duration::ZERO)
        .start()
        .await;
    let until = Instant::now() + Duration::from_secs(7);
    let mut callers = JoinSet::new();
    for caller in 0..8 {
        let Service { client, device } = rig.service.clone();
        callers.spawn(async move {
            // One caller makes calls that last longer than a renewal.
            let sleeps = if caller == 0 { 900 } else { 20 };
            let mut request = MethodRequest::new("sleep".parse().unwrap(), json!(sleeps));
            // On a busy machine, a token may expire before its renewal. The call then waits for
            // the device.
            request.connect_timeout = Duration::from_secs(60);
            while Instant::now() < until {
                assert_eq!(client.invoke(&device, &request).await.unwrap().status, 200);
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
}

#[tokio::test]
async fn a_device_is_online_for_every_call_while_its_token_is_renewed() {
    let rig =
        Rig::new().plugin("reply.wat", ()).host(set("hub.token_lifetime", "2s")).start().await;
    // New connections are slow, so a gap between two connections would fail a call.
    let slow = Fault::new(Step::Connect, Effect::Delay(Duration::from_millis(100))).times(3);
    rig.hub().faults().set(slow).unwrap();

    let mut request = MethodRequest::new("echo".parse().unwrap(), json!("here"));
    request.connect_timeout = Duration::ZERO;
    let calls = async {
        let mut calls = 0;
        while rig.hub().faults().happened() < 3 || calls < 100 {
            let answer = rig.service.client.invoke(&rig.service.device, &request).await.unwrap();
            assert_eq!(answer.payload, json!("here"));
            calls += 1;
        }
    };
    within("the token is renewed three times", calls).await;
}

#[tokio::test]
async fn a_device_whose_host_is_stopped_is_offline_for_its_caller() {
    let mut rig = Rig::new().plugin("reply.wat", ()).start().await;
    rig.stop_host().await.unwrap();

    let error = rig.service.call("echo", json!(1)).await.unwrap_err();

    assert_eq!(
        (error.kind(), error.code()),
        (ServiceErrorKind::Offline, Some(ErrorCode::DeviceNotOnline))
    );
}

#[tokio::test]
async fn a_half_open_connection_is_detected_by_the_keep_alive_and_replaced() {
    let rig = Rig::new().plugin("reply.wat", ()).host(set("hub.keep_alive", "2s")).start().await;
    // The connection stays half-open for longer than the test, so the host has to detect it.
    assert!(rig.hub().silence_connection(&rig.service.device, Duration::from_secs(600)));

    // The hub considers the device connected, so each call waits for its answer.
    let mut request = MethodRequest::new("echo".parse().unwrap(), json!("awake"));
    request.response_timeout = Duration::from_secs(5);
    let answer = until("the device answers again", || async {
        let answer = rig.service.client.invoke(&rig.service.device, &request).await;
        answer.map_err(|error| assert_eq!(error.kind(), ServiceErrorKind::TimedOut, "{error}")).ok()
    })
    .await;

    assert_eq!(answer.payload, json!("awake"));
}

#[tokio::test]
async fn a_refused_device_connects_once_the_hub_accepts_it_again() {
    let rig = Rig::new().plugin("reply.wat", ()).start().await;
    for code in [Refused::NotAuthorized, Refused::Unavailable] {
        let fault = Fault::new(Step::Connect, Effect::Refuse(code));
        rig.hub().faults().set(fault).unwrap();
        let happened = rig.hub().faults().happened();
        assert!(rig.hub().drop_connection(&rig.service.device));
        within("the refusal", rig.hub().faults().until_happened(happened + 1)).await;
        rig.ready().await;
    }

    assert_eq!(rig.service.call("echo", json!(1)).await.unwrap().payload, json!(1));
}

#[tokio::test]
async fn a_method_that_is_delivered_twice_runs_once() {
    let rig = Rig::new().plugin("sleeps.wat", set("limits.calls_at_once", 1)).start().await;
    let fault = Fault::new(Step::Method, Effect::Duplicate).times(5);
    rig.hub().faults().set(fault).unwrap();

    // A second run would be refused immediately, so the refusal would arrive before the first
    // answer.
    for _ in 0..5 {
        assert_eq!(rig.service.call("sleep", json!(50)).await.unwrap().status, 200);
    }
    assert_eq!(rig.hub().faults().happened(), 5);
}

#[tokio::test]
async fn a_duplicate_acknowledgement_does_not_end_the_connection() {
    let rig = Rig::new().plugin("reply.wat", ()).start().await;
    let fault = Fault::new(Step::Acknowledge, Effect::Duplicate).times(5);
    rig.hub().faults().set(fault).unwrap();
    // A reconnect of the device would trigger this fault.
    rig.hub().faults().set(Fault::new(Step::Connect, Effect::Delay(Duration::ZERO))).unwrap();

    for number in 0..10 {
        let answer = rig.service.call("echo", json!(number)).await.unwrap();
        assert_eq!(answer.payload, json!(number));
    }
    assert_eq!(rig.hub().faults().happened(), 5);
    assert_eq!(rig.hub().faults().waiting().len(), 1);
}

#[tokio::test]
async fn a_message_that_makes_the_hub_disconnect_does_not_lose_a_report() {
    let rig = Rig::new().plugin("tells.wat", ()).start().await;
    // The host tries the call's message five times. The sixth fault hits the message of the
    // call's job.
    let poison = Fault::new(Step::Message, Effect::DropBefore).times(6);
    rig.hub().faults().set(poison.lasting(Duration::from_secs(600))).unwrap();

    let (service, hub) = (rig.service.clone(), rig.hub());
    let calling = tokio::spawn(async move { service.call("tell", json!({ "level": 3 })).await });

    rig.until_reported("/level", &json!(3)).await;
    within("the message is dropped", hub.faults().until_happened(6)).await;
    rig.ready().await;
    // The answer may be lost with its connection.
    drop(calling.await.unwrap());
    assert_eq!(rig.service.reported().await["level"], 3);
}

#[tokio::test]
async fn every_message_that_makes_the_hub_disconnect_is_dropped_after_five_attempts() {
    let rig = Rig::new().plugin("tells.wat", ()).start().await;
    // Two calls and their jobs send four messages. If the back-off did not start again for each
    // message, the waits would add up to several minutes.
    let poison = Fault::new(Step::Message, Effect::DropBefore).times(20);
    rig.hub().faults().set(poison.lasting(Duration::from_secs(600))).unwrap();
    for level in [1, 2] {
        let service = rig.service.clone();
        // The messages of the other call may have ended the connection already.
        let request = MethodRequest {
            connect_timeout: Duration::from_secs(60),
            ..MethodRequest::new("tell".parse().unwrap(), json!({ "level": level }))
        };
        tokio::spawn(async move { service.client.invoke(&service.device, &request).await });
    }

    within("all messages are dropped", rig.hub().faults().until_happened(20)).await;
    rig.ready().await;
}
