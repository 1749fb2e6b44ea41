//! Interests, bounds and the cost of events without listeners.

use super::queue::{MAX_BYTES, MAX_EVENTS};
use super::*;

fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

fn publish(events: &Events, kind: EventKind, device: &str, n: usize) {
    events.publish(kind, &id(device), || data(json!({ "n": n })));
}

async fn next(listener: &mut EventListener) -> Value {
    match listener.next().await {
        Received::Event(event) => serde_json::from_str(&event.json).unwrap(),
        Received::Dropped(number) => json!({ "dropped": number }),
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_receives_only_events_of_its_interest() {
    let events = Arc::<Events>::default();
    let mut listener =
        events.listen(Interest::new(&[EventKind::Twin], Some(id("d1")))).ok().unwrap();
    publish(&events, EventKind::Telemetry, "d1", 1);
    publish(&events, EventKind::Twin, "d2", 2);
    publish(&events, EventKind::Twin, "d1", 3);
    let event = next(&mut listener).await;
    assert_eq!((&event["n"], &event["deviceId"]), (&json!(3), &json!("d1")));
    assert!(event["time"].is_string());
}

#[test]
fn an_event_without_an_interested_listener_is_not_built() {
    let events = Arc::<Events>::default();
    let unwanted = || -> EventData { panic!("built without a listener") };
    events.publish(EventKind::Traffic, &id("d1"), unwanted);
    let listener = events.listen(Interest::new(&[EventKind::Traffic], Some(id("d2"))));
    events.publish(EventKind::Traffic, &id("d1"), unwanted);
    drop(listener);
    events.publish(EventKind::Traffic, &id("d2"), unwanted);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_never_reads_holds_a_bounded_number_of_events_and_bytes() {
    let events = Arc::<Events>::default();
    let mut listener = events.listen(Interest::new(&[EventKind::Twin], None)).ok().unwrap();
    let mut other = events.listen(Interest::new(&[EventKind::Twin], None)).ok().unwrap();
    for n in 0..MAX_EVENTS + 10 {
        publish(&events, EventKind::Twin, "d1", n);
        assert_eq!(next(&mut other).await["n"], n, "a fast listener misses nothing");
    }
    assert_eq!(next(&mut listener).await["dropped"], 10);
    assert_eq!(next(&mut listener).await["n"], 10, "the oldest are dropped");

    let large = "x".repeat(MAX_BYTES / 4);
    for _ in 0..8 {
        events.publish(EventKind::Twin, &id("d1"), || data(json!({ "large": large })));
    }
    let dropped = next(&mut listener).await["dropped"].as_u64().unwrap();
    let mut left = 0;
    while let Some(received) = futures_util::FutureExt::now_or_never(listener.next()) {
        assert!(matches!(received, Received::Event(_)));
        left += 1;
    }
    assert_eq!((left, dropped), (3, MAX_EVENTS as u64 - 1 + 8 - 3));
}

#[test]
fn listeners_are_limited_and_a_dropped_one_makes_room() {
    let events = Arc::<Events>::default();
    let mut listeners: Vec<_> =
        (0..MAX_LISTENERS).map(|_| events.listen(Interest::default()).ok().unwrap()).collect();
    assert!(events.listen(Interest::default()).is_err());
    listeners.pop();
    assert!(events.listen(Interest::default()).is_ok());
}

#[test]
fn a_long_payload_is_cut_between_characters() {
    for (payload, max, expected) in [
        (&b"abc"[..], 3, json!({ "body": "abc" })),
        ("aü".as_bytes(), 2, json!({ "body": "a", "truncated": true })),
        (b"\xff\x00", 9, json!({ "bodyBase64": "/wA=" })),
        (b"\xff\x00", 1, json!({ "bodyBase64": "/w==", "truncated": true })),
    ] {
        let mut members = EventData::new();
        add_payload(&mut members, payload, max);
        assert_eq!(Value::Object(members), expected);
    }
}
