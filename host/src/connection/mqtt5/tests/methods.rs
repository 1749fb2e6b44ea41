//! Methods: each limit on time, repeated and stale messages.

use protocol::mqtt5::{Abandon, AbandonReason, Exec, Probe, ProbeAck, ResultMessage};

use super::*;

const REQUEST: [u8; 16] = [2; 16];

const SECOND: Duration = Duration::from_secs(1);

fn probe_of(
    translator: &mut Translator,
    request: [u8; 16],
    seconds: u32,
    expiry: Option<u32>,
) -> Vec<Translated> {
    let probe = Probe { method_name: "m".to_owned(), response_timeout_seconds: seconds };
    translator.incoming(from_hub(MessageType::Probe, request, &probe, expiry)).unwrap()
}

fn probe(translator: &mut Translator, seconds: u32, expiry: Option<u32>) -> Vec<Translated> {
    probe_of(translator, REQUEST, seconds, expiry)
}

fn exec_within(
    translator: &mut Translator,
    ready_id: CorrelationId,
    expiry: Option<u32>,
) -> Vec<Translated> {
    let exec = Exec { ready_id, params: b"1".to_vec(), exec_start: None };
    translator.incoming(from_hub(MessageType::Exec, REQUEST, &exec, expiry)).unwrap()
}

fn exec(translator: &mut Translator, ready_id: CorrelationId) -> Vec<Translated> {
    exec_within(translator, ready_id, Some(30))
}

fn ready(translated: &[Translated]) -> CorrelationId {
    match sent(translated) {
        ProbeAck::Ready(ready_id) => ready_id,
        rejected => panic!("{rejected:?}"),
    }
}

/// Returns the expiry of the only packet for the hub.
fn expiry_of(translated: &[Translated]) -> Option<u32> {
    let [Translated::ToHub(Packet5::Publish(publish))] = translated else {
        panic!("{translated:?}")
    };
    publish.properties.as_ref().unwrap().message_expiry_interval
}

/// Sends the answer of the session to the method.
fn answer(translator: &mut Translator) -> Vec<Translated> {
    let rid = CorrelationId::from(REQUEST);
    let topic = format!("$iothub/methods/res/200/?$rid={rid}");
    let mut publish = Publish::new(topic, rumqttc::QoS::AtLeastOnce, "[1]");
    publish.pkid = 7;
    translator.outgoing(Packet::Publish(publish))
}

#[tokio::test(start_paused = true)]
async fn a_method_runs_once_after_its_probe() {
    let admission = Fixed::with(1);
    let begun = Arc::clone(&admission.begun);
    let mut translator = admitted(admission);
    let ready_id = ready(&probe(&mut translator, 30, Some(10)));
    assert_eq!(probe(&mut translator, 30, Some(10)), [], "a repeated probe");
    assert_eq!(exec(&mut translator, [9; 16].into()), [], "another ready id");
    let run = exec(&mut translator, ready_id);
    let rid = CorrelationId::from(REQUEST);
    assert_eq!(given(&run), (&*format!("$iothub/methods/POST/m/?$rid={rid}"), "1"));
    assert_eq!(*begun.lock(), [rid.to_string()], "the reserved call is that of the method");
    assert_eq!(exec(&mut translator, ready_id), [], "a repeated exec");
    assert_eq!(probe(&mut translator, 30, Some(10)), [], "a probe that arrives after its exec");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_cannot_be_met_is_rejected_with_the_reason_and_nothing_runs() {
    let rejecting = |reason| Fixed { calls: Err(reason), ..Fixed::with(0) };
    let slow = || Fixed { min_time: 20 * SECOND, ..Fixed::with(1) };
    for (admission, seconds, reason) in [
        (rejecting(Rejection::MethodNotFound), 30, Rejection::MethodNotFound),
        (rejecting(Rejection::DeviceBusy), 30, Rejection::DeviceBusy),
        (Fixed::with(0), 30, Rejection::DeviceBusy),
        // The margin is a tenth of the response timeout, from 1 to 10 seconds.
        (Fixed::with(1), 1, Rejection::InsufficientTime),
        (slow(), 21, Rejection::InsufficientTime),
        (slow(), 22, Rejection::InsufficientTime),
    ] {
        let begun = Arc::clone(&admission.begun);
        let mut translator = admitted(admission);
        let ack = sent::<ProbeAck>(&probe(&mut translator, seconds, Some(10)));
        assert_eq!(ack, ProbeAck::Rejected(reason));
        assert_eq!(exec(&mut translator, [0; 16].into()), []);
        assert!(begun.lock().is_empty());
    }
    for seconds in [23, 300, 0] {
        ready(&probe(&mut admitted(slow()), seconds, Some(10)));
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_probe_is_of_use_as_long_as_the_probe() {
    for (expiry, expected) in
        [(Some(1), Some(1)), (Some(10), Some(10)), (Some(0), None), (None, None)]
    {
        let ack = probe(&mut admitted(Fixed::with(1)), 30, expiry);
        assert_eq!(expiry_of(&ack), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_ready_id_holds_a_call_for_its_time_and_no_longer() {
    // The connect timeout, the response timeout and the margin.
    for (connect, response, seconds) in
        [(Some(10), 30, 10 + 30 + 3), (Some(10), 5, 10 + 5 + 1), (None, 200, 200 + 200 + 10)]
    {
        let mut translator = admitted(Fixed::with(1));
        let ready_id = ready(&probe(&mut translator, response, connect));
        let other = |translator: &mut Translator| {
            sent::<ProbeAck>(&probe_of(translator, [3; 16], 30, Some(10)))
        };
        let begun = Instant::now();
        let expiry = translator.next_expiry().unwrap();
        assert_eq!(expiry - begun, seconds * SECOND);
        tokio::time::advance(seconds * SECOND - Duration::from_millis(1)).await;
        assert_eq!(translator.expired(), []);
        assert_eq!(other(&mut translator), ProbeAck::Rejected(Rejection::DeviceBusy));

        tokio::time::advance(Duration::from_millis(1)).await;
        let expired = translator.expired();
        let abandon = Abandon { ready_id, reason: AbandonReason::ReadyWaitTimeout };
        assert_eq!(sent::<Abandon>(&expired), abandon);
        assert_eq!(expiry_of(&expired), Some(response));
        assert_eq!(translator.next_expiry(), None);
        assert!(matches!(other(&mut translator), ProbeAck::Ready(_)));
        assert_eq!(exec(&mut translator, ready_id), [], "an exec after its time");
    }
}

#[tokio::test(start_paused = true)]
async fn an_exec_that_leaves_too_little_time_is_abandoned() {
    for (expiry, runs) in [(1, false), (23, false), (24, true), (0, true)] {
        let mut translator = admitted(Fixed { min_time: 20 * SECOND, ..Fixed::with(1) });
        let ready_id = ready(&probe(&mut translator, 30, Some(10)));
        let steps = exec_within(&mut translator, ready_id, Some(expiry));
        if runs {
            given(&steps);
            continue;
        }
        let abandon = Abandon { ready_id, reason: AbandonReason::InsufficientTime };
        assert_eq!(sent::<Abandon>(&steps), abandon, "{expiry}");
        assert_eq!(exec(&mut translator, ready_id), [], "a repeated exec");
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_is_sent_while_a_second_of_its_use_is_left() {
    for (waited, left) in [(0, Some(30)), (28, Some(2)), (29, Some(1)), (30, None)] {
        let mut translator = admitted(Fixed::with(1));
        let ready_id = ready(&probe(&mut translator, 30, Some(10)));
        given(&exec(&mut translator, ready_id));
        tokio::time::advance(waited * SECOND).await;
        let answered = answer(&mut translator);
        match left {
            Some(_) => {
                let result = ResultMessage { status: 200, body: b"[1]".to_vec() };
                assert_eq!(sent::<ResultMessage>(&answered), result);
                assert_eq!(expiry_of(&answered), left);
            }
            None => assert_eq!(answered, [Translated::ToSession(Packet::PubAck(PubAck::new(7)))]),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_exec_of_a_kept_session_runs_once_and_one_of_a_lost_session_never() {
    for (session_present, runs) in [(true, true), (false, false)] {
        let methods = methods(Fixed::with(1));
        let mut first = connection(NONCE, false, &methods);
        let ready_id = ready(&probe(&mut first, 30, Some(10)));
        drop(first);
        let mut second = connection([7; 16], session_present, &methods);
        // The call that was reserved on the first connection is free again.
        let other = probe_of(&mut second, [3; 16], 30, Some(10));
        assert!(matches!(sent::<ProbeAck>(&other), ProbeAck::Ready(_)));
        let run = exec(&mut second, ready_id);
        assert_eq!(!run.is_empty(), runs);
        assert_eq!(exec(&mut second, ready_id), []);
        drop(second);
        let mut third = connection([8; 16], true, &methods);
        assert_eq!(exec(&mut third, ready_id), []);
        // The answer is sent on the connection that is open when the method has run.
        assert!(!answer(&mut third).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_on_another_topic_or_at_another_qos_runs_nothing() {
    let mut translator = admitted(Fixed::with(1));
    let probe = Probe { method_name: "m".to_owned(), response_timeout_seconds: 30 };
    let message = || match from_hub(MessageType::Probe, REQUEST, &probe, Some(10)) {
        Packet5::Publish(publish) => publish,
        other => panic!("{other:?}"),
    };
    for topic in [
        "$iothub/methods/POST/m/?$rid=1",
        "devices/d1/messages/devicebound/",
        "ih/d2/dev/methods",
        "ih/d1/srv/methods",
        "ih/d1/dev/twin",
        "ih/d1/dev/#",
        "ih/+/dev/methods",
    ] {
        let publish = Publish5 { topic: topic.into(), ..message() };
        assert_eq!(translator.incoming(Packet5::Publish(publish)).unwrap(), [], "{topic}");
    }
    let retained = Publish5 { retain: true, ..message() };
    assert_eq!(translator.incoming(Packet5::Publish(retained)).unwrap(), []);
    let twice = Publish5 { qos: QoS::ExactlyOnce, pkid: 9, ..message() };
    assert_eq!(translator.incoming(Packet5::Publish(twice)).unwrap(), []);
    ready(&translator.incoming(Packet5::Publish(message())).unwrap());
}
