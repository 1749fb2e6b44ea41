//! Tests of the registry of devices and modules.

use super::*;

#[test]
fn missing_keys_are_generated_and_survive_updates() {
    let state = in_memory();
    let empty = json!({"symmetricKey": {"primaryKey": "", "secondaryKey": ""}, "type": "sas"});
    let created = state.create(&owner("d1"), &request(json!({"authentication": empty}))).unwrap();
    let view = created.identity_view();
    let keys = &view["authentication"]["symmetricKey"];
    assert_eq!(keys["primaryKey"].as_str().map(str::len), Some(44));
    assert_ne!(keys["primaryKey"], keys["secondaryKey"]);

    let same = request(json!({"status": "disabled", "authentication": empty}));
    let changed = state.update(&owner("d1"), &same, &IfMatch::Any).unwrap();
    assert_eq!(changed.identity_view()["authentication"], view["authentication"]);
    assert!(!changed.is_enabled());
    assert_ne!(changed.identity_etag(), created.identity_etag());

    let own = json!({"authentication": {"symmetricKey": {"primaryKey": "c2VjcmV0"}}});
    let changed = state.update(&owner("d1"), &request(own), &IfMatch::Any).unwrap();
    assert_eq!(changed.primary_key().to_base64(), "c2VjcmV0");
    assert_eq!(
        changed.identity_view()["authentication"]["symmetricKey"]["secondaryKey"],
        keys["secondaryKey"]
    );

    let bad = request(json!({"authentication": {"symmetricKey": {"primaryKey": "???"}}}));
    let error = state.update(&owner("d1"), &bad, &IfMatch::Any).unwrap_err();
    assert_eq!(error.message, "primaryKey is not a base64 key");
}

#[test]
fn ids_are_unique_and_deleting_a_device_deletes_its_modules() {
    let state = in_memory();
    let generation =
        |state: &State| state.get(&owner("d1")).unwrap().identity_view()["generationId"].clone();
    state.create_device(&id("d1")).unwrap();
    let first = generation(&state);
    state.create(&owner("d1/m"), &IdentityRequest::default()).unwrap();

    let codes = [
        state.create_device(&id("d1")).unwrap_err().code,
        state.create(&owner("d1/m"), &IdentityRequest::default()).unwrap_err().code,
        state.create(&owner("d2/m"), &IdentityRequest::default()).unwrap_err().code,
        state.delete(&owner("d2"), &IfMatch::Any).unwrap_err().code,
        state.delete(&owner("d1"), &IfMatch::parse(Some("\"old\""))).unwrap_err().code,
    ];
    assert_eq!(
        codes,
        [
            ErrorCode::DeviceAlreadyExists,
            ErrorCode::ModuleAlreadyExistsOnDevice,
            ErrorCode::DeviceNotFound,
            ErrorCode::DeviceNotFound,
            ErrorCode::PreconditionFailed,
        ]
    );

    state.delete(&owner("d1"), &IfMatch::Any).unwrap();
    assert_eq!(state.get(&owner("d1/m")).err().unwrap().code, ErrorCode::ModuleNotFound);
    state.create_device(&id("d1")).unwrap();
    assert_ne!(generation(&state), first);
    assert!(state.modules(&id("d1")).unwrap().is_empty());
}

#[test]
fn modules_follow_their_device_in_the_registry() {
    let state = in_memory();
    for device in ["a", "a.b", "ab"] {
        state.create_device(&id(device)).unwrap();
        state.create(&owner(&format!("{device}/m")), &IdentityRequest::default()).unwrap();
    }

    for device in ["a", "a.b", "ab"] {
        let modules = state.modules(&id(device)).unwrap();
        assert_eq!(modules.len(), 1, "{device}");
        assert_eq!(modules[0].owner.device.as_str(), device);
    }
    let devices: Vec<String> =
        state.devices(2).iter().map(|entity| entity.owner.to_string()).collect();
    assert_eq!(devices, ["a", "a.b"]);
    assert_eq!(state.after(Some(&owner("a.b"))).len(), 3);
}
