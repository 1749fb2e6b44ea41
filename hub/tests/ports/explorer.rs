//! The explorer page over HTTPS: sign-in, and protection against other sites.

use behaviour_hub::{ExplorerAccess, Hub, HubConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::client::{TIMEOUT, hub, id, tls_connect};

const PAGE: (&str, &str) = ("x-behaviour-explorer", "1");

/// A response as text and its parts.
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    /// Returns the session cookie that the response sets.
    fn cookie(&self) -> Option<String> {
        let line = self.head.lines().find_map(|line| line.strip_prefix("set-cookie: "))?;
        for attribute in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/$explorer/"] {
            assert!(line.contains(attribute), "{line}");
        }
        line.split(';').next().map(str::to_owned)
    }
}

/// Sends a request with the given headers.
async fn send(
    hub: &Hub,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Reply {
    let mut stream = tls_connect(hub.ca_pem(), hub.https_port()).await.unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        head += &format!("host: localhost:{}\r\n", hub.https_port());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    timeout(TIMEOUT, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Reply {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// Signs in by a new link, and returns the cookie.
async fn sign_in(hub: &Hub) -> String {
    let link = hub.explorer_link().unwrap();
    let (_, secret) = link.split_once("#sign-in=").unwrap();
    let reply = send(hub, "POST", "/$explorer/session", &[PAGE], &json!({ "link": secret })).await;
    assert_eq!(reply.status, 204, "{}", reply.body);
    let again = send(hub, "POST", "/$explorer/session", &[PAGE], &json!({ "link": secret })).await;
    assert_eq!((again.status, again.cookie()), (401, None), "a link works once");
    reply.cookie().unwrap()
}

#[tokio::test]
async fn a_request_of_the_page_needs_the_cookie_of_a_session() {
    let hub = hub().await;
    hub.create_device(&id()).unwrap();
    let twin = "/$explorer/api/twins/d1?api-version=2021-04-12";
    for path in ["/$explorer/devices", twin, "/$explorer/api/$events", "/$explorer/api/$faults"] {
        let reply = send(&hub, "GET", path, &[PAGE], &Value::Null).await;
        assert_eq!(reply.status, 401, "{path}");
    }
    let cookie = sign_in(&hub).await;
    let signed_in = [PAGE, ("cookie", cookie.as_str())];
    let reply = send(&hub, "GET", twin, &signed_in, &Value::Null).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let devices = send(&hub, "GET", "/$explorer/devices", &signed_in, &Value::Null).await;
    assert!(devices.body.contains(r#""deviceId":"d1""#), "{}", devices.body);

    // The cookie is no credential for the REST API itself.
    assert_eq!(send(&hub, "GET", "/twins/d1", &signed_in, &Value::Null).await.status, 401);

    let out = send(&hub, "DELETE", "/$explorer/session", &signed_in, &Value::Null).await;
    assert_eq!(out.status, 204);
    assert_eq!(send(&hub, "GET", twin, &signed_in, &Value::Null).await.status, 401);
}

#[tokio::test]
async fn only_the_key_of_the_owner_policy_signs_in() {
    let hub = hub().await;
    let owner = hub.service_connection_string();
    for (key, status) in [
        (owner.key.to_base64(), 204),
        (owner.to_text_with_key(), 204),
        (hub.provisioning().connection_string().to_text_with_key(), 401),
        ("c2VjcmV0".to_owned(), 401),
    ] {
        let body = json!({ "key": key });
        let reply = send(&hub, "POST", "/$explorer/session", &[PAGE], &body).await;
        assert_eq!((reply.status, reply.cookie().is_some()), (status, status == 204));
    }
    let reply = send(&hub, "POST", "/$explorer/session", &[PAGE], &json!(["x"])).await;
    assert_eq!(reply.status, 400);
}

#[tokio::test]
async fn requests_of_other_sites_and_hosts_are_refused() {
    let hub = hub().await;
    hub.create_device(&id()).unwrap();
    let cookie = sign_in(&hub).await;
    let cookie = ("cookie", cookie.as_str());
    let own = format!("https://localhost:{}", hub.https_port());
    let patch = json!({"properties": {"desired": {"a": 1}}});
    let path = "/$explorer/api/twins/d1";
    for (headers, allowed) in [
        (vec![cookie, PAGE, ("origin", own.as_str()), ("sec-fetch-site", "same-origin")], true),
        (vec![cookie, ("origin", own.as_str())], false),
        (vec![cookie, PAGE, ("origin", "https://localhost:1")], false),
        (vec![cookie, PAGE, ("origin", "null")], false),
        (vec![cookie, PAGE, ("sec-fetch-site", "same-site")], false),
        (vec![cookie, PAGE, ("host", "attacker.example")], false),
        (vec![cookie, PAGE, ("host", "localhost.attacker.example:8443")], false),
    ] {
        let reply = send(&hub, "PATCH", path, &headers, &patch).await;
        let expected = if allowed { 200 } else { 403 };
        assert_eq!(reply.status, expected, "{headers:?} {}", reply.body);
    }
    let rebound = [("host", "attacker.example")];
    assert_eq!(send(&hub, "GET", "/", &rebound, &Value::Null).await.status, 403);
    // A preflight gets no permission.
    let origin = [("origin", "https://attacker.example")];
    let preflight = send(&hub, "OPTIONS", path, &origin, &Value::Null).await;
    assert_eq!(preflight.status, 403);
    assert!(!preflight.head.contains("access-control"), "{}", preflight.head);
}

#[tokio::test]
async fn no_response_to_the_page_has_a_key() {
    let hub = hub().await;
    let device = hub.create_device(&id()).unwrap().to_text_with_key();
    let (_, device_key) = device.split_once("SharedAccessKey=").unwrap();
    let owner_key = hub.service_connection_string().key.to_base64();
    let provisioning_key = hub.provisioning().connection_string().key.to_base64();
    let cookie = sign_in(&hub).await;
    let headers = [PAGE, ("cookie", cookie.as_str())];
    let query = json!({ "query": "SELECT * FROM devices" });
    let enrollments = json!({ "query": "*" });
    for (method, path, body, status) in [
        ("GET", "/", Value::Null, 200),
        ("GET", "/$explorer/app.js", Value::Null, 200),
        ("GET", "/$explorer/session", Value::Null, 200),
        ("GET", "/$explorer/devices", Value::Null, 200),
        ("GET", "/$explorer/api/twins/d1", Value::Null, 200),
        ("GET", "/$explorer/api/$faults", Value::Null, 200),
        ("POST", "/$explorer/api/devices/query", query, 200),
        ("POST", "/$explorer/api/enrollments/query", enrollments, 200),
        // Identities and enrollments with their keys are not forwarded.
        ("GET", "/$explorer/api/devices/d1", Value::Null, 404),
        ("GET", "/$explorer/api/devices", Value::Null, 404),
        ("GET", "/$explorer/api/devices/query-7", Value::Null, 404),
        ("PUT", "/$explorer/api/devices/query-7", json!({ "deviceId": "query-7" }), 404),
        ("POST", "/$explorer/api/enrollments/e1/attestationmechanism", Value::Null, 404),
        ("POST", "/$explorer/api/enrollments/query-e/attestationmechanism", Value::Null, 404),
        ("POST", "/$explorer/api/enrollmentGroups/query-g/attestationmechanism", Value::Null, 404),
        ("GET", "/$explorer/nothing", Value::Null, 404),
    ] {
        let reply = send(&hub, method, path, &headers, &body).await;
        assert_eq!(reply.status, status, "{path} {}", reply.body);
        for key in [device_key, &owner_key, &provisioning_key] {
            assert!(!reply.body.contains(key) && !reply.head.contains(key), "{path}");
        }
        assert!(reply.head.contains("content-security-policy: default-src 'none'"), "{path}");
        assert!(!reply.head.contains("unsafe"), "{path}");
    }
}

#[tokio::test]
async fn the_page_can_be_switched_off() {
    let config = HubConfig { explorer: ExplorerAccess::Off, ..HubConfig::default() };
    let hub = Hub::start(config).await.unwrap();
    assert_eq!(hub.explorer_link(), None);
    assert_eq!(send(&hub, "GET", "/", &[], &Value::Null).await.status, 404);
    assert_eq!(send(&hub, "GET", "/$explorer/app.js", &[], &Value::Null).await.status, 404);
}

#[tokio::test]
async fn by_default_the_page_is_served_to_this_machine_only() {
    let Some(address) = own_address() else { return };
    for (explorer, status) in [(ExplorerAccess::Loopback, 404), (ExplorerAccess::Any, 200)] {
        let config = HubConfig {
            address: "0.0.0.0".parse().unwrap(),
            host_names: vec![address.clone()],
            explorer,
            ..HubConfig::default()
        };
        let hub = Hub::start(config).await.unwrap();
        assert_eq!(send(&hub, "GET", "/", &[], &Value::Null).await.status, 200, "loopback");
        let reply = get_from(&hub, &address).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{explorer:?} {reply}");
    }
}

/// Returns an address of this machine that is not a loopback address, if it has one. Sends no
/// packet.
fn own_address() -> Option<String> {
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then(|| address.to_string())
}

async fn get_from(hub: &Hub, address: &str) -> String {
    let address = (address.parse::<std::net::IpAddr>().unwrap(), hub.https_port()).into();
    let mut stream = super::client::tls_connect_to(hub.ca_pem(), address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut text = String::new();
    timeout(TIMEOUT, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}
