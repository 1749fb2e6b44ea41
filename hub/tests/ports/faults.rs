//! Fault injection, observed by a device and a service.

use std::time::Duration;

use behaviour_hub::{Effect, Fault, Forget, Hub, Refused, Step};
use protocol::error::HubError;
use protocol::sas;
use rumqttc::{AsyncClient, ConnectReturnCode, Event, EventLoop, Packet, QoS};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::client::{Device, TIMEOUT, closed, hub, id, next, now, published, request, subscribe};

const METHODS: &str = "$iothub/methods/POST/#";
const TWIN: &str = "$iothub/twin/res/#";
const REPORT: &str = "$iothub/twin/PATCH/properties/reported/?$rid=1";

/// Connects a device that is subscribed to methods and twin answers.
async fn subscribed(hub: &Hub) -> (Device, AsyncClient, EventLoop) {
    let device = Device::of(hub, &hub.create_device(&id()).unwrap());
    let (client, mut events, _) = device.connect().await.unwrap();
    subscribe(&client, &mut events, METHODS).await;
    subscribe(&client, &mut events, TWIN).await;
    (device, client, events)
}

fn set(hub: &Hub, step: Step, effect: Effect) {
    hub.faults().set(Fault::new(step, effect).of(&id())).unwrap();
}

/// Calls a method that the device does not answer.
fn call(hub: &Hub) -> impl Future<Output = (u16, Value)> {
    let body = json!({"methodName": "m", "payload": 1, "responseTimeoutInSeconds": 300});
    async move { request(hub, "POST", "/twins/d1/methods", &body).await }
}

#[tokio::test]
async fn a_connect_is_refused_with_each_code_and_then_accepted() {
    let hub = hub().await;
    let device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    for (refused, code) in [
        (Refused::Protocol, ConnectReturnCode::RefusedProtocolVersion),
        (Refused::ClientId, ConnectReturnCode::BadClientId),
        (Refused::Unavailable, ConnectReturnCode::ServiceUnavailable),
        (Refused::Password, ConnectReturnCode::BadUserNamePassword),
        (Refused::NotAuthorized, ConnectReturnCode::NotAuthorized),
    ] {
        set(&hub, Step::Connect, Effect::Refuse(refused));
        assert_eq!(device.connect().await.err(), Some(code));
    }
    assert!(device.connect().await.is_ok());
    assert_eq!(hub.faults().happened(), 5);
}

#[tokio::test]
async fn the_connection_drops_before_or_after_a_suback() {
    let hub = hub().await;
    let device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    for (effect, expected) in [(Effect::DropBefore, false), (Effect::DropAfter, true)] {
        let (client, mut events, _) = device.connect().await.unwrap();
        set(&hub, Step::Subscribe, effect);
        client.subscribe(METHODS, QoS::AtMostOnce).await.unwrap();
        assert_eq!(
            arrives(&mut events, |packet| matches!(packet, Packet::SubAck(_))).await,
            expected
        );
    }
}

#[tokio::test]
async fn the_connection_drops_before_or_after_a_puback() {
    let hub = hub().await;
    let device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    let mut telemetry = hub.telemetry();
    for (effect, expected) in [(Effect::DropBefore, false), (Effect::DropAfter, true)] {
        let (client, mut events, _) = device.connect().await.unwrap();
        set(&hub, Step::Acknowledge, effect);
        client.publish("devices/d1/messages/events/", QoS::AtLeastOnce, false, "x").await.unwrap();
        assert_eq!(
            arrives(&mut events, |packet| matches!(packet, Packet::PubAck(_))).await,
            expected
        );
        // The hub receives the message in both cases.
        assert_eq!(&telemetry.recv().await.unwrap().body[..], b"x");
    }
}

#[tokio::test]
async fn reported_properties_are_stored_even_if_the_answer_is_lost() {
    let hub = hub().await;
    let (_, client, mut events) = subscribed(&hub).await;
    set(&hub, Step::TwinReport, Effect::Lose);
    client.publish(REPORT, QoS::AtMostOnce, false, r#"{"a":1}"#).await.unwrap();
    client.publish("$iothub/twin/GET/?$rid=2", QoS::AtMostOnce, false, "").await.unwrap();

    let (topic, body) = next(&mut events, published).await;

    assert_eq!(topic, "$iothub/twin/res/200/?$rid=2");
    assert!(body.contains(r#""a":1"#), "{body}");
}

#[tokio::test]
async fn a_throttled_report_returns_429_and_changes_nothing() {
    let hub = hub().await;
    let (_, client, mut events) = subscribed(&hub).await;
    set(&hub, Step::TwinReport, Effect::Throttle);
    for status in ["429/?$rid=1", "204/?$rid=1&$version=2"] {
        client.publish(REPORT, QoS::AtMostOnce, false, r#"{"a":1}"#).await.unwrap();
        let (topic, body) = next(&mut events, published).await;
        assert_eq!(topic, format!("$iothub/twin/res/{status}"));
        if status.starts_with("429") {
            let body: Value = serde_json::from_str(&body).unwrap();
            let members: Vec<&String> = body.as_object().unwrap().keys().collect();
            assert_eq!(members, ["errorCode", "message", "timestampUtc", "trackingId"]);
            assert_eq!(body["errorCode"], 429_001);
        }
    }
}

#[tokio::test]
async fn a_method_is_duplicated_or_delayed_or_ends_the_connection() {
    let hub = hub().await;
    let (device, _client, mut events) = subscribed(&hub).await;

    set(&hub, Step::Method, Effect::Duplicate);
    let twice = async { (next(&mut events, published).await, next(&mut events, published).await) };
    let (first, second) = during(call(&hub), twice).await;
    assert_eq!(first, second);

    set(&hub, Step::Method, Effect::Delay(Duration::from_millis(50)));
    during(call(&hub), next(&mut events, published)).await;

    set(&hub, Step::Method, Effect::DropAfter);
    let is_method = |packet: &Packet| matches!(packet, Packet::Publish(_));
    assert!(during(call(&hub), arrives(&mut events, is_method)).await);

    let (_client, mut events, _) = device.connect().await.unwrap();
    set(&hub, Step::Method, Effect::DropBefore);
    assert!(!during(call(&hub), arrives(&mut events, is_method)).await);
}

#[tokio::test]
async fn later_methods_overtake_a_reordered_method() {
    let hub = hub().await;
    let (_, _client, mut events) = subscribed(&hub).await;
    set(&hub, Step::Method, Effect::Reorder(Duration::from_millis(300)));
    let rids = async {
        hub.faults().until_happened(1).await;
        let second = during(call(&hub), next(&mut events, published)).await;
        (second, next(&mut events, published).await)
    };

    let ((second, _), (first, _)) = Box::pin(during(call(&hub), rids)).await;

    let rid = |topic: &str| topic.rsplit('=').next().unwrap().parse::<u64>().unwrap();
    assert!(rid(&first) < rid(&second), "{first} {second}");
}

#[tokio::test]
async fn a_lost_answer_is_acknowledged_but_never_reaches_the_caller() {
    let hub = hub().await;
    let (_, client, mut events) = subscribed(&hub).await;
    set(&hub, Step::Answer, Effect::Lose);
    let body = json!({"methodName": "m", "responseTimeoutInSeconds": 5});
    let calling = request(&hub, "POST", "/twins/d1/methods", &body);
    let answering = async {
        let (topic, _) = next(&mut events, published).await;
        let rid = topic.rsplit('=').next().unwrap();
        let answer = format!("$iothub/methods/res/200/?$rid={rid}");
        client.publish(answer, QoS::AtLeastOnce, false, "{}").await.unwrap();
        next(&mut events, |packet| matches!(packet, Packet::PubAck(_)).then_some(())).await;
    };

    let ((status, _), ()) = tokio::join!(calling, answering);

    assert_eq!(status, 504);
}

#[tokio::test]
async fn a_half_open_connection_is_silent_and_stays_open() {
    let hub = hub().await;
    let (_, client, mut events) = subscribed(&hub).await;
    assert!(hub.silence_connection(&id(), Duration::from_secs(2)));
    client.publish(REPORT, QoS::AtLeastOnce, false, r#"{"a":1}"#).await.unwrap();

    let received = arrives(&mut events, |packet| !matches!(packet, Packet::PingResp));

    assert!(!received.await, "a silent connection must end without a packet");
    let (_, twin) = request(&hub, "GET", "/twins/d1", &json!(null)).await;
    assert_eq!(twin["properties"]["reported"].get("a"), None);
}

#[tokio::test]
async fn an_expired_token_is_refused_until_a_newer_one_is_used() {
    let hub = hub().await;
    let (device, _client, mut events) = subscribed(&hub).await;
    assert!(hub.expire_token(&id()));
    closed(&mut events).await;
    assert_eq!(device.connect().await.err(), Some(ConnectReturnCode::NotAuthorized));

    let identity = hub.create_device(&id()).unwrap();
    let mut renewed = Device::of(&hub, &identity);
    let protocol::connection_string::DeviceCredential::Key(key) = &identity.credential else {
        panic!("no key")
    };
    let token = sas::sign(&identity.resource(), None, key, now() + 7200).to_string();
    let user = renewed.options.credentials().unwrap().username;
    renewed.options.set_credentials(user, token);
    assert!(renewed.connect().await.is_ok());
    assert!(device.connect().await.is_ok(), "a newer token ends the fault");
}

#[tokio::test]
async fn a_simulated_restart_loses_the_chosen_part_of_the_state() {
    let hub = hub().await;
    for (forget, sessions_kept, twins_kept) in [
        (Forget::Nothing, true, true),
        (Forget::Sessions, false, true),
        (Forget::Twins, false, false),
    ] {
        let (device, client, mut events) = subscribed(&hub).await;
        client.publish(REPORT, QoS::AtMostOnce, false, r#"{"a":1}"#).await.unwrap();
        next(&mut events, published).await;
        hub.restart(Duration::ZERO, forget).unwrap();
        closed(&mut events).await;

        let (.., present) = device.connect().await.unwrap();
        assert_eq!(present, sessions_kept, "{forget:?}");
        let (_, twin) = request(&hub, "GET", "/twins/d1", &json!(null)).await;
        assert_eq!(twin["properties"]["reported"]["a"] == 1, twins_kept, "{forget:?}");
    }
}

#[tokio::test]
async fn a_fault_message_ends_the_connection_before_its_puback() {
    let hub = hub().await;
    let device = Device::of(&hub, &hub.create_device(&id()).unwrap());
    let mut telemetry = hub.telemetry();
    for (operation, seconds, refused) in [
        ("KillTcp", 0, None),
        ("ShutDownMqtt", 5, None),
        ("InvokeThrottling", 1, Some(ConnectReturnCode::ServiceUnavailable)),
        ("InvokeAuthError", 1, Some(ConnectReturnCode::NotAuthorized)),
    ] {
        let (client, mut events, _) = device.connect().await.unwrap();
        let topic = format!(
            "devices/d1/messages/events/AzIoTHub_FaultOperationType={operation}&\
             AzIoTHub_FaultOperationCloseReason=boom&AzIoTHub_FaultOperationDelayInSecs=0&\
             AzIoTHub_FaultOperationDurationInSecs={seconds}"
        );
        client.publish(&topic, QoS::AtLeastOnce, false, "x").await.unwrap();
        assert!(!arrives(&mut events, |packet| matches!(packet, Packet::PubAck(_))).await);

        match refused {
            Some(code) => assert_eq!(device.connect().await.err(), Some(code), "{operation}"),
            None => {
                // Some clients repeat the message without the DUP flag.
                let (client, mut events, _) = device.connect().await.unwrap();
                client.publish(&topic, QoS::AtLeastOnce, false, "x").await.unwrap();
                assert!(arrives(&mut events, |packet| matches!(packet, Packet::PubAck(_))).await);
            }
        }
        hub.faults().clear();
    }
    telemetry.try_recv().expect_err("a fault message is not telemetry");
}

#[tokio::test]
async fn the_control_endpoint_sets_lists_and_clears_faults() {
    let hub = hub().await;
    let fault = json!({"step": "method", "effect": "delay", "ms": 5, "device": "d1", "times": 3});
    assert_eq!(request(&hub, "POST", "/$faults", &fault).await.0, 204);
    let (_, list) = request(&hub, "GET", "/$faults", &json!(null)).await;
    let listed = json!({"id": 1, "step": "method", "effect": "delay", "ms": 5, "device": "d1", "after": 0,
        "times": 3, "lasting_ms": 60_000});
    assert_eq!(list, json!({"waiting": [listed], "happened": 0}));
    assert_eq!(request(&hub, "DELETE", "/$faults", &json!(null)).await.0, 204);
    assert!(hub.faults().waiting().is_empty());

    for (invalid, message) in [
        (json!({"effect": "delay"}), "`step` is missing; the effect `delay` needs one"),
        (
            json!({"step": "connect", "effect": "duplicate"}),
            "`Duplicate` cannot happen at the step `Connect`",
        ),
        (
            json!({"step": "connect", "effect": "refuse"}),
            "`code` must be a CONNACK code from 1 to 5",
        ),
        (json!({"step": "method", "effect": "delay"}), "`ms` is missing"),
        (
            json!({"step": "method", "effect": "delay", "ms": 3_600_001}),
            "`ms` is 3600001; at most 3600000 is allowed",
        ),
        (
            json!({"step": "method", "effect": "drop"}),
            "the effect `drop` happens at once; remove `step`",
        ),
        (json!({"effect": "drop"}), "`device` is missing"),
        (json!({"step": "method", "effect": "lose", "times": 0}), "`times` must be at least 1"),
        (
            json!({"step": "method", "effect": "lose", "wat": 1}),
            "unknown field `wat`, expected one of `step`, `effect`, `device`, `ms`, `code`, \
             `forget`, `after`, `times`, `lasting_ms`",
        ),
    ] {
        let (status, body) = request(&hub, "POST", "/$faults", &invalid).await;
        let error = HubError::parse(status, None, &body.to_string());
        assert_eq!((status, error.message.as_str()), (400, message));
    }
}

#[tokio::test]
async fn requests_are_throttled_and_faults_without_a_step_happen_at_once() {
    let hub = hub().await;
    let (device, _client, mut events) = subscribed(&hub).await;
    hub.faults().set(Fault::new(Step::Request, Effect::Throttle)).unwrap();
    assert_eq!(request(&hub, "GET", "/twins/d1", &json!(null)).await.0, 429);
    assert_eq!(request(&hub, "GET", "/twins/d1", &json!(null)).await.0, 200);

    let drop = json!({"effect": "drop", "device": "d1"});
    assert_eq!(request(&hub, "POST", "/$faults", &drop).await.0, 204);
    closed(&mut events).await;
    assert_eq!(request(&hub, "POST", "/$faults", &drop).await.0, 404);

    let (_client, mut events, _) = device.connect().await.unwrap();
    let restart = json!({"effect": "restart", "ms": 0, "forget": "sessions"});
    assert_eq!(request(&hub, "POST", "/$faults", &restart).await.0, 204);
    closed(&mut events).await;
}

/// Waits for a matching packet. Returns `false` if the connection ends first.
async fn arrives(events: &mut EventLoop, matches: impl Fn(&Packet) -> bool) -> bool {
    loop {
        match timeout(TIMEOUT, events.poll()).await.unwrap() {
            Ok(Event::Incoming(packet)) if matches(&packet) => return true,
            Ok(_) => {}
            // Packets that were read before the end are still queued.
            Err(_) => {
                let mut queued = events.state.events.drain(..);
                return queued
                    .any(|event| matches!(event, Event::Incoming(packet) if matches(&packet)));
            }
        }
    }
}

/// Runs `call` until `observation` completes, and returns the output of the latter. Panics if
/// `call` completes first.
async fn during<T>(
    call: impl Future<Output = (u16, Value)>,
    observation: impl Future<Output = T>,
) -> T {
    tokio::select! {
        biased;
        output = observation => output,
        ended = call => panic!("the call ended: {ended:?}"),
    }
}
