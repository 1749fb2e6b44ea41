//! The capability `http` through `wasi:http`: allowed hosts, and limits on the number, size and
//! duration of requests.

use crate::rig::{Host, engine_with_budget, load_with};
use behaviour_plugin::{
    Capability, Engine, HttpClient, HttpError, HttpRequest, HttpSettings, Plugin, PluginSettings,
};
use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use http::Response;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Status of the guest for the case `internal-error` of `error-code`.
const INTERNAL_ERROR: u16 = 500 + 38;

fn load(hosts: &[&str], settings: HttpSettings) -> Plugin {
    load_with("fetches.wat", settings_of(hosts, settings)).unwrap()
}

fn load_on(engine: &Engine, hosts: &[&str], settings: HttpSettings) -> Plugin {
    let component = fixtures::guest("fetches.wat");
    engine.load("reboot", &component, settings_of(hosts, settings)).unwrap()
}

pub(crate) fn settings_of(hosts: &[&str], settings: HttpSettings) -> PluginSettings {
    let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
    PluginSettings {
        capabilities: BTreeSet::from([Capability::Http]),
        http: HttpSettings { hosts, ..settings },
        ..PluginSettings::default()
    }
}

async fn send(host: &Host, plugin: &Plugin, method: &str, host_name: &str) -> (u16, String) {
    let answer = host.call(plugin, method, &format!("\"{host_name}\"")).await.unwrap();
    (answer.status, answer.payload.map(|payload| payload.get().to_owned()).unwrap_or_default())
}

#[tokio::test]
async fn requests_to_allowed_hosts_are_sent() {
    let host = Host::default();
    let hosts = ["api.example.com", "*.example.org", "http://localhost:8080"];
    let plugin = load(&hosts, HttpSettings::default());

    let (status, body) = send(&host, &plugin, "ask", "api.example.com").await;
    assert_eq!((status, &*body), (200, "\"api.example.com\""));
    assert_eq!(send(&host, &plugin, "ask", "a.example.org").await.0, 200);
    assert_eq!(send(&host, &plugin, "plain", "localhost:8080").await.0, 200);
    let expected = [
        "https://api.example.com/",
        "https://a.example.org/, not in a private network",
        "http://localhost:8080/",
    ];
    assert_eq!(host.requests(), expected);
}

#[tokio::test]
async fn a_request_to_another_host_is_denied_with_its_name_and_not_sent() {
    let host = Host::default();
    let plugin = load(&["api.example.com"], HttpSettings::default());

    for (method, host_name, name) in [
        ("ask", "evil.org", "`https://evil.org`"),
        ("ask", "api.example.com@evil.org", "`https://api.example.com@evil.org`"),
        ("ask", "127.0.0.1", "`https://127.0.0.1`"),
        ("ask", "api.example.com:8443", "`https://api.example.com:8443`"),
        ("plain", "api.example.com", "`http://api.example.com`"),
    ] {
        let (status, text) = send(&host, &plugin, method, host_name).await;
        let hint = match method {
            "plain" => ", where a host without `http://` means HTTPS only",
            _ => "",
        };
        let expected = format!("{name} is not among the `hosts` under [plugins.reboot.http]{hint}");
        assert_eq!((status, &*text), (INTERNAL_ERROR, &*format!("\"{expected}\"")));
        let line = host.log().pop().unwrap();
        assert!(line.contains(&expected), "{line}");
    }
    assert!(host.requests().is_empty());
}

#[tokio::test]
async fn the_number_of_requests_of_a_call_is_limited() {
    let host = Host::default();
    let settings = HttpSettings { requests: 3, ..HttpSettings::default() };

    let plugin = load(&["api.example.com"], settings);
    let (status, text) = send(&host, &plugin, "often", "api.example.com").await;
    assert_eq!(status, INTERNAL_ERROR);
    assert_eq!(text, "\"`api.example.com`: limit of requests in one call reached\"");
    assert_eq!(host.requests().len(), 3);

    let host = Host::default();
    let plugin = load(&["api.example.com"], HttpSettings::default());
    assert_eq!(send(&host, &plugin, "often", "api.example.com").await.0, INTERNAL_ERROR);
    assert_eq!(host.requests().len(), 20);
}

#[tokio::test]
async fn a_request_with_a_body_above_the_limit_is_not_sent() {
    let host = Host::default();
    let plugin = load(&["api.example.com"], HttpSettings::default());

    let (status, text) = send(&host, &plugin, "large", "api.example.com").await;
    assert_eq!(status, INTERNAL_ERROR);
    assert_eq!(text, "\"`api.example.com`: request body exceeds 262144 bytes\"");
    assert!(host.requests().is_empty());

    let settings = HttpSettings { request_bytes: 512 * 1024, ..HttpSettings::default() };
    let plugin = load(&["api.example.com"], settings);
    assert_eq!(send(&host, &plugin, "large", "api.example.com").await.0, 200);
}

#[tokio::test]
async fn a_request_with_an_unfinished_body_fails_for_that_reason_and_is_not_sent() {
    let host = Host::default();
    let plugin = load(&["api.example.com"], HttpSettings::default());

    let (status, text) = send(&host, &plugin, "unfinished", "api.example.com").await;
    assert_eq!(status, INTERNAL_ERROR);
    assert!(text.starts_with("\"`api.example.com`: request body not complete: "), "{text}");
    assert!(host.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_times_out_before_the_deadline_of_the_call() {
    let host = Host::default();
    let plugin = load(&["silent.example.com"], HttpSettings::default());

    let (status, text) = send(&host, &plugin, "ask", "silent.example.com").await;
    assert_eq!(status, INTERNAL_ERROR);
    assert_eq!(text, "\"`silent.example.com` has not answered within 10s\"");

    let settings = HttpSettings { timeout: Duration::from_secs(3), ..HttpSettings::default() };
    let plugin = load(&["silent.example.com"], settings);
    let (_, text) = send(&host, &plugin, "ask", "silent.example.com").await;
    assert_eq!(text, "\"`silent.example.com` has not answered within 3s\"");
}

/// Client that records the used budget during a request.
struct MeasuringClient {
    engine: Engine,
    used: AtomicUsize,
}

impl HttpClient for MeasuringClient {
    fn send<'a>(
        &'a self,
        _request: HttpRequest<'a>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        self.used.store(self.engine.memory_in_use(), Ordering::SeqCst);
        Box::pin(async { Ok(Response::new(Bytes::from_static(b"1"))) })
    }
}

#[tokio::test]
async fn the_bodies_of_a_request_count_against_the_budget_until_the_call_ends() {
    const BODY: usize = 4 * 1024 * 1024;
    let engine = engine_with_budget(10, 8 * BODY);
    let host = Host::default();
    let used = async |request_bytes, response_bytes| {
        let http = HttpSettings { request_bytes, response_bytes, ..HttpSettings::default() };
        let plugin = load_on(&engine, &["api.example.com"], http);
        let client =
            Arc::new(MeasuringClient { engine: engine.clone(), used: AtomicUsize::new(0) });
        let mut call = host.a_call("ask", "\"api.example.com\"");
        Arc::get_mut(&mut call.lent).unwrap().http = Arc::clone(&client) as _;
        let answer = plugin.invoke(call).await.unwrap();
        assert_eq!(engine.memory_in_use(), 0);
        (answer.status, client.used.load(Ordering::SeqCst))
    };
    let (status, without) = used(0, 0).await;
    assert_eq!(status, 200);
    assert_eq!(used(BODY, 0).await, (200, without + BODY));
    assert_eq!(used(BODY, BODY).await, (200, without + 2 * BODY));
    // A request above the budget is refused, and not sent.
    assert_eq!(used(BODY, 8 * BODY).await, (INTERNAL_ERROR, 0));
}

/// Client that counts concurrent requests.
#[derive(Default)]
struct CountingClient {
    current: AtomicUsize,
    peak: AtomicUsize,
    all: AtomicUsize,
}

impl HttpClient for CountingClient {
    fn send<'a>(
        &'a self,
        _request: HttpRequest<'a>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        Box::pin(async {
            self.all.fetch_add(1, Ordering::SeqCst);
            let now = self.current.fetch_add(1, Ordering::SeqCst) + 1;
            self.peak.fetch_max(now, Ordering::SeqCst);
            // Lets all other calls run.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            self.current.fetch_sub(1, Ordering::SeqCst);
            Ok(Response::new(Bytes::new()))
        })
    }
}

#[tokio::test]
async fn a_plugin_has_at_most_32_concurrent_requests() {
    let host = Host::default();
    let plugin = load(&["api.example.com"], HttpSettings::default());
    let client = Arc::new(CountingClient::default());
    let calls = (0..100).map(|_| {
        let mut call = host.a_call("ask", "\"api.example.com\"");
        Arc::get_mut(&mut call.lent).unwrap().http = Arc::clone(&client) as _;
        plugin.invoke(call)
    });
    let answers = join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|it| it.status == 200)));
    assert_eq!(client.peak.load(Ordering::SeqCst), 32);
}

#[tokio::test]
async fn a_call_has_at_most_4_concurrent_requests() {
    let host = Host::default();
    let plugin = load(&["api.example.com"], HttpSettings::default());
    let client = Arc::new(CountingClient::default());
    let mut call = host.a_call("many", "\"api.example.com\"");
    Arc::get_mut(&mut call.lent).unwrap().http = Arc::clone(&client) as _;

    assert_eq!(plugin.invoke(call).await.unwrap().status, 200);
    let (all, peak) = (&client.all, &client.peak);
    assert_eq!((all.load(Ordering::SeqCst), peak.load(Ordering::SeqCst)), (12, 4));
}
