//! The HTTPS API for devices.

use behaviour_hub::Hub;
use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use protocol::sas;
use serde_json::{Value, json};

use super::client::{Response, hub, id, now, request, request_with, send_request, within};

/// A device that sends requests.
struct HttpsDevice {
    hub: Hub,
    identity: DeviceConnectionString,
}

impl HttpsDevice {
    async fn new() -> HttpsDevice {
        let hub = hub().await;
        let identity = hub.create_device(&id()).unwrap();
        HttpsDevice { hub, identity }
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let DeviceCredential::Key(key) = &self.identity.credential else { panic!("no key") };
        let token = sas::sign(&self.identity.resource(), None, key, now() + 60);
        send_request(&self.hub, &token.to_string(), method, path, headers, body).await
    }

    /// Queues a message for the device.
    async fn queue(&self, body: &str) {
        let headers = [("iothub-messageid", "m1"), ("iothub-app-a", "b"), ("iothub-ack", "full")];
        let path = "/devices/d1/messages/devicebound";
        assert_eq!(request_with(&self.hub, "POST", path, &headers, body).await.0, 204);
    }

    async fn receive(&self) -> Response {
        self.send("GET", "/devices/d1/messages/deviceBound", &[], "").await
    }

    async fn outcome(&self) -> Value {
        let path = "/messages/servicebound/feedback";
        request(&self.hub, "GET", path, &Value::Null).await.1[0]["statusCode"].take()
    }
}

#[tokio::test]
async fn telemetry_arrives_with_its_properties_alone_and_in_a_batch() {
    let device = HttpsDevice::new().await;
    let mut telemetry = device.hub.telemetry();
    let path = "/devices/d1/messages/events";
    let headers = [("iothub-messageid", "m1"), ("IoTHub-App-level", "high")];
    assert_eq!(device.send("POST", path, &headers, "21.5").await.status, 204);
    let message = within(telemetry.recv()).await.unwrap();
    assert_eq!(&message.body[..], b"21.5");
    assert_eq!(message.properties.get("$.mid"), Some("m1"));
    assert_eq!(message.properties.get("level"), Some("high"));
    assert_eq!(message.properties.get("iothub-connection-device-id"), Some("d1"));

    let batch = json!([
        { "body": "MQ==", "properties": { "iothub-app-Level": "1" } },
        { "body": "Mg==" },
    ]);
    let headers = [("Content-Type", "application/vnd.microsoft.iothub.json")];
    assert_eq!(device.send("POST", path, &headers, &batch.to_string()).await.status, 204);
    assert_eq!(within(telemetry.recv()).await.unwrap().properties.get("Level"), Some("1"));
    assert_eq!(&within(telemetry.recv()).await.unwrap().body[..], b"2");
    let refused = device.send("POST", path, &headers, "{}").await;
    assert_eq!(refused.status, 400, "{}", refused.body);
}

#[tokio::test]
async fn a_message_is_received_and_completed_rejected_or_abandoned() {
    let device = HttpsDevice::new().await;
    assert_eq!(device.receive().await.status, 204);
    device.queue("hello").await;
    let first = device.receive().await;
    assert_eq!((first.status, &*first.body), (200, "hello"));
    assert_eq!(first.header("iothub-messageid"), Some("m1"));
    assert_eq!(first.header("iothub-app-a"), Some("b"));
    assert_eq!(first.header("iothub-deliverycount"), Some("0"));
    assert_eq!(first.header("iothub-to"), Some("/devices/d1/messages/devicebound"));
    assert_eq!(device.receive().await.status, 204, "the message is locked");

    let path = |response: &Response| {
        let lock = response.header("etag").unwrap().trim_matches('"').to_owned();
        format!("/devices/d1/messages/deviceBound/{lock}")
    };
    let abandon = format!("{}/abandon", path(&first));
    assert_eq!(device.send("POST", &abandon, &[], "").await.status, 204);
    assert_eq!(device.send("DELETE", &path(&first), &[], "").await.status, 412);
    let again = device.receive().await;
    assert_eq!(again.header("iothub-deliverycount"), Some("1"));
    assert_eq!(device.send("DELETE", &path(&again), &[], "").await.status, 204);
    assert_eq!(device.outcome().await, "Success");
    assert_eq!(device.receive().await.status, 204);

    device.queue("no").await;
    let rejected = device.receive().await;
    let query = format!("{}?reject&", path(&rejected));
    assert_eq!(device.send("DELETE", &query, &[], "").await.status, 204);
    assert_eq!(device.outcome().await, "Rejected");
}

#[tokio::test]
async fn a_lock_of_another_time_than_five_to_300_seconds_is_refused() {
    let device = HttpsDevice::new().await;
    device.queue("one").await;
    let path = "/devices/d1/messages/deviceBound";
    for time in ["0", "-1", "4", "301", "abc", "", "99999999999999999999"] {
        let headers = [("IotHub-MessageLockTimeout", time)];
        let refused = device.send("GET", path, &headers, "").await;
        assert_eq!(refused.status, 400, "{time}");
        let reason = format!("`{time}` is not a time of 5 to 300 s");
        assert!(refused.body.contains(&reason), "{}", refused.body);
    }
    for time in ["5", "300"] {
        let headers = [("IotHub-MessageLockTimeout", time)];
        let received = device.send("GET", path, &headers, "").await;
        assert_eq!(received.status, if time == "5" { 200 } else { 204 });
    }
}

#[tokio::test]
async fn an_application_property_with_the_name_of_a_system_property_is_refused() {
    let device = HttpsDevice::new().await;
    let headers = [("iothub-messageid", "m1"), ("iothub-app-$.mid", "spoof")];
    let path = "/devices/d1/messages/devicebound";
    let (status, error) = request_with(&device.hub, "POST", path, &headers, "x").await;
    assert_eq!(status, 400, "{error}");
    let reason = "the names of application properties do not begin with `$`";
    assert!(error.to_string().contains(reason), "{error}");
    assert_eq!(device.receive().await.status, 204);
    let path = "/devices/d1/messages/events";
    assert_eq!(device.send("POST", path, &headers, "x").await.status, 400);
}

#[tokio::test]
async fn a_request_without_the_token_of_its_device_is_refused() {
    let device = HttpsDevice::new().await;
    let other = device.hub.create_device(&"d2".parse().unwrap()).unwrap();
    let other = HttpsDevice { hub: device.hub, identity: other };
    for (method, path) in [
        ("POST", "/devices/d1/messages/events"),
        ("GET", "/devices/d1/messages/devicebound"),
        ("DELETE", "/devices/d1/messages/devicebound/x"),
        ("POST", "/devices/d1/messages/devicebound/x/abandon"),
    ] {
        assert_eq!(other.send(method, path, &[], "").await.status, 401, "{path}");
        let response = send_request(&other.hub, "nonsense", method, path, &[], "").await;
        assert_eq!(response.status, 401, "{path}");
    }
    // A device cannot send messages to itself.
    let path = "/devices/d2/messages/devicebound";
    assert_eq!(other.send("POST", path, &[], "hi").await.status, 401);
}
