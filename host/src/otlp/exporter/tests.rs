//! Requests to receivers on this machine, and the lines of the log about them.

use std::sync::Arc;

use parking_lot::Mutex;
use program::EventFields;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::super::messages::Resource;
use super::super::settings::Headers;
use super::*;
use crate::config::OtlpEndpoint;

/// Layer that keeps the lines of the log.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Kept {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let EventFields { message, fields } = EventFields::of(event);
        let counts = fields
            .iter()
            .filter(|(name, _)| ["failed", "lost", "entries", "rejected"].contains(name));
        let counts: String = counts.map(|(name, count)| format!(" {name}={count}")).collect();
        self.0.lock().push(message + &counts);
    }
}

fn exporter(port: u16, lost: &Arc<LostEntries>) -> Exporter {
    let settings = ExporterSettings {
        endpoint: OtlpEndpoint::parse(&format!("http://127.0.0.1:{port}/v1/logs")).unwrap(),
        headers: Headers::default(),
        ca_file: None,
        timeout: Duration::from_secs(10),
        compression: Compression::None,
    };
    Exporter::new(settings, OtlpSignal::Logs, Arc::clone(lost))
}

/// Sends a request with three entries for each response. Returns the lines of the log, and fails if
/// a receiver gets another number of requests.
async fn lines_after(responses: Vec<Vec<u8>>) -> Vec<String> {
    after(responses).await.0
}

/// Does the same, and also returns the number of lost entries.
async fn after(responses: Vec<Vec<u8>>) -> (Vec<String>, u64) {
    let lost = Arc::default();
    let kept = Kept::default();
    let subscriber = tracing_subscriber::registry().with(kept.clone());
    let _default = tracing::subscriber::set_default(subscriber);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut exporter = exporter(listener.local_addr().unwrap().port(), &lost);
    for response in responses {
        let serving = async {
            let (mut client, _) = listener.accept().await.unwrap();
            assert!(client.read(&mut [0; 1024]).await.unwrap() > 0);
            // The exporter closes the connection before the end of a long response.
            client.write_all(&response).await.ok();
        };
        let message = Resource::default();
        tokio::join!(exporter.send(&message, 3), serving);
    }
    (kept.0.lock().clone(), lost.counts()[&OtlpSignal::Logs])
}

fn response(head: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn a_receiver_that_refuses_connections_is_reported_once_and_its_recovery_once() {
    let kept = Kept::default();
    let subscriber = tracing_subscriber::registry().with(kept.clone());
    let _default = tracing::subscriber::set_default(subscriber);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let lost = Arc::default();
    let mut exporter = exporter(address.port(), &lost);
    // Time passes only while the exporter waits for a further attempt.
    tokio::time::pause();
    for _ in 0..3 {
        exporter.send(&Resource::default(), 5).await;
    }
    tokio::time::resume();
    let listener = TcpListener::bind(address).await.unwrap();
    let serving = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        assert!(client.read(&mut [0; 1024]).await.unwrap() > 0);
        client.write_all(&response("200 OK", b"")).await.unwrap();
    });
    exporter.send(&Resource::default(), 5).await;
    serving.await.unwrap();
    let lines = kept.0.lock().clone();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("OTLP push failed, tried again: "), "{lines:?}");
    assert_eq!(lines[1], "OTLP push works again failed=3 lost=15");
    assert_eq!(lost.counts(), [(OtlpSignal::Logs, 15)].into());
}

#[tokio::test]
async fn entries_that_a_receiver_refuses_are_counted_as_lost() {
    assert_eq!(after(vec![response("200 OK", b"")]).await.1, 0);
    let partial = |rejected| {
        let partial_success = Some(PartialSuccess { rejected, error_message: String::new() });
        let body = ExportResponse { partial_success }.encode_to_vec();
        response("200 OK\r\ncontent-type: application/x-protobuf", &body)
    };
    let refused = response("401 Unauthorized", b"");
    assert_eq!(after(vec![partial(2), refused, partial(-1), partial(1)]).await.1, 2 + 3 + 1);
}

/// A receiver that gets a second request for one of these fails the test: nobody accepts it, so
/// that `send` would not end.
#[tokio::test]
async fn the_status_decides_whatever_the_size_of_the_body() {
    let accepted = response("200 OK\r\ncontent-type: application/x-protobuf", &[0; 200_000]);
    let refused = response("400 Bad Request\r\ncontent-type: text/html", &[b'x'; 200_000]);
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n".to_vec();
    let lines = lines_after(vec![accepted.clone(), refused, cut]).await;
    let expected = [
        "OTLP data lost, not tried again: the receiver answered 400 Bad Request entries=3",
        "OTLP push works again failed=1 lost=3",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_page_that_is_no_response_of_otlp_is_a_failure_that_is_not_tried_again() {
    let page = response("200 OK\r\ncontent-type: text/html; charset=utf-8", b"<p>Sign in</p>");
    let lines = lines_after(vec![page.clone(), page, response("200 OK", b"")]).await;
    let expected = [
        "OTLP data lost, not tried again: the receiver answered 200 OK with `text/html`, which is \
         no response of OTLP entries=3",
        "OTLP push works again failed=2 lost=6",
    ];
    assert_eq!(lines, expected);
    let lines = lines_after(vec![response("200 OK", b"<p>Sign in</p>")]).await;
    assert!(lines[0].contains("with another body, which is no response of OTLP"), "{lines:?}");
}

#[tokio::test]
async fn a_message_of_a_receiver_that_accepts_everything_is_reported_once() {
    let error_message = "use fewer labels".to_owned();
    let partial_success = Some(PartialSuccess { rejected: 0, error_message });
    let body = ExportResponse { partial_success }.encode_to_vec();
    let warned = response("200 OK\r\ncontent-type: application/x-protobuf", &body);
    let lines = lines_after(vec![warned.clone(), warned]).await;
    assert_eq!(lines, ["OTLP receiver accepted the data: use fewer labels"]);
}

#[test]
fn each_new_reason_of_an_outage_is_reported_within_a_bound() {
    let (mut outage, start) = (Outage::default(), Instant::now());
    let mut is_new =
        |reason: &str, minutes| outage.is_new(reason, start + minutes * REASON_INTERVAL);
    assert!(is_new("refused", 0));
    assert!(!is_new("refused", 5));
    assert!(is_new("401", 5));
    assert!(!is_new("403", 5), "too early");
    assert!(is_new("403", 6));
    let further = (7..100).filter(|it| is_new(&it.to_string(), *it)).count();
    assert_eq!(further, MAX_REASONS - 3);
}

#[test]
fn only_failures_that_may_pass_are_tried_again() {
    let judged = |status: u16, retry_after: Option<&str>| {
        let mut response = Response::builder().status(status);
        if let Some(text) = retry_after {
            response = response.header(RETRY_AFTER, text);
        }
        match judge(&response.body(Bytes::new()).unwrap(), true) {
            SendOutcome::Accepted(_) => ("accepted", None),
            SendOutcome::Retry(_, wait) => ("retry", wait),
            SendOutcome::Refused(_) => ("refused", None),
        }
    };
    assert_eq!(judged(200, None), ("accepted", None));
    assert_eq!(judged(429, Some("7")), ("retry", Some(Duration::from_secs(7))));
    assert_eq!(judged(503, Some("soon")), ("retry", None));
    for status in [302, 400, 401, 404, 413, 500] {
        assert_eq!(judged(status, Some("7")), ("refused", None), "{status}");
    }
}

#[test]
fn the_wait_for_a_receiver_is_in_seconds_or_until_a_date() {
    let now: Timestamp = "2026-11-30T19:00:00Z".parse().unwrap();
    let waits = |text: &'static str| {
        let headers = [(RETRY_AFTER, HeaderValue::from_static(text))];
        wait(&headers.into_iter().collect(), now)
    };
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(waits(" 7"), seconds(7));
    assert_eq!(waits("Mon, 30 Nov 2026 19:00:25 GMT"), seconds(25));
    assert_eq!(waits("Mon, 30 Nov 2026 18:59:59 GMT"), seconds(0), "in the past");
    for text in ["", "soon", "-1", "2026-11-30T19:00:25Z"] {
        assert_eq!(waits(text), None, "{text}");
    }
}
