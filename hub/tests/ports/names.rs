//! Host names that serve only devices or only services.

use std::net::Ipv4Addr;

use behaviour_hub::{Hub, HubConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::client::{TIMEOUT, tls_connect_as};

/// CONNECT without a user name, which the hub refuses with the return code 5.
const CONNECT: &[u8] = b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02d1";

/// Sends bytes under a name, and returns everything that the hub sends.
async fn exchange(hub: &Hub, name: &str, bytes: &[u8]) -> Vec<u8> {
    let address = (Ipv4Addr::LOCALHOST, hub.https_port()).into();
    let mut stream = tls_connect_as(hub.ca_pem(), address, name).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    timeout(TIMEOUT, stream.read_to_end(&mut answer)).await.unwrap().ok();
    answer
}

#[tokio::test]
async fn devices_and_services_have_host_names_of_their_own() {
    let host_names = vec!["hub.example.net".to_owned()];
    let hub = Hub::start(HubConfig { host_names, ..HubConfig::default() }).await.unwrap();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let refused: &[u8] = &[0x20, 2, 0, 5];
    for (name, mqtt, rest, websocket) in [
        ("hub.example.net", refused, "401", "426"),
        ("hub.device.example.net", refused, "404", "426"),
        ("hub.service.example.net", &[], "401", "404"),
    ] {
        assert_eq!(exchange(&hub, name, CONNECT).await, mqtt, "{name}");
        for (path, status) in [("/devices", rest), ("/$iothub/websocket", websocket)] {
            let answer = exchange(&hub, name, get(path).as_bytes()).await;
            let answer = String::from_utf8(answer).unwrap();
            assert_eq!(answer.split(' ').nth(1), Some(status), "{name}{path}: {answer}");
        }
    }
}
