//! Tests of automatic device configurations.

use super::*;

fn configuration(change: Value) -> Value {
    let mut body = json!({"id": "c1", "targetCondition": "*", "priority": 10,
        "content": {"deviceContent": {"properties.desired.a": {"b": 1}}}});
    let Value::Object(change) = change else { panic!("{change} is not an object") };
    body.as_object_mut().unwrap().extend(change);
    body
}

impl Rig {
    async fn configure(&self, id: &str, if_match: Option<&str>, change: Value) -> Reply {
        let headers: Vec<_> = if_match.map(|etag| (IF_MATCH.as_str(), etag)).into_iter().collect();
        let mut body = configuration(change);
        body["id"] = json!(id);
        self.request_with(Method::PUT, &format!("/configurations/{id}"), &headers, body).await
    }

    async fn twin(&self, id: &str) -> Value {
        self.request(Method::GET, &format!("/twins/{id}"), "").await.body
    }
}

#[tokio::test]
async fn a_configuration_is_created_updated_listed_and_deleted() {
    let rig = Rig::new();
    let metrics = json!({"queries": {"m": "SELECT deviceId FROM devices"}});
    let change = json!({"labels": {"env": "t"}, "metrics": metrics, "etag": "*"});
    let created = rig.configure("c1", Some("\"\""), change).await;
    assert_eq!(created.status, StatusCode::OK, "{}", created.text);
    assert_eq!(created.headers[ETAG], "\"MQ==\"");
    let system = json!({"results": {}, "queries": {"targetedCount": "select deviceId from devices",
        "appliedCount":
            "select deviceId from devices where configurations.[[c1]].status = 'Applied'"}});
    assert_eq!(created.body["systemMetrics"], system);
    assert_eq!((&created.body["etag"], &created.body["priority"]), (&json!("MQ=="), &json!(10)));

    for header in [None, Some("MQ==")] {
        let again = rig.configure("c1", header, json!({})).await;
        assert_eq!(again.status, StatusCode::CONFLICT, "{header:?}");
        assert_eq!(again.headers["iothub-errorcode"], "ConfigurationAlreadyExists");
    }
    let updated = rig.configure("c1", Some("\"MQ==\""), json!({"priority": 11})).await;
    assert_eq!(updated.headers[ETAG], "\"Mg==\"");
    assert_eq!(updated.body["createdTimeUtc"], created.body["createdTimeUtc"]);
    let stale = rig.configure("c1", Some("\"MQ==\""), json!({})).await;
    assert_eq!(stale.error().code, ErrorCode::PreconditionFailed);
    let other = json!({"content": {"deviceContent": {"properties.desired.a": 2}}});
    assert_eq!(rig.configure("c1", Some("*"), other).await.status, StatusCode::BAD_REQUEST);

    let read = rig.request(Method::GET, "/configurations/c1", "").await;
    assert_eq!(read.body, updated.body);
    rig.configure("c0", None, json!({})).await;
    let listed = rig.request(Method::GET, "/configurations", "").await;
    assert_eq!(listed.body.as_array().unwrap().len(), 2);
    assert_eq!(listed.body[0]["id"], "c0");

    for (etag, status) in [("\"MQ==\"", 412), ("*", 204)] {
        let headers = [(IF_MATCH.as_str(), etag)];
        let deleted = rig.request_with(Method::DELETE, "/configurations/c1", &headers, "").await;
        assert_eq!(deleted.status.as_u16(), status, "{etag}");
    }
    let gone = rig.request(Method::GET, "/configurations/c1", "").await;
    assert_eq!(gone.body["Message"], "ErrorCode:ConfigurationNotFound;c1");
    assert_eq!(rig.configure("c1", Some("*"), json!({})).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_invalid_configuration_has_the_error_of_iot_hub() {
    let rig = Rig::new();
    let refused = rig.configure("c1", None, json!({"targetCondition": "status = 'x'"})).await;
    assert_eq!(
        refused.body["Message"],
        "ErrorCode:InvalidConfigurationTargetCondition;Invalid targetCondition. It must be a \
         filter condition based on 'deviceId', 'tags', or 'properties.reported'. It contains: \
         'status'"
    );
    assert_eq!(refused.headers["iothub-errorcode"], "InvalidConfigurationTargetCondition");
    assert_eq!(rig.configure("C1", None, json!({})).await.status, StatusCode::BAD_REQUEST);

    for number in 0..100 {
        let created = rig.configure(&format!("c{number}"), None, json!({})).await;
        assert_eq!(created.status, StatusCode::OK);
    }
    let full = rig.configure("one-more", None, json!({})).await;
    assert_eq!(full.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        full.body["Message"],
        "ErrorCode:ConfigurationCountLimitExceeded;Number of deployments exceed the maximum quota \
         100 for this IotHub."
    );
}

#[tokio::test]
async fn queries_are_tested_without_a_configuration() {
    let rig = Rig::new().with_devices(&["d1"]);
    let body = json!({"targetCondition": "deviceId IN ['d1']",
        "customMetricQueries": {"good": "SELECT * FROM devices", "bad": "SELECT"}});
    let tested = rig.request(Method::POST, "/configurations/testQueries", body).await;
    assert_eq!(tested.body["targetConditionError"], Value::Null);
    let errors = tested.body["customMetricQueryErrors"].as_object().unwrap();
    assert_eq!(errors.keys().collect::<Vec<_>>(), ["bad"]);
    let body = json!({"targetCondition": "tags."});
    let tested = rig.request(Method::POST, "/configurations/testQueries", body).await;
    assert!(tested.body["targetConditionError"].as_str().unwrap().contains("property name"));

    let apply = rig.request(Method::POST, "/devices/d1/applyConfigurationContent", "{}").await;
    assert_eq!(
        apply.body["Message"],
        "ErrorCode:InvalidConfigurationContent;The content provided for configuration is invalid. \
         Please check and try again"
    );
}

#[tokio::test]
async fn a_configuration_is_applied_to_the_twins_that_match_it() {
    let rig = Rig::new().with_devices(&["d1", "d2", "d3"]);
    for (id, site) in [("d1", "north"), ("d2", "north"), ("d3", "south")] {
        let body = json!({"tags": {"site": site}, "properties": {"desired": {"own": 1}}});
        rig.request(Method::PATCH, &format!("/twins/{id}"), body).await;
    }
    let metric = "SELECT deviceId FROM devices WHERE configurations.[[c1]].status = 'Applied' \
                  AND properties.desired.a.b = 1";
    let change = json!({"targetCondition": "tags.site = 'north'",
        "metrics": {"queries": {"set": metric}}});
    rig.configure("c1", None, change).await;
    let low = json!({"priority": 1, "content": {"deviceContent": {
        "properties.desired.a": 2, "properties.desired.low": true}}});
    rig.configure("low", None, low).await;
    rig.rest.configurations.evaluate();

    let twin = rig.twin("d1").await;
    let desired = |twin: &Value| {
        let mut desired = twin["properties"]["desired"].as_object().unwrap().clone();
        let version = desired.remove("$version").unwrap();
        desired.remove("$metadata");
        (Value::Object(desired), version)
    };
    assert_eq!(desired(&twin), (json!({"own": 1, "a": {"b": 1}, "low": true}), json!(3)));
    let applied = json!({"status": "Applied"});
    assert_eq!(twin["configurations"], json!({"c1": applied, "low": applied}));
    assert_eq!(desired(&rig.twin("d3").await).0, json!({"own": 1, "a": 2, "low": true}));
    let read = rig.request(Method::GET, "/configurations/c1", "").await.body;
    assert_eq!(read["systemMetrics"]["results"], json!({"targetedCount": 2, "appliedCount": 2}));
    assert_eq!(read["metrics"]["results"], json!({"set": 2}));

    // A value that a service writes is replaced, and a device that leaves falls back.
    let body = json!({"properties": {"desired": {"a": {"b": 7}}}});
    rig.request(Method::PATCH, "/twins/d1", body).await;
    rig.request(Method::PATCH, "/twins/d2", json!({"tags": {"site": "south"}})).await;
    rig.rest.configurations.evaluate();
    assert_eq!(rig.twin("d1").await["properties"]["desired"]["a"], json!({"b": 1}));
    assert_eq!(rig.twin("d2").await["properties"]["desired"]["a"], 2);

    for id in ["c1", "low"] {
        rig.request(Method::DELETE, &format!("/configurations/{id}"), "").await;
    }
    rig.rest.configurations.evaluate();
    let twin = rig.twin("d1").await;
    assert_eq!(desired(&twin).0, json!({"own": 1}));
    assert_eq!(twin.get("configurations"), None);
}

#[tokio::test]
async fn a_configuration_of_modules_changes_their_twins_alone() {
    let rig = Rig::new().with_devices(&["d1"]);
    rig.request(Method::PUT, "/devices/d1/modules/m", json!({"deviceId": "d1", "moduleId": "m"}))
        .await;
    let change = json!({"targetCondition": "from devices.modules where moduleId = 'm'",
        "content": {"moduleContent": {"properties.desired.a": 1}}});
    rig.configure("c1", None, change).await;
    rig.rest.configurations.evaluate();
    let module = rig.request(Method::GET, "/twins/d1/modules/m", "").await.body;
    assert_eq!(module["properties"]["desired"]["a"], 1);
    assert_eq!(rig.twin("d1").await["properties"]["desired"].get("a"), None);
}

#[tokio::test]
async fn configurations_and_their_twins_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || State::open(Some(dir.path()), vec!["localhost".into()]).unwrap();
    let rig = Rig::over(open()).with_devices(&["d1"]);
    rig.configure("c1", None, json!({})).await;
    rig.rest.configurations.evaluate();
    let (before, version) =
        (rig.request(Method::GET, "/configurations/c1", "").await.body, rig.twin("d1").await);
    drop(rig);

    let rig = Rig::over(open());
    rig.rest.configurations.evaluate();
    assert_eq!(rig.request(Method::GET, "/configurations/c1", "").await.body, before);
    let after = rig.twin("d1").await;
    assert_eq!(after["version"], version["version"]);
    assert_eq!(after["configurations"]["c1"]["status"], "Applied");
    rig.request(Method::DELETE, "/configurations/c1", "").await;
    drop(rig);

    let rig = Rig::over(open());
    rig.rest.configurations.evaluate();
    assert_eq!(rig.twin("d1").await["properties"]["desired"].get("a"), None);
}
