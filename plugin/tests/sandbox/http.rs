//! The capability `http`: who may be asked, how often, how much, how long.

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

/// The case of `error-code` that has a text.
const INTERNAL_ERROR: u16 = 500 + 38;

fn load(hosts: &[&str], settings: HttpSettings) -> Plugin {
    load_with("fetches.wat", settings_of(hosts, settings)).unwrap()
}

fn load_on(engine: &Engine, hosts: &[&str], settings: HttpSettings) -> Plugin {
    let component = fixtures::guest("fetches.wat");
    engine.load("reboot", &component, settings_of(hosts, settings)).unwrap()
}

fn settings_of(hosts: &[&str], settings: HttpSettings) -> PluginSettings {
    let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
    PluginSettings {
        capabilities: BTreeSet::from([Capability::Http]),
        http: HttpSettings { hosts, ..settings },
        ..PluginSettings::default()
    }
}

async fn ask(host: &Host, plugin: &Plugin, method: &str, whom: &str) -> (u16, String) {
    let answer = host.call(plugin, method, &format!("\"{whom}\"")).await.unwrap();
    (answer.status, answer.payload.map(|payload| payload.get().to_owned()).unwrap_or_default())
}

#[tokio::test]
async fn a_host_that_was_granted_is_asked_and_answers() {
    let host = Host::default();
    let hosts = ["api.example.com", "*.example.org", "http://localhost:8080"];
    let plugin = load(&hosts, HttpSettings::default());

    let (status, body) = ask(&host, &plugin, "ask", "api.example.com").await;
    assert_eq!((status, &*body), (200, "\"api.example.com\""));
    assert_eq!(ask(&host, &plugin, "ask", "a.example.org").await.0, 200);
    assert_eq!(ask(&host, &plugin, "plain", "localhost:8080").await.0, 200);
    let expected = [
        "https://api.example.com/",
        "https://a.example.org/, not in a private network",
        "http://localhost:8080/",
    ];
    assert_eq!(host.requests(), expected);
}

#[tokio::test]
async fn whoever_was_not_granted_is_named_to_the_guest_and_in_the_log_and_never_asked() {
    let host = Host::default();
    let plugin = load(&["api.example.com"], HttpSettings::default());

    for (method, whom, name) in [
        ("ask", "evil.org", "`https://evil.org`"),
        ("ask", "api.example.com@evil.org", "`https://api.example.com@evil.org`"),
        ("ask", "127.0.0.1", "`https://127.0.0.1`"),
        ("ask", "api.example.com:8443", "`https://api.example.com:8443`"),
        ("plain", "api.example.com", "`http://api.example.com`"),
    ] {
        let (status, text) = ask(&host, &plugin, method, whom).await;
        let expected = format!("{name} is not among the `hosts` under [plugins.reboot.http]");
        assert_eq!((status, &*text), (INTERNAL_ERROR, &*format!("\"{expected}\"")));
        let line = host.log().pop().unwrap();
        assert!(line.contains(&expected), "{line}");
    }
    assert!(host.requests().is_empty());
}

#[tokio::test]
async fn a_call_may_send_so_many_requests() {
    let host = Host::default();
    let settings = HttpSettings { requests: 3, ..HttpSettings::default() };

    let plugin = load(&["api.example.com"], settings);
    let (status, text) = ask(&host, &plugin, "often", "api.example.com").await;
    assert_eq!(status, INTERNAL_ERROR);
    assert_eq!(text, "\"`api.example.com`: no more requests in this call\"");
    assert_eq!(host.requests().len(), 3);

    let host = Host::default();
    let plugin = load(&["api.example.com"], HttpSettings::default());
    assert_eq!(ask(&host, &plugin, "often", "api.example.com").await.0, INTERNAL_ERROR);
    assert_eq!(host.requests().len(), 20);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_never_sent() {
    let host = Host::default();
    let plugin = load(&["api.example.com"], HttpSettings::default());

    let (status, text) = ask(&host, &plugin, "large", "api.example.com").await;
    assert_eq!(status, INTERNAL_ERROR);
    assert!(text.starts_with("\"`api.example.com`: request body exceeds 262144 bytes"), "{text}");
    assert!(host.requests().is_empty());

    let settings = HttpSettings { request_bytes: 512 * 1024, ..HttpSettings::default() };
    let plugin = load(&["api.example.com"], settings);
    assert_eq!(ask(&host, &plugin, "large", "api.example.com").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_answer_is_given_up_on_while_the_guest_can_still_say_so() {
    let host = Host::default();
    let plugin = load(&["silent.example.com"], HttpSettings::default());

    let (status, text) = ask(&host, &plugin, "ask", "silent.example.com").await;
    assert_eq!(status, INTERNAL_ERROR);
    assert_eq!(text, "\"`silent.example.com` has not answered within 10s\"");

    let settings = HttpSettings { timeout: Duration::from_secs(3), ..HttpSettings::default() };
    let plugin = load(&["silent.example.com"], settings);
    let (_, text) = ask(&host, &plugin, "ask", "silent.example.com").await;
    assert_eq!(text, "\"`silent.example.com` has not answered within 3s\"");
}

/// A client that notes the memory in use while it is asked, and answers at once.
struct Weighing {
    engine: Engine,
    used: AtomicUsize,
}

impl HttpClient for Weighing {
    fn send<'a>(
        &'a self,
        _request: HttpRequest<'a>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        self.used.store(self.engine.memory_in_use(), Ordering::SeqCst);
        Box::pin(async { Ok(Response::new(Bytes::from_static(b"1"))) })
    }
}

#[tokio::test]
async fn the_bodies_of_a_request_count_as_memory_of_the_host_until_the_call_ends() {
    const BODY: usize = 4 * 1024 * 1024;
    let engine = engine_with_budget(10, 8 * BODY);
    let host = Host::default();
    let used = async |request_bytes, response_bytes| {
        let http = HttpSettings { request_bytes, response_bytes, ..HttpSettings::default() };
        let plugin = load_on(&engine, &["api.example.com"], http);
        let client = Arc::new(Weighing { engine: engine.clone(), used: AtomicUsize::new(0) });
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
    // More than all calls may have: the guest is told so, and the client is not asked.
    assert_eq!(used(BODY, 8 * BODY).await, (INTERNAL_ERROR, 0));
}

/// A client that counts the requests at once.
#[derive(Default)]
struct Counting {
    now: AtomicUsize,
    most: AtomicUsize,
    all: AtomicUsize,
}

impl HttpClient for Counting {
    fn send<'a>(
        &'a self,
        _request: HttpRequest<'a>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        Box::pin(async {
            self.all.fetch_add(1, Ordering::SeqCst);
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            // Every other call has its turn meanwhile.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            self.now.fetch_sub(1, Ordering::SeqCst);
            Ok(Response::new(Bytes::new()))
        })
    }
}

#[tokio::test]
async fn a_plugin_has_32_requests_at_once_and_the_others_wait() {
    let host = Host::default();
    let plugin = load(&["api.example.com"], HttpSettings::default());
    let client = Arc::new(Counting::default());
    let calls = (0..100).map(|_| {
        let mut call = host.a_call("ask", "\"api.example.com\"");
        Arc::get_mut(&mut call.lent).unwrap().http = Arc::clone(&client) as _;
        plugin.invoke(call)
    });
    let answers = join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|it| it.status == 200)));
    assert_eq!(client.most.load(Ordering::SeqCst), 32);
}

#[tokio::test]
async fn a_call_has_4_requests_at_once_and_its_others_wait() {
    let host = Host::default();
    let plugin = load(&["api.example.com"], HttpSettings::default());
    let client = Arc::new(Counting::default());
    let mut call = host.a_call("many", "\"api.example.com\"");
    Arc::get_mut(&mut call.lent).unwrap().http = Arc::clone(&client) as _;

    assert_eq!(plugin.invoke(call).await.unwrap().status, 200);
    let (all, most) = (&client.all, &client.most);
    assert_eq!((all.load(Ordering::SeqCst), most.load(Ordering::SeqCst)), (12, 4));
}
