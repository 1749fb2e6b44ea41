//! Tests of twins and queries.

use super::*;

#[tokio::test]
async fn a_twin_is_changed_only_if_its_etag_matches() {
    let rig = Rig::new().with_devices(&["d1"]);
    let body = json!({"tags": {"t": 1}, "properties": {"desired": {"z": 5, "q": null}}});
    let if_match = |etag: &'static str| [(IF_MATCH.as_str(), etag)];

    let first = if_match("\"AAAAAAAAAAE=\"");
    let patched = rig.request_with(Method::PATCH, "/twins/d1", &first, &body).await;
    assert_eq!(patched.status, StatusCode::OK, "{}", patched.text);
    assert_eq!(patched.body["etag"], "AAAAAAAAAAI=");
    assert_eq!(patched.headers.get(ETAG), None);
    assert_eq!(rig.request(Method::GET, "/twins/d1", "").await.body, patched.body);

    let stale = rig.request_with(Method::PATCH, "/twins/d1", &first, &body).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    let message = "ErrorCode:PreconditionFailed;ETag mismatch for device ID 'd1'";
    assert_eq!(stale.body["Message"], message);
    assert_eq!(stale.error().code, ErrorCode::PreconditionFailed);

    for any in ["*", "\"*\""] {
        let reply = rig.request_with(Method::PATCH, "/twins/d1", &if_match(any), &body).await;
        assert_eq!(reply.status, StatusCode::OK);
    }
    assert_eq!(rig.request(Method::PATCH, "/twins/d1", &body).await.status, StatusCode::OK);

    let replacement = json!({"properties": {"desired": {"y": 1}}});
    let replaced =
        rig.request_with(Method::PUT, "/twins/d1", &if_match("\"*\""), replacement).await;
    assert_eq!(replaced.body.get("tags"), None);
    assert_eq!(replaced.body["properties"]["desired"]["y"], 1);
    assert_eq!(replaced.body["properties"]["desired"].get("z"), None);

    let unknown = rig.request(Method::PATCH, "/twins/d2", &body).await;
    assert_eq!(unknown.body["Message"], "ErrorCode:DeviceNotFound;d2");
    let refused = rig.request(Method::PATCH, "/twins/d1", json!({"tags": {"a b": 1}})).await;
    assert_eq!(refused.error().code, ErrorCode::ArgumentInvalid);
    assert!(refused.error().message.contains("`a b`"), "{}", refused.text);
}

#[tokio::test]
async fn a_continuation_token_returns_the_next_page() {
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
async fn an_invalid_query_is_refused_with_a_position() {
    let rig = Rig::new();
    for (text, message) in [
        (
            "SELECT * FROM",
            "query, character 14: expected `devices`, `devices.modules` or `devices.jobs`, found the end of the query",
        ),
        ("SELECT jobId FROM devices.jobs", "query, character 8: `devices.jobs` supports `*` only"),
    ] {
        let error = rig.query(text, &[]).await.error();
        assert_eq!(error.code, ErrorCode::ArgumentInvalid);
        assert_eq!(error.message, message);
    }
    for (header, message) in [
        (("x-ms-max-item-count", "0"), "x-ms-max-item-count is not a positive integer"),
        (("x-ms-continuation", "bogus"), "x-ms-continuation is not a token of this hub"),
    ] {
        let error = rig.query("SELECT * FROM devices", &[header]).await.error();
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::ArgumentInvalid, message));
    }
    let nothing = rig.request(Method::POST, "/devices/query", json!({"text": ""})).await;
    assert_eq!(nothing.error().message, "`query` is missing or not a string");
}
