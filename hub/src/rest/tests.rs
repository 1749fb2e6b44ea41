//! The REST API, request by request, without a socket.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use protocol::error::{ErrorCode, HubError};
use protocol::sas::sign;
use serde_json::{Value, json};

use super::*;
use crate::policy::GRANTS;
use crate::state::State;

/// The router over a state in memory, with nobody connected.
struct Rig {
    state: Arc<State>,
    router: Router,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
    text: String,
}

impl Rig {
    fn new() -> Rig {
        Rig::over(State::open(None, vec!["localhost".into()]).unwrap())
    }

    fn over(state: Arc<State>) -> Rig {
        Rig { router: router(Arc::clone(&state), Sessions::new()), state }
    }

    fn token(&self, policy: &str, resource: &str, expiry: u64) -> String {
        let key = self.state.policy_key(policy).unwrap();
        sign(resource, Some(policy), key, expiry).to_string()
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let service = TowerToHyperService::new(self.router.clone());
        let response = service.call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Reply { status: parts.status, headers: parts.headers, body, text }
    }

    async fn ask_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl ToString,
    ) -> Reply {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{path}?api-version=2021-04-12"))
            .header(AUTHORIZATION, self.token("iothubowner", "localhost", u64::MAX));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    async fn ask(&self, method: Method, path: &str, body: impl ToString) -> Reply {
        self.ask_with(method, path, &[], body).await
    }

    async fn query(&self, text: &str, headers: &[(&str, &str)]) -> Reply {
        let body = json!({"query": text});
        self.ask_with(Method::POST, "/devices/query", headers, body).await
    }

    fn with_devices(self, ids: &[&str]) -> Rig {
        for id in ids {
            self.state.create_device(&id.parse().unwrap()).unwrap();
        }
        self
    }
}

impl Reply {
    /// The error of this answer, if its parts agree with each other.
    fn error(&self) -> HubError {
        assert_eq!(self.headers[CONTENT_TYPE], "application/json; charset=utf-8", "{}", self.text);
        let error = HubError::parse(self.status.as_u16(), None, &self.text);
        assert_eq!(self.headers["iothub-errorcode"], error.code.name(), "{}", self.text);
        error
    }
}

#[tokio::test]
async fn nobody_is_answered_without_a_token_that_grants_what_is_asked() {
    let rig = Rig::new().with_devices(&["d1"]);
    let far = u64::MAX;
    for (policy, resource, expiry, method, path, status) in [
        ("service", "localhost", far, Method::GET, "/twins/d1", 200),
        ("service", "localhost:18443", far, Method::GET, "/twins/d1", 200),
        ("service", "localhost/twins/d1", far, Method::GET, "/twins/d1", 200),
        ("service", "localhost/twins/d2", far, Method::GET, "/twins/d1", 401),
        ("service", "elsewhere", far, Method::GET, "/twins/d1", 401),
        ("service", "localhost", 1, Method::GET, "/twins/d1", 401),
        ("service", "localhost", far, Method::GET, "/devices/d1", 401),
        ("registryRead", "localhost", far, Method::GET, "/devices/d1", 200),
        ("registryRead", "localhost", far, Method::GET, "/statistics/devices", 200),
        ("registryRead", "localhost", far, Method::GET, "/twins/d1", 401),
        ("registryRead", "localhost", far, Method::DELETE, "/devices/d1", 401),
        ("registryRead", "localhost", far, Method::POST, "/devices/query", 401),
        ("device", "localhost", far, Method::GET, "/twins/d1", 401),
        ("registryReadWrite", "localhost", far, Method::DELETE, "/devices/d1", 204),
        ("device", "localhost", far, Method::GET, "/no/such/path", 401),
    ] {
        let request = Request::builder()
            .method(&method)
            .uri(path)
            .header(AUTHORIZATION, rig.token(policy, resource, expiry));
        let reply = rig.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status.as_u16(), status, "{policy} {resource} {method} {path}");
    }

    let wrong_key =
        rig.token("service", "localhost", far).replace("skn=service", "skn=iothubowner");
    for header in [None, Some("Bearer x"), Some(wrong_key.as_str())] {
        let mut request = Request::builder().uri("/twins/d1");
        if let Some(header) = header {
            request = request.header(AUTHORIZATION, header);
        }
        let reply = rig.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
        assert_eq!(reply.body["Message"], "ErrorCode:IotHubUnauthorizedAccess;Unauthorized");
        assert_eq!(reply.error().code, ErrorCode::IotHubUnauthorizedAccess);
    }
}

#[tokio::test]
async fn faults_are_the_owners_alone_to_set_see_and_clear() {
    let rig = Rig::new();
    let fault = json!({"step": "method", "effect": "lose", "device": "d1"});
    let set = rig.ask(Method::POST, "/$faults", &fault).await;
    assert_eq!(set.status, StatusCode::NO_CONTENT, "{}", set.text);
    let before = rig.ask(Method::GET, "/$faults", "").await.body;
    assert_eq!(before["waiting"].as_array().map(Vec::len), Some(1));

    let others = GRANTS.iter().map(|(policy, _)| *policy).filter(|name| *name != "iothubowner");
    for policy in others {
        for method in [Method::POST, Method::GET, Method::DELETE] {
            let request = Request::builder()
                .method(&method)
                .uri("/$faults?api-version=2021-04-12")
                .header(AUTHORIZATION, rig.token(policy, "localhost", u64::MAX));
            let reply = rig.send(request.body(Body::from(fault.to_string())).unwrap()).await;
            assert_eq!(
                reply.error().code,
                ErrorCode::IotHubUnauthorizedAccess,
                "{policy} {method}"
            );
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{policy} {method}");
        }
    }
    assert_eq!(rig.ask(Method::GET, "/$faults", "").await.body, before);
}

#[tokio::test]
async fn a_device_lives_from_put_to_delete() {
    let rig = Rig::new();
    let body = json!({"deviceId": "nd", "authentication": {"type": "sas",
        "symmetricKey": {"primaryKey": "", "secondaryKey": ""}}});

    let made = rig.ask(Method::PUT, "/devices/nd", &body).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    assert_eq!(
        made.body["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap().len(),
        44
    );
    let etag = made.headers[ETAG].to_str().unwrap().to_owned();
    assert_eq!(etag, format!("\"{}\"", made.body["etag"].as_str().unwrap()));

    let again = rig.ask(Method::PUT, "/devices/nd", &body).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    let message = "ErrorCode:DeviceAlreadyExists;A device with ID 'nd' is already registered.";
    assert_eq!(again.body["Message"], message);

    let stale = rig.ask_with(Method::PUT, "/devices/nd", &[("If-Match", "\"old\"")], &body).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(stale.body["Message"], "ErrorCode:PreconditionFailed;PreconditionFailed");

    let off = json!({"deviceId": "nd", "status": "disabled", "statusReason": "lost"});
    let changed = rig.ask_with(Method::PUT, "/devices/nd", &[("If-Match", &etag)], off).await;
    assert_eq!(changed.body["status"], "disabled");
    assert_eq!(changed.body["statusReason"], "lost");
    assert_eq!(changed.body["authentication"], made.body["authentication"]);
    let read = rig.ask(Method::GET, "/devices/nd", "").await;
    assert_eq!(read.body, changed.body);
    assert_ne!(read.headers[ETAG].to_str().unwrap(), etag);

    let gone = rig.ask_with(Method::DELETE, "/devices/nd", &[("If-Match", "\"*\"")], "").await;
    assert_eq!((gone.status, gone.text.as_str()), (StatusCode::NO_CONTENT, ""));
    let missing = rig.ask(Method::GET, "/devices/nd", "").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(missing.body["Message"], "ErrorCode:DeviceNotFound;nd");
    let update = rig.ask_with(Method::PUT, "/devices/nd", &[("If-Match", "*")], &body).await;
    assert_eq!(update.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn devices_are_listed_with_and_without_the_slash() {
    let rig = Rig::new().with_devices(&["a", "b", "c"]);
    let ids = |reply: &Reply| -> Vec<String> {
        let devices = reply.body.as_array().unwrap();
        devices.iter().map(|device| device["deviceId"].as_str().unwrap().to_owned()).collect()
    };

    assert_eq!(ids(&rig.ask(Method::GET, "/devices", "").await), ["a", "b", "c"]);
    assert_eq!(ids(&rig.ask(Method::GET, "/devices/", "").await), ["a", "b", "c"]);
    let token = rig.token("iothubowner", "localhost", u64::MAX);
    let two = Request::builder().uri("/devices?top=2&api-version=x").header(AUTHORIZATION, &token);
    assert_eq!(ids(&rig.send(two.body(Body::empty()).unwrap()).await), ["a", "b"]);
    let bad = Request::builder().uri("/devices?top=many").header(AUTHORIZATION, &token);
    let bad = rig.send(bad.body(Body::empty()).unwrap()).await;
    assert_eq!(bad.error().code, ErrorCode::ArgumentInvalid);

    let counted = rig.ask(Method::GET, "/statistics/devices", "").await;
    let counts = json!({"totalDeviceCount": 3, "enabledDeviceCount": 3, "disabledDeviceCount": 0});
    assert_eq!(counted.body, counts);
    rig.state.connected(&"b".parse().unwrap(), true);
    let connected = rig.ask(Method::GET, "/statistics/service", "").await;
    assert_eq!(connected.body, json!({"connectedDeviceCount": 1}));
}

#[tokio::test]
async fn ids_are_read_as_they_were_meant() {
    let rig = Rig::new().with_devices(&["query", "a%b#c"]);

    assert_eq!(rig.ask(Method::GET, "/devices/a%25b%23c", "").await.body["deviceId"], "a%b#c");
    assert_eq!(rig.ask(Method::GET, "/twins/a%25b%23c", "").await.body["deviceId"], "a%b#c");
    assert_eq!(rig.ask(Method::GET, "/devices/query", "").await.body["deviceId"], "query");
    let bad = rig.ask(Method::GET, "/devices/a%20b", "").await;
    assert_eq!(bad.error().code, ErrorCode::ArgumentInvalid);
    let other = json!({"deviceId": "other"});
    let other = rig.ask(Method::PUT, "/devices/this", other).await;
    assert_eq!(other.error().code, ErrorCode::ArgumentInvalid);
}

#[tokio::test]
async fn a_twin_is_patched_under_its_etag() {
    let rig = Rig::new().with_devices(&["d1"]);
    let body = json!({"tags": {"t": 1}, "properties": {"desired": {"z": 5, "q": null}}});
    let if_match = |etag: &'static str| [(IF_MATCH.as_str(), etag)];

    let first = if_match("\"AAAAAAAAAAE=\"");
    let patched = rig.ask_with(Method::PATCH, "/twins/d1", &first, &body).await;
    assert_eq!(patched.status, StatusCode::OK, "{}", patched.text);
    assert_eq!(patched.body["etag"], "AAAAAAAAAAI=");
    assert_eq!(patched.headers.get(ETAG), None);
    assert_eq!(rig.ask(Method::GET, "/twins/d1", "").await.body, patched.body);

    let stale = rig.ask_with(Method::PATCH, "/twins/d1", &first, &body).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    let message = "ErrorCode:PreconditionFailed;ETag mismatch for device ID 'd1'";
    assert_eq!(stale.body["Message"], message);
    assert_eq!(stale.error().code, ErrorCode::PreconditionFailed);

    for any in ["*", "\"*\""] {
        let reply = rig.ask_with(Method::PATCH, "/twins/d1", &if_match(any), &body).await;
        assert_eq!(reply.status, StatusCode::OK);
    }
    assert_eq!(rig.ask(Method::PATCH, "/twins/d1", &body).await.status, StatusCode::OK);

    let whole = json!({"properties": {"desired": {"y": 1}}});
    let replaced = rig.ask_with(Method::PUT, "/twins/d1", &if_match("\"*\""), whole).await;
    assert_eq!(replaced.body.get("tags"), None);
    assert_eq!(replaced.body["properties"]["desired"]["y"], 1);
    assert_eq!(replaced.body["properties"]["desired"].get("z"), None);

    let unknown = rig.ask(Method::PATCH, "/twins/d2", &body).await;
    assert_eq!(unknown.body["Message"], "ErrorCode:DeviceNotFound;d2");
    let refused = rig.ask(Method::PATCH, "/twins/d1", json!({"tags": {"a b": 1}})).await;
    assert_eq!(refused.error().code, ErrorCode::ArgumentInvalid);
    assert!(refused.error().message.contains("`a b`"), "{}", refused.text);
}

#[tokio::test]
async fn modules_have_identities_and_twins_of_their_own() {
    let rig = Rig::new().with_devices(&["d1"]);
    let body = json!({"deviceId": "d1", "moduleId": "m", "managedBy": "me"});

    let made = rig.ask(Method::PUT, "/devices/d1/modules/m", &body).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    assert_eq!((&made.body["moduleId"], &made.body["managedBy"]), (&json!("m"), &json!("me")));
    assert_eq!(made.headers.get(ETAG), None);
    let listed = rig.ask(Method::GET, "/devices/d1/modules", "").await;
    assert_eq!(listed.body, json!([made.body]));

    let patch = json!({"tags": {"a": 1}});
    let twin = rig.ask(Method::PATCH, "/twins/d1/modules/m", patch).await;
    assert_eq!((&twin.body["moduleId"], &twin.body["tags"]["a"]), (&json!("m"), &json!(1)));
    assert_eq!(twin.body.get("capabilities"), None);
    let found = rig.query("SELECT * FROM devices.modules", &[]).await;
    assert_eq!(found.body, json!([twin.body]));

    let method = json!({"methodName": "m"});
    let offline = rig.ask(Method::POST, "/twins/d1/modules/m/methods", &method).await;
    assert_eq!(offline.error().code, ErrorCode::DeviceNotOnline);
    let gone = rig.ask(Method::DELETE, "/devices/d1/modules/m", "").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let unknown = rig.ask(Method::POST, "/twins/d1/modules/m/methods", &method).await;
    assert_eq!(unknown.error().code, ErrorCode::ModuleNotFound);
}

#[tokio::test]
async fn a_method_that_cannot_be_called_says_why() {
    let rig = Rig::new().with_devices(&["d1", "off"]);
    let off = json!({"status": "disabled"});
    rig.ask_with(Method::PUT, "/devices/off", &[("If-Match", "*")], off).await;
    let method = |more: Value| {
        let mut body = json!({"methodName": "reboot", "payload": ""});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let large = "x".repeat(128 * 1024);

    for (path, body, code, message) in [
        ("/twins/d2/methods", method(json!({})), ErrorCode::DeviceNotFound, "d2"),
        ("/twins/off/methods", method(json!({})), ErrorCode::DeviceNotFound, "off"),
        (
            "/twins/d1/methods",
            method(json!({})),
            ErrorCode::DeviceNotOnline,
            "Timed out waiting for device to connect.",
        ),
        (
            "/twins/d1/methods",
            method(json!({"responseTimeoutInSeconds": 1})),
            ErrorCode::ArgumentInvalid,
            "responseTimeoutInSeconds must be within [5; 300].",
        ),
        (
            "/twins/d1/methods",
            json!({"payload": 1}),
            ErrorCode::ArgumentInvalid,
            "methodName is missing",
        ),
        (
            "/twins/d1/methods",
            method(json!({"payload": large})),
            ErrorCode::MessageTooLarge,
            "the payload has 131074 bytes, 131072 are allowed",
        ),
    ] {
        let reply = rig.ask(Method::POST, path, body).await;
        let error = reply.error();
        assert_eq!((error.code, error.message.as_str()), (code, message), "{path}");
        assert_eq!(reply.status.as_u16(), code.http_status());
    }
    let offline = rig.ask(Method::POST, "/twins/d1/methods", method(json!({}))).await;
    assert_eq!(offline.error().info, [("timeout".to_owned(), "00:00:00".to_owned())]);
}

#[tokio::test]
async fn what_is_not_offered_or_not_readable_is_answered_in_kind() {
    let rig = Rig::new().with_devices(&["d1"]);
    for (method, path, body, status) in [
        (Method::POST, "/twins/d1/methods", "{".to_owned(), 400),
        (Method::POST, "/twins/d1/methods", "[]".to_owned(), 400),
        (Method::PATCH, "/twins/d1", String::new(), 400),
        (Method::POST, "/twins/d1/methods", " ".repeat(300_000), 413),
        (Method::PUT, "/jobs/v2/job01", "{}".to_owned(), 404),
        (Method::GET, "/nothing", String::new(), 404),
        (Method::DELETE, "/twins/d1", String::new(), 405),
        (Method::POST, "/devices/d1", "{}".to_owned(), 405),
    ] {
        let reply = rig.ask(method.clone(), path, body).await;
        assert_eq!(reply.status.as_u16(), status, "{method} {path} {}", reply.text);
        reply.error();
    }
}

#[tokio::test]
async fn a_query_goes_on_where_its_page_ended() {
    let rig = Rig::new().with_devices(&["a", "b", "c", "d", "e"]);
    let mut from: Option<String> = None;
    let mut found = Vec::new();
    let mut sizes = Vec::new();
    loop {
        let mut headers = vec![("x-ms-max-item-count", "2")];
        if let Some(from) = &from {
            headers.push(("x-ms-continuation", from));
        }
        let page = rig.query("SELECT * FROM devices WHERE deviceId != 'c'", &headers).await;
        assert_eq!(page.headers["x-ms-item-type"], "Twin");
        let twins = page.body.as_array().unwrap();
        sizes.push(twins.len());
        found.extend(twins.iter().map(|twin| twin["deviceId"].as_str().unwrap().to_owned()));
        match page.headers.get("x-ms-continuation") {
            Some(next) => from = Some(next.to_str().unwrap().to_owned()),
            None => break,
        }
    }
    assert_eq!((found.concat().as_str(), sizes), ("abde", vec![2, 2]));

    let counted = rig.query("SELECT COUNT() AS n FROM devices", &[]).await;
    assert_eq!(counted.headers["x-ms-item-type"], "Raw");
    assert_eq!(counted.body, json!([{"n": 5}]));
}

#[tokio::test]
async fn a_query_that_is_none_is_refused_with_its_place() {
    let rig = Rig::new();
    for (text, message) in [
        ("SELECT * FROM", "query, character 14: expected `devices`"),
        ("SELECT * FROM devices.jobs", "`devices.jobs` is not offered: this hub runs no jobs"),
    ] {
        let error = rig.query(text, &[]).await.error();
        assert_eq!(error.code, ErrorCode::ArgumentInvalid);
        assert!(error.message.contains(message), "{}", error.message);
    }
    for headers in [[("x-ms-max-item-count", "0")], [("x-ms-continuation", "bogus")]] {
        let reply = rig.query("SELECT * FROM devices", &headers).await;
        assert_eq!(reply.error().code, ErrorCode::ArgumentInvalid, "{headers:?}");
    }
    let nothing = rig.ask(Method::POST, "/devices/query", json!({"text": ""})).await;
    assert_eq!(nothing.error().message, "`query` is not a text");
}

#[tokio::test]
async fn each_item_of_a_bulk_request_has_its_own_outcome() {
    let rig = Rig::new().with_devices(&["a", "b"]);
    let body = json!([
        {"id": "new", "importMode": "create", "status": "enabled"},
        {"id": "a", "importMode": "create"},
        {"id": "b", "importMode": "updateIfMatchETag", "eTag": "old"},
        {"id": "a", "importMode": "updateTwin", "twinETag": "", "tags": {"x": 1}},
        {"id": "b", "importMode": "Delete"},
        {"id": "a", "importMode": "explode"},
    ]);

    let reply = rig.ask(Method::POST, "/devices", body).await;

    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.body["isSuccessful"], false);
    let failed: Vec<(&str, &str)> = reply.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["deviceId"].as_str().unwrap(), e["errorCode"].as_str().unwrap()))
        .collect();
    assert_eq!(
        failed,
        [("a", "DeviceAlreadyExists"), ("b", "PreconditionFailed"), ("a", "ArgumentInvalid")]
    );
    assert_eq!(rig.ask(Method::GET, "/twins/a", "").await.body["tags"]["x"], 1);
    assert_eq!(rig.ask(Method::GET, "/devices/new", "").await.status, StatusCode::OK);
    assert_eq!(rig.ask(Method::GET, "/devices/b", "").await.status, StatusCode::NOT_FOUND);

    let many = Value::from(vec![json!({"id": "x"}); 101]);
    let reply = rig.ask(Method::POST, "/devices", many).await;
    assert_eq!(reply.error().message, "101 items, 100 are allowed");
}

#[tokio::test]
async fn writes_are_on_disk_before_they_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let open = || State::open(Some(dir.path()), vec!["localhost".into()]).unwrap();
    let rig = Rig::over(open());
    let made = rig.ask(Method::PUT, "/devices/d1", "{}").await;
    let patched = rig.ask(Method::PATCH, "/twins/d1", json!({"tags": {"a": 1}})).await;
    drop(rig);

    let rig = Rig::over(open());

    assert_eq!(rig.ask(Method::GET, "/devices/d1", "").await.body, made.body);
    assert_eq!(rig.ask(Method::GET, "/twins/d1", "").await.body, patched.body);
}
