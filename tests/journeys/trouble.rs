//! What the network and the hub do to a device, and how it is back by itself.

use std::time::{Duration, Instant};

use hub::{Effect, Fault, Refused, Step};
use protocol::method::MethodRequest;
use rig::{Rig, Service, config, set};
use serde_json::json;
use service::ServiceErrorKind;
use tokio::task::JoinSet;

#[tokio::test]
async fn a_hub_that_dies_during_a_call_and_comes_back_finds_the_device_again() {
    let mut rig = Rig::new().plugin("sleeps.wat", set("limits.calls_at_once", 1)).start().await;
    let service = rig.service.clone();
    let lost = tokio::spawn(async move {
        // At its limit means that a look of this test was first.
        loop {
            match service.call("sleep", json!(300)).await {
                Ok(busy) if busy.status == 429 => {}
                ended => return ended,
            }
        }
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
async fn a_call_is_answered_although_the_connection_was_cut_meanwhile() {
    let rig = Rig::new().plugin("sleeps.wat", set("limits.calls_at_once", 1)).start().await;
    let service = rig.service.clone();
    let running = tokio::spawn(async move { service.call_until_free("sleep", json!(400)).await });
    rig.service.until_busy("sleep").await;

    assert!(rig.hub().drop_connection(&rig.service.device));

    assert_eq!(running.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_report_made_while_the_hub_was_away_reaches_it_later() {
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

    loop {
        let twin = rig.service.client.twin(&rig.service.device).await.unwrap();
        if twin.properties.reported.contains_key("rebootTime") {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_token_is_renewed_again_and_again_under_load_and_no_call_is_lost() {
    // The hub ends a connection the second its token expires.
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
            // Calls that take no time, and some that outlast a renewal.
            let sleeps = if caller == 0 { 900 } else { 20 };
            let mut request = MethodRequest::new("sleep".parse().unwrap(), json!(sleeps));
            // On a busy machine a token may end before it is renewed: the call
            // waits for the device.
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
async fn a_device_is_there_for_every_call_while_its_token_is_renewed() {
    let rig =
        Rig::new().plugin("reply.wat", ()).host(set("hub.token_lifetime", "2s")).start().await;
    // Each next connection is slow, and so would be the gap.
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
    tokio::time::timeout(rig::PATIENCE, calls).await.expect("the token is renewed three times");
}

#[tokio::test]
async fn a_device_whose_host_is_stopped_is_offline_to_the_caller() {
    let mut rig = Rig::new().plugin("reply.wat", ()).start().await;
    rig.stop_host().await.unwrap();

    let error = rig.service.call("echo", json!(1)).await.unwrap_err();

    assert_eq!((error.kind(), error.code()), (ServiceErrorKind::Offline, Some(404_103)));
}

#[tokio::test]
async fn a_connection_that_went_silent_is_noticed_within_the_keep_alive_and_replaced() {
    let rig = Rig::new().plugin("reply.wat", ()).host(set("hub.keep_alive", "2s")).start().await;
    // Longer than the test waits: it is the host that must notice.
    assert!(rig.hub().silence_connection(&rig.service.device, Duration::from_secs(600)));

    // To the hub the device is there, so that each call waits for its answer.
    let mut request = MethodRequest::new("echo".parse().unwrap(), json!("awake"));
    request.response_timeout = Duration::from_secs(5);
    let answer = loop {
        match rig.service.client.invoke(&rig.service.device, &request).await {
            Ok(answer) => break answer,
            Err(error) => assert_eq!(error.kind(), ServiceErrorKind::TimedOut, "{error}"),
        }
    };

    assert_eq!(answer.payload, json!("awake"));
}

#[tokio::test]
async fn a_device_that_is_refused_comes_back_when_it_no_longer_is() {
    let rig = Rig::new().plugin("reply.wat", ()).start().await;
    for code in [Refused::NotAuthorized, Refused::Unavailable] {
        let fault = Fault::new(Step::Connect, Effect::Refuse(code));
        rig.hub().faults().set(fault).unwrap();
        let happened = rig.hub().faults().happened();
        assert!(rig.hub().drop_connection(&rig.service.device));
        rig.hub().faults().until_happened(happened + 1).await;
        rig.ready().await;
    }

    assert_eq!(rig.service.call("echo", json!(1)).await.unwrap().payload, json!(1));
}

#[tokio::test]
async fn a_method_that_is_delivered_twice_runs_once() {
    let rig = Rig::new().plugin("sleeps.wat", set("limits.calls_at_once", 1)).start().await;
    let fault = Fault::new(Step::Method, Effect::Duplicate).times(5);
    rig.hub().faults().set(fault).unwrap();

    // A second run would be refused at once, and so be the first to answer.
    for _ in 0..5 {
        assert_eq!(rig.service.call("sleep", json!(50)).await.unwrap().status, 200);
    }
    assert_eq!(rig.hub().faults().happened(), 5);
}

#[tokio::test]
async fn an_acknowledgement_that_comes_twice_ends_no_connection() {
    let rig = Rig::new().plugin("reply.wat", ()).start().await;
    let fault = Fault::new(Step::Acknowledge, Effect::Duplicate).times(5);
    rig.hub().faults().set(fault).unwrap();
    // What a device that comes back would meet.
    rig.hub().faults().set(Fault::new(Step::Connect, Effect::Delay(Duration::ZERO))).unwrap();

    for number in 0..10 {
        let answer = rig.service.call("echo", json!(number)).await.unwrap();
        assert_eq!(answer.payload, json!(number));
    }
    assert_eq!(rig.hub().faults().happened(), 5);
    assert_eq!(rig.hub().faults().waiting().len(), 1);
}
