//! Tests of the state on disk.

use super::*;

#[test]
fn a_restart_restores_everything_but_connection_states() {
    let dir = tempfile::tempdir().unwrap();
    let open = || State::open(Some(dir.path()), hosts()).unwrap();
    let state = open();
    state.create_device(&id("d1")).unwrap();
    state.create_device(&id("gone")).unwrap();
    state.create(&owner("d1/m"), &IdentityRequest::default()).unwrap();
    state.create(&owner("gone/m"), &IdentityRequest::default()).unwrap();
    patch(&state, "d1", json!({"tags": {"t": 1}, "properties": {"desired": {"a": 1}}}), "*")
        .unwrap();
    state.report(&Owner::device(&id("d1")), &object(json!({"r": true}))).unwrap();
    let filters = [("$iothub/methods/POST/#", 1), ("$iothub/twin/res/#", 0)]
        .map(|(filter, qos)| (filter.parse::<Filter>().unwrap(), qos));
    state.set_subscriptions(&Owner::device(&id("d1")), &filters);
    state.set_subscriptions(&Owner::device(&id("gone")), &filters);
    state.delete(&owner("gone"), &IfMatch::Any).unwrap();
    let owner_key = state.policy_key("iothubowner").cloned();
    let before: Vec<Value> = ["d1", "d1/m"].iter().map(|name| twin(&state, name)).collect();
    let identity = state.get(&owner("d1")).unwrap().identity_view();
    state.set_connected(&Owner::device(&id("d1")), true);
    drop(state);

    let state = open();

    let after: Vec<Value> = ["d1", "d1/m"].iter().map(|name| twin(&state, name)).collect();
    for (before, mut after) in before.into_iter().zip(after) {
        after["lastActivityTime"] = before["lastActivityTime"].clone();
        assert_eq!(after, before);
    }
    let found = state.get(&owner("d1")).unwrap().identity_view();
    assert_eq!(found["authentication"], identity["authentication"]);
    assert_eq!(found["etag"], identity["etag"]);
    assert_eq!(found["connectionState"], "Disconnected");
    assert_eq!(state.subscriptions(&Owner::device(&id("d1"))), filters);
    assert_eq!(state.policy_key("iothubowner").cloned(), owner_key);
    assert!(state.get(&owner("gone")).is_err());
    state.create_device(&id("gone")).unwrap();
    assert!(state.subscriptions(&Owner::device(&id("gone"))).is_empty());
}

#[test]
fn a_corrupt_record_is_reported_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let record =
        RecordChange { kind: RecordKind::Twin, key: "d1".into(), value: Some(b"{".to_vec()) };
    store.write(vec![record]).wait().unwrap();
    drop(store);

    let error = State::open(Some(dir.path()), hosts()).err().unwrap().to_string();

    let path = dir.path().join("hub.redb");
    assert_eq!(
        error,
        format!(
            "state file `{}` is damaged: twins `d1`: EOF while parsing an object at line 1 column 1",
            path.display()
        )
    );
}
