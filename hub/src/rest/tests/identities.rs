//! Tests of the identities of devices and modules.

use super::*;
use crate::state::Owner;

#[tokio::test]
async fn a_device_is_created_updated_and_deleted() {
    let rig = Rig::new();
    let body = json!({"deviceId": "nd", "authentication": {"type": "sas",
        "symmetricKey": {"primaryKey": "", "secondaryKey": ""}}});

    let created = rig.request(Method::PUT, "/devices/nd", &body).await;
    assert_eq!(created.status, StatusCode::OK, "{}", created.text);
    assert_eq!(
        created.body["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap().len(),
        44
    );
    let etag = created.headers[ETAG].to_str().unwrap().to_owned();
    assert_eq!(etag, format!("\"{}\"", created.body["etag"].as_str().unwrap()));

    let repeated = rig.request(Method::PUT, "/devices/nd", &body).await;
    assert_eq!(repeated.status, StatusCode::CONFLICT);
    let message = "ErrorCode:DeviceAlreadyExists;A device with ID 'nd' is already registered.";
    assert_eq!(repeated.body["Message"], message);

    let stale =
        rig.request_with(Method::PUT, "/devices/nd", &[("If-Match", "\"old\"")], &body).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(stale.body["Message"], "ErrorCode:PreconditionFailed;PreconditionFailed");

    let off = json!({"deviceId": "nd", "status": "disabled", "statusReason": "lost"});
    let changed = rig.request_with(Method::PUT, "/devices/nd", &[("If-Match", &etag)], off).await;
    assert_eq!(changed.body["status"], "disabled");
    assert_eq!(changed.body["statusReason"], "lost");
    assert_eq!(changed.body["authentication"], created.body["authentication"]);
    let read = rig.request(Method::GET, "/devices/nd", "").await;
    assert_eq!(read.body, changed.body);
    assert_ne!(read.headers[ETAG].to_str().unwrap(), etag);

    let deleted =
        rig.request_with(Method::DELETE, "/devices/nd", &[("If-Match", "\"*\"")], "").await;
    assert_eq!((deleted.status, deleted.text.as_str()), (StatusCode::NO_CONTENT, ""));
    let missing = rig.request(Method::GET, "/devices/nd", "").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(missing.body["Message"], "ErrorCode:DeviceNotFound;nd");
    let update = rig.request_with(Method::PUT, "/devices/nd", &[("If-Match", "*")], &body).await;
    assert_eq!(update.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_empty_condition_never_matches() {
    let rig = Rig::new().with_devices(&["d1"]);
    for header in ["", " ", "\"\""] {
        let headers = [("If-Match", header)];
        let reply = rig.request_with(Method::DELETE, "/devices/d1", &headers, "").await;
        assert_eq!(reply.error().code, ErrorCode::PreconditionFailed, "{header:?}");
        let reply =
            rig.request_with(Method::PATCH, "/twins/d1", &headers, r#"{"tags":{"a":1}}"#).await;
        assert_eq!(reply.error().code, ErrorCode::PreconditionFailed, "{header:?}");
    }
}

#[tokio::test]
async fn devices_are_listed_with_and_without_a_trailing_slash() {
    let rig = Rig::new().with_devices(&["a", "b", "c"]);
    let ids = |reply: &Reply| -> Vec<String> {
        let devices = reply.body.as_array().unwrap();
        devices.iter().map(|device| device["deviceId"].as_str().unwrap().to_owned()).collect()
    };

    assert_eq!(ids(&rig.request(Method::GET, "/devices", "").await), ["a", "b", "c"]);
    assert_eq!(ids(&rig.request(Method::GET, "/devices/", "").await), ["a", "b", "c"]);
    let token = rig.token("iothubowner", "localhost", u64::MAX);
    let two = Request::builder().uri("/devices?top=2&api-version=x").header(AUTHORIZATION, &token);
    assert_eq!(ids(&rig.send(two.body(Body::empty()).unwrap()).await), ["a", "b"]);
    let bad = Request::builder().uri("/devices?top=many").header(AUTHORIZATION, &token);
    let bad = rig.send(bad.body(Body::empty()).unwrap()).await;
    assert_eq!(bad.error().code, ErrorCode::ArgumentInvalid);

    let counted = rig.request(Method::GET, "/statistics/devices", "").await;
    let counts = json!({"totalDeviceCount": 3, "enabledDeviceCount": 3, "disabledDeviceCount": 0});
    assert_eq!(counted.body, counts);
    rig.state.set_connected(&Owner::device(&"b".parse().unwrap()), true);
    let connected = rig.request(Method::GET, "/statistics/service", "").await;
    assert_eq!(connected.body, json!({"connectedDeviceCount": 1}));
}

#[tokio::test]
async fn ids_in_paths_are_decoded() {
    let rig = Rig::new().with_devices(&["query", "a%b#c"]);

    assert_eq!(rig.request(Method::GET, "/devices/a%25b%23c", "").await.body["deviceId"], "a%b#c");
    assert_eq!(rig.request(Method::GET, "/twins/a%25b%23c", "").await.body["deviceId"], "a%b#c");
    assert_eq!(rig.request(Method::GET, "/devices/query", "").await.body["deviceId"], "query");
    let bad = rig.request(Method::GET, "/devices/a%20b", "").await;
    assert_eq!(bad.error().code, ErrorCode::ArgumentInvalid);
    let other = json!({"deviceId": "other"});
    let other = rig.request(Method::PUT, "/devices/this", other).await;
    assert_eq!(other.error().code, ErrorCode::ArgumentInvalid);
}

#[tokio::test]
async fn modules_have_separate_identities_and_twins() {
    let rig = Rig::new().with_devices(&["d1"]);
    let body = json!({"deviceId": "d1", "moduleId": "m", "managedBy": "me"});

    let created = rig.request(Method::PUT, "/devices/d1/modules/m", &body).await;
    assert_eq!(created.status, StatusCode::OK, "{}", created.text);
    assert_eq!(
        (&created.body["moduleId"], &created.body["managedBy"]),
        (&json!("m"), &json!("me"))
    );
    assert_eq!(created.headers.get(ETAG), None);
    let listed = rig.request(Method::GET, "/devices/d1/modules", "").await;
    assert_eq!(listed.body, json!([created.body]));

    let patch = json!({"tags": {"a": 1}});
    let twin = rig.request(Method::PATCH, "/twins/d1/modules/m", patch).await;
    assert_eq!((&twin.body["moduleId"], &twin.body["tags"]["a"]), (&json!("m"), &json!(1)));
    assert_eq!(twin.body.get("capabilities"), None);
    let found = rig.query("SELECT * FROM devices.modules", &[]).await;
    assert_eq!(found.body, json!([twin.body]));

    let method = json!({"methodName": "m"});
    let offline = rig.request(Method::POST, "/twins/d1/modules/m/methods", &method).await;
    assert_eq!(offline.error().code, ErrorCode::DeviceNotOnline);
    let deleted = rig.request(Method::DELETE, "/devices/d1/modules/m", "").await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    let unknown = rig.request(Method::POST, "/twins/d1/modules/m/methods", &method).await;
    assert_eq!(unknown.error().code, ErrorCode::ModuleNotFound);
}

#[tokio::test]
async fn an_edge_device_has_a_scope_that_its_children_name() {
    let rig = Rig::new();
    let put = async |id: &str, body: Value| {
        let path = format!("/devices/{id}");
        rig.request(Method::PUT, &path, body).await
    };
    let edge = put("edge-1", json!({"capabilities": {"iotEdge": true}})).await.body;
    let scope = &edge["deviceScope"];
    let generation = edge["generationId"].as_str().unwrap();
    assert_eq!(scope, &json!(format!("ms-azure-iot-edge://edge-1-{generation}")));
    assert_eq!(edge.get("parentScopes"), None);

    let nested = json!({"capabilities": {"iotEdge": true}, "parentScopes": [scope]});
    let nested = put("edge-2", nested).await.body;
    assert_eq!(nested["parentScopes"], json!([scope]));
    assert!(nested["deviceScope"].as_str().unwrap().contains("edge-2-"));
    let leaf = put("leaf", json!({"deviceScope": scope})).await.body;
    assert_eq!((&leaf["deviceScope"], &leaf["parentScopes"]), (scope, &json!([scope])));
    let twin = rig.request(Method::GET, "/twins/leaf", "").await.body;
    assert_eq!((&twin["deviceScope"], &twin["parentScopes"]), (scope, &json!([scope])));
    assert_eq!(rig.request(Method::GET, "/devices/leaf", "").await.body, leaf);

    // A client sends the identity back with another parent, and then without one.
    let mut changed = leaf.clone();
    changed["deviceScope"] = nested["deviceScope"].clone();
    let any = [("If-Match", "*")];
    let moved = rig.request_with(Method::PUT, "/devices/leaf", &any, &changed).await.body;
    assert_eq!(moved["parentScopes"], json!([nested["deviceScope"]]));
    let alone = json!({"deviceScope": "", "parentScopes": []});
    let alone = rig.request_with(Method::PUT, "/devices/leaf", &any, alone).await.body;
    assert_eq!((alone.get("deviceScope"), alone.get("parentScopes")), (None, None));

    for other in ["nonsense", "ms-azure-iot-edge://leaf-1", "ms-azure-iot-edge://edge-1-1"] {
        let refused = put("other", json!({"deviceScope": other})).await;
        assert_eq!(refused.error().code, ErrorCode::ArgumentInvalid);
        let message = format!("`{other}` is not the deviceScope of another edge device");
        assert_eq!(refused.error().message, message);
    }
}

#[tokio::test]
async fn items_of_a_bulk_request_fail_independently() {
    let rig = Rig::new().with_devices(&["a", "b"]);
    let body = json!([
        {"id": "new", "importMode": "create", "status": "enabled"},
        {"id": "a", "importMode": "create"},
        {"id": "b", "importMode": "updateIfMatchETag", "eTag": "old"},
        {"id": "a", "importMode": "updateTwin", "twinETag": "", "tags": {"x": 1}},
        {"id": "b", "importMode": "Delete"},
        {"id": "a", "importMode": "explode"},
        {"id": "a", "importMode": "updateTwinIfMatchETag", "eTag": "x"},
    ]);

    let reply = rig.request(Method::POST, "/devices", body).await;

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
        [
            ("a", "DeviceAlreadyExists"),
            ("b", "PreconditionFailed"),
            ("a", "ArgumentInvalid"),
            ("a", "ArgumentInvalid"),
        ]
    );
    assert_eq!(reply.body["errors"][3]["errorStatus"], "the import mode needs `twinETag`");
    assert_eq!(rig.request(Method::GET, "/twins/a", "").await.body["tags"]["x"], 1);
    assert_eq!(rig.request(Method::GET, "/devices/new", "").await.status, StatusCode::OK);
    assert_eq!(rig.request(Method::GET, "/devices/b", "").await.status, StatusCode::NOT_FOUND);

    let many = Value::from(vec![json!({"id": "x"}); 101]);
    let reply = rig.request(Method::POST, "/devices", many).await;
    assert_eq!(reply.error().message, "101 items; at most 100 are allowed");
}

#[tokio::test]
async fn writes_are_persisted_before_the_response() {
    let dir = tempfile::tempdir().unwrap();
    let open = || State::open(Some(dir.path()), vec!["localhost".into()]).unwrap();
    let rig = Rig::over(open());
    let created = rig.request(Method::PUT, "/devices/d1", "{}").await;
    let patched = rig.request(Method::PATCH, "/twins/d1", json!({"tags": {"a": 1}})).await;
    drop(rig);

    let rig = Rig::over(open());

    assert_eq!(rig.request(Method::GET, "/devices/d1", "").await.body, created.body);
    assert_eq!(rig.request(Method::GET, "/twins/d1", "").await.body, patched.body);
}
