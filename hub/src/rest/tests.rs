//! Tests of the REST API without a socket: permissions and refused requests.

mod configurations;
mod identities;
mod jobs;
mod shortcut;
mod twins;

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

/// A router with state in memory and without connected devices.
struct Rig {
    state: Arc<State>,
    rest: Rest,
    stop: CancellationToken,
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
        let stop = CancellationToken::new();
        let rest = Rest::without_devices(Arc::clone(&state), &stop);
        Rig { router: router(rest.clone()), rest, stop, state }
    }

    fn token(&self, policy: &str, resource: &str, expiry: u64) -> String {
        let key = self.state.policy_key(policy).unwrap();
        sign(resource, Some(policy), key, expiry).to_string()
    }

    /// Sends a request with an access token of the directory for a resource.
    async fn with_access_token(&self, resource: &str, method: Method, path: &str) -> Reply {
        let token = self.access_token(resource, now_unix());
        let request = Request::builder().method(method).uri(path);
        let request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    fn access_token(&self, resource: &str, now_unix: u64) -> String {
        let directory = self.state.policies().directory();
        let form = [
            ("grant_type", "client_credentials".to_owned()),
            ("client_id", directory.client_id().to_owned()),
            ("client_secret", directory.client_secret().to_owned()),
            ("scope", format!("{resource}/.default")),
        ];
        let form = form.map(|(name, value)| (name.to_owned(), value)).into();
        let issued = directory.issue(directory.tenant_id(), &form, "https://localhost", now_unix);
        issued.unwrap().text
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let service = TowerToHyperService::new(self.router.clone());
        Reply::of(service.call(decode_slashes(request)).await.unwrap()).await
    }

    async fn request_with(
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

    async fn request(&self, method: Method, path: &str, body: impl ToString) -> Reply {
        self.request_with(method, path, &[], body).await
    }

    async fn query(&self, text: &str, headers: &[(&str, &str)]) -> Reply {
        let body = json!({"query": text});
        self.request_with(Method::POST, "/devices/query", headers, body).await
    }

    fn with_devices(self, ids: &[&str]) -> Rig {
        for id in ids {
            self.state.create_device(&id.parse().unwrap()).unwrap();
        }
        self
    }
}

impl Reply {
    async fn of(response: Response) -> Reply {
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Reply { status: parts.status, headers: parts.headers, body, text }
    }

    /// Returns the error in the response. Panics if its header and body disagree.
    fn error(&self) -> HubError {
        assert_eq!(self.headers[CONTENT_TYPE], "application/json; charset=utf-8", "{}", self.text);
        let error = HubError::parse(self.status.as_u16(), None, &self.text);
        assert_eq!(self.headers["iothub-errorcode"], error.code.name(), "{}", self.text);
        error
    }
}

#[tokio::test]
async fn an_access_token_of_the_directory_takes_the_place_of_a_sas_token() {
    let rig = Rig::new().with_devices(&["d1"]);
    let hub = "https://iothubs.azure.net";
    for (method, path) in [(Method::GET, "/twins/d1"), (Method::DELETE, "/devices/d1")] {
        let reply = rig.with_access_token(hub, method, path).await;
        assert!(reply.status.is_success(), "{path}: {}", reply.text);
    }
    let other = "https://azure-devices-provisioning.net";
    let refused = rig.with_access_token(other, Method::GET, "/devices").await;
    assert_eq!(refused.error().code, ErrorCode::IotHubUnauthorizedAccess);
    // An expired token, one of another hub, and no token.
    let expired = rig.access_token(hub, now_unix() - 4000);
    for token in [expired, Rig::new().access_token(hub, now_unix()), "a.b.c".to_owned()] {
        let request = Request::get("/devices").header(AUTHORIZATION, format!("bearer {token}"));
        let reply = rig.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.error().code, ErrorCode::IotHubUnauthorizedAccess);
        assert_eq!(reply.error().message, "Unauthorized");
    }
    // The application has no role for faults.
    let reply = rig.with_access_token(hub, Method::GET, CONTROL_PATH).await;
    let error = reply.error();
    assert_eq!((reply.status.as_u16(), error.code), (401, ErrorCode::IotHubUnauthorized));
    assert!(error.message.contains("GET on /$faults due to no assigned permissions"));
}

#[tokio::test]
async fn every_request_needs_a_token_with_its_permission() {
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
async fn paths_with_encoded_slashes_are_accepted() {
    let rig = Rig::new().with_devices(&["a#b"]);
    let body = json!({"query": "SELECT * FROM devices"});
    assert_eq!(
        rig.request(Method::POST, "/devices%2Fquery", &body).await.body[0]["deviceId"],
        "a#b"
    );
    assert_eq!(rig.request(Method::GET, "/twins%2Fa%23b", "").await.body["deviceId"], "a#b");
}

#[tokio::test]
async fn paths_for_devices_are_unsupported_rather_than_unauthorised() {
    let rig = Rig::new().with_devices(&["d1"]);
    let files = "this hub does not support file upload";
    for (method, path, message) in [
        (
            Method::POST,
            "/devices/d1/messages/other",
            "this hub does not support this path of devices",
        ),
        (Method::POST, "/devices/d1/files", files),
        (Method::POST, "/devices/d1/files/notifications", files),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let reply = rig.send(request).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(reply.error().message, message);
    }
}

#[tokio::test]
async fn only_the_owner_policy_can_set_list_and_clear_faults() {
    let rig = Rig::new();
    let fault = json!({"step": "method", "effect": "lose", "device": "d1"});
    let set = rig.request(Method::POST, "/$faults", &fault).await;
    assert_eq!(set.status, StatusCode::NO_CONTENT, "{}", set.text);
    let before = rig.request(Method::GET, "/$faults", "").await.body;
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
    assert_eq!(rig.request(Method::GET, "/$faults", "").await.body, before);
}

#[tokio::test]
async fn a_fault_is_removed_by_its_number_and_the_others_stay() {
    let rig = Rig::new();
    for device in ["d1", "d2"] {
        let fault = json!({"step": "method", "effect": "lose", "device": device});
        rig.request(Method::POST, "/$faults", &fault).await;
    }
    let waiting = rig.request(Method::GET, "/$faults", "").await.body["waiting"].take();
    let path = format!("/$faults/{}", waiting[0]["id"]);
    let removed = rig.request(Method::DELETE, &path, "").await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT, "{}", removed.text);
    let left = rig.request(Method::GET, "/$faults", "").await.body["waiting"].take();
    assert_eq!(left, json!([waiting[1]]));
    for path in [&*path, "/$faults/x", "/$faults/-1"] {
        let refused = rig.request(Method::DELETE, path, "").await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{path}: {}", refused.text);
        assert!(refused.text.contains("it may have happened or expired"), "{}", refused.text);
    }
}

#[tokio::test]
async fn a_failed_method_call_returns_the_documented_error() {
    let rig = Rig::new().with_devices(&["d1", "off"]);
    let off = json!({"status": "disabled"});
    rig.request_with(Method::PUT, "/devices/off", &[("If-Match", "*")], off).await;
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
            "the payload has 131074 bytes; at most 131072 are allowed",
        ),
    ] {
        let reply = rig.request(Method::POST, path, body).await;
        let error = reply.error();
        assert_eq!((error.code, error.message.as_str()), (code, message), "{path}");
        assert_eq!(reply.status.as_u16(), code.http_status());
    }
    let offline = rig.request(Method::POST, "/twins/d1/methods", method(json!({}))).await;
    assert_eq!(offline.error().info, [("timeout".to_owned(), "00:00:00".to_owned())]);
}

#[tokio::test]
async fn unknown_paths_and_malformed_bodies_return_api_errors() {
    let rig = Rig::new().with_devices(&["d1"]);
    for (method, path, body, status) in [
        (Method::POST, "/twins/d1/methods", "{".to_owned(), 400),
        (Method::POST, "/twins/d1/methods", "[]".to_owned(), 400),
        (Method::PATCH, "/twins/d1", String::new(), 400),
        (Method::POST, "/twins/d1/methods", " ".repeat(300_000), 413),
        (Method::PUT, "/jobs/v2/job01", "{}".to_owned(), 400),
        (Method::GET, "/nothing", String::new(), 404),
        (Method::DELETE, "/twins/d1", String::new(), 405),
        (Method::POST, "/devices/d1", "{}".to_owned(), 405),
    ] {
        let reply = rig.request(method.clone(), path, body).await;
        assert_eq!(reply.status.as_u16(), status, "{method} {path} {}", reply.text);
        reply.error();
    }
}
