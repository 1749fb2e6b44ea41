//! The capability `http` through `device:behaviour/http`: requests, responses, and the causes of
//! errors.

use crate::http::settings_of;
use crate::rig::{Host, engine, engine_with_budget, load_with};
use behaviour_plugin::{
    Capability, Engine, HttpClient, HttpError, HttpRequest, HttpSettings, Limits, Plugin,
    PluginSettings,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Response};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Statuses of the guest for the cases of `request-error`.
const NOT_ALLOWED: u16 = 500;
const INVALID_REQUEST: u16 = 501;
const QUOTA_EXCEEDED: u16 = 502;
const TOO_LARGE: u16 = 503;
const TIMED_OUT: u16 = 506;
const OTHER: u16 = 507;

fn load(hosts: &[&str], settings: HttpSettings) -> Plugin {
    load_with("requests.wat", settings_of(hosts, settings)).unwrap()
}

fn load_default() -> Plugin {
    load(&["api.example.com", "silent.example.com"], HttpSettings::default())
}

async fn send(host: &Host, plugin: &Plugin, method: &str, url: &str) -> (u16, String) {
    let answer = host.call(plugin, method, &format!("\"{url}\"")).await.unwrap();
    (answer.status, answer.payload.map(|payload| payload.get().to_owned()).unwrap_or_default())
}

async fn send_with(
    plugin: &Plugin,
    client: Arc<dyn HttpClient>,
    method: &str,
) -> (u16, Option<String>) {
    let mut call = Host::default().a_call(method, "\"https://api.example.com/a?b=c\"");
    Arc::get_mut(&mut call.lent).unwrap().http = client;
    let answer = plugin.invoke(call).await.unwrap();
    (answer.status, answer.payload.map(|payload| payload.get().to_owned()))
}

#[tokio::test]
async fn a_request_to_an_allowed_host_is_sent_and_answered() {
    let host = Host::default();
    let hosts = ["api.example.com", "*.example.org", "http://localhost:8080"];
    let plugin = load(&hosts, HttpSettings::default());

    let sent = send(&host, &plugin, "ask", "https://api.example.com/a?b=c").await;
    assert_eq!(sent, (200, "\"api.example.com\"".to_owned()));
    assert_eq!(send(&host, &plugin, "ask", "https://a.example.org").await.0, 200);
    assert_eq!(send(&host, &plugin, "ask", "http://localhost:8080/").await.0, 200);
    let expected = [
        "https://api.example.com/a?b=c",
        "https://a.example.org/, not in a private network",
        "http://localhost:8080/",
    ];
    assert_eq!(host.requests(), expected);
}

#[tokio::test]
async fn a_request_to_another_host_is_not_allowed_and_not_sent() {
    let host = Host::default();
    let plugin = load_default();
    for url in ["https://evil.org/", "https://api.example.com@evil.org/", "http://api.example.com"]
    {
        let (status, text) = send(&host, &plugin, "ask", url).await;
        assert_eq!(status, NOT_ALLOWED, "{url}");
        assert!(text.contains("is not among the `hosts` under [plugins.reboot.http]"), "{text}");
        let line = host.log().pop().unwrap();
        assert!(line.contains("Warn: http: `"), "{line}");
    }
    assert!(host.requests().is_empty());
}

#[tokio::test]
async fn an_invalid_request_is_refused_with_the_invalid_part_and_not_sent() {
    let host = Host::default();
    let plugin = load_default();
    let url = "https://api.example.com/";
    for (method, url, expected) in [
        ("ask", "a b", "URL `a b` is not a URL"),
        (
            "ask",
            "/weather",
            "URL `/weather` does not begin with `https://` or `http://` and a host",
        ),
        (
            "ask",
            "ftp://a.org/",
            "URL `ftp://a.org/` does not begin with `https://` or `http://` and a host",
        ),
        ("wrong", url, "method `G T` is not a method of HTTP"),
        ("reserved", url, "header field `Content-Length` is set by the host"),
        ("newline", url, "header field `x-name` has a value with control characters"),
    ] {
        let sent = send(&host, &plugin, method, url).await;
        assert_eq!(sent, (INVALID_REQUEST, format!("\"{expected}\"")));
        let line = host.log().pop().unwrap();
        assert!(line.contains(&format!("Warn: http: {expected}")), "{line}");
    }
    assert!(host.requests().is_empty());
}

#[tokio::test]
async fn the_number_of_requests_of_a_call_has_a_quota() {
    let host = Host::default();
    let plugin = load_default();

    let sent = send(&host, &plugin, "often", "https://api.example.com/").await;
    let expected = "\"`api.example.com`: limit of requests in one call reached\"";
    assert_eq!(sent, (QUOTA_EXCEEDED, expected.to_owned()));
    assert_eq!(host.requests().len(), 20);
}

#[tokio::test]
async fn a_request_above_a_limit_is_too_large_and_not_sent() {
    let host = Host::default();
    let plugin = load_default();
    let url = "https://api.example.com/";

    for method in ["large", "vast"] {
        let sent = send(&host, &plugin, method, url).await;
        let expected = "\"`api.example.com`: request body exceeds 262144 bytes\"";
        assert_eq!(sent, (TOO_LARGE, expected.to_owned()));
    }
    let sent = send(&host, &plugin, "many", url).await;
    let expected = "\"`api.example.com`: the header fields of the request exceed 16384 bytes\"";
    assert_eq!(sent, (TOO_LARGE, expected.to_owned()));
    assert!(host.requests().is_empty());

    let settings = HttpSettings { request_bytes: 16 * 1024 * 1024, ..HttpSettings::default() };
    let plugin = load(&["api.example.com"], settings);
    assert_eq!(send(&host, &plugin, "vast", url).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_times_out_after_the_shorter_of_the_plugins_and_the_operators_timeout() {
    let host = Host::default();
    let url = "https://silent.example.com/";

    let sent = send(&host, &load_default(), "ask", url).await;
    let expected = "\"`silent.example.com` has not answered within 10s\"";
    assert_eq!(sent, (TIMED_OUT, expected.to_owned()));
    let sent = send(&host, &load_default(), "brief", url).await;
    let expected = "\"`silent.example.com` has not answered within 3s\"";
    assert_eq!(sent, (TIMED_OUT, expected.to_owned()));

    let settings = HttpSettings { timeout: Duration::from_secs(1), ..HttpSettings::default() };
    let plugin = load(&["silent.example.com"], settings);
    let (_, text) = send(&host, &plugin, "brief", url).await;
    assert_eq!(text, "\"`silent.example.com` has not answered within 1s\"");
}

/// Client that keeps the header fields of the last request, and returns a prepared response.
struct PreparedClient {
    fields: Mutex<HeaderMap>,
    response: Result<Response<Bytes>, HttpError>,
}

impl PreparedClient {
    fn new(response: Result<Response<Bytes>, HttpError>) -> Arc<PreparedClient> {
        Arc::new(PreparedClient { fields: Mutex::default(), response })
    }
}

impl HttpClient for PreparedClient {
    fn send<'a>(
        &'a self,
        request: HttpRequest<'a>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        *self.fields.lock().unwrap() = request.request.headers().clone();
        Box::pin(async { self.response.clone() })
    }
}

#[tokio::test]
async fn header_fields_are_sent_and_received() {
    let response = Response::builder().status(404).header("X-Late", "1").header("X-Last", "2");
    let client = PreparedClient::new(Ok(response.body(Bytes::from_static(b"1")).unwrap()));

    let kept = send_with(&load_default(), client.clone(), "keeps").await;
    assert_eq!(kept, (404, Some("2".to_owned())));
    assert_eq!(client.fields.lock().unwrap()["host"], "api.example.com");
    send_with(&load_default(), client.clone(), "field").await;
    assert_eq!(client.fields.lock().unwrap()["x-name"], "of guest");
}

#[tokio::test]
async fn a_response_with_too_many_header_fields_is_too_large() {
    let response = Response::builder().header("x-long", "a".repeat(20_000)).body(Bytes::new());
    let client = PreparedClient::new(Ok(response.unwrap()));
    let expected = "\"`api.example.com`: the header fields of the response exceed 16384 bytes\"";
    let kept = send_with(&load_default(), client, "ask").await;
    assert_eq!(kept, (TOO_LARGE, Some(expected.to_owned())));
}

#[tokio::test]
async fn each_cause_of_an_error_reaches_the_plugin_as_its_case() {
    const CAUSES: [&str; 8] = [
        "not-allowed",
        "invalid-request",
        "quota-exceeded",
        "too-large",
        "unreachable",
        "not-trusted",
        "timed-out",
        "other",
    ];
    let plugin = load_default();
    for (cause, status) in CAUSES.into_iter().zip(500..) {
        let error = HttpError::of_cause(cause, "why".to_owned()).unwrap();
        assert_eq!(error.cause(), cause);
        let answered = send_with(&plugin, PreparedClient::new(Err(error)), "ask").await;
        assert_eq!(answered, (status, Some("\"why\"".to_owned())));
    }
    assert_eq!(HttpError::of_cause("bored", String::new()), None);
}

#[tokio::test]
async fn a_request_above_the_memory_budget_is_not_sent() {
    let engine = engine_with_budget(10, 32 * 1024 * 1024);
    let settings = HttpSettings { response_bytes: 32 * 1024 * 1024, ..HttpSettings::default() };
    let plugin = load_on(&engine, settings);
    let host = Host::default();

    let (status, text) = send(&host, &plugin, "ask", "https://api.example.com/").await;
    assert_eq!(status, OTHER);
    assert!(text.ends_with("bytes of memory for all calls are in use\""), "{text}");
    assert!(host.requests().is_empty());
    assert_eq!(engine.memory_in_use(), 0);
}

fn load_on(engine: &Engine, settings: HttpSettings) -> Plugin {
    let settings = settings_of(&["api.example.com"], settings);
    engine.load("reboot", &fixtures::guest("requests.wat"), settings).unwrap()
}

#[test]
fn the_import_needs_the_capability_and_no_wasi() {
    let component = fixtures::guest("requests.wat");
    let error = load_with("requests.wat", PluginSettings::default()).err().unwrap().to_string();
    assert_eq!(error, "imports `device:behaviour/http@0.1.2`, which is not granted");

    let compiled = engine().compile(&component, &Limits::default()).unwrap();
    let found = engine().inspect(&component, &compiled).unwrap();
    assert_eq!(found.capabilities(), BTreeSet::from([Capability::Http]));
    assert!(!found.wasi());
}
