//! Tests of assignments and repeated registrations.

use protocol::mqtt5::ConnectionProfile;
use protocol::provisioning::AssignmentSubstatus as Substatus;
use protocol::provisioning::ProvisioningErrorCode;
use serde_json::Map;

use super::*;
use crate::state::Owner;

const INDIVIDUAL: EnrollmentKind = EnrollmentKind::Individual;

fn entry(key: &Key, more: Value) -> Value {
    let keys = json!({ "primaryKey": key.to_base64(), "secondaryKey": key.to_base64() });
    let mut entry = json!({ "attestation": { "type": "symmetricKey", "symmetricKey": keys } });
    entry.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    entry
}

fn key() -> Key {
    Key::from_bytes(&[7; 32]).unwrap()
}

fn report(rig: &Rig, name: &str) {
    let patch: Map<String, Value> = [(name.to_owned(), json!(true))].into_iter().collect();
    rig.state.report(&Owner::device(&"d1".parse().unwrap()), &patch).unwrap();
}

#[test]
fn a_new_device_starts_with_the_initial_twin() {
    let rig = Rig::new(DeviceAuthorities::default());
    let twin = json!({ "tags": { "floor": 2 }, "properties": { "desired": { "speed": 1 } } });
    let more = json!({ "initialTwin": twin, "capabilities": { "iotEdge": true } });
    rig.enroll(INDIVIDUAL, "d1", entry(&key(), more));
    let state = rig.register(&rig.registrant("d1", &key())).unwrap();
    assert_eq!(state.substatus, Some(Substatus::InitialAssignment));
    let twin = rig.twin("d1");
    assert_eq!(twin["tags"]["floor"], 2);
    assert_eq!(twin["properties"]["desired"]["speed"], 1);
    assert_eq!(twin["capabilities"]["iotEdge"], true);
}

#[test]
fn an_assignment_names_the_profile_if_the_api_version_has_it() {
    let rig = Rig::new(DeviceAuthorities::default());
    rig.enroll(INDIVIDUAL, "d1", entry(&key(), json!({})));
    let older = rig.registrant("d1", &key());
    let newer = Registrant { names_profile: true, ..older.clone() };
    let profile = |registrant| rig.register(registrant).unwrap().connection_profile;
    assert_eq!(profile(&newer), None, "the CONNECT of the device selects a profile");
    rig.state.profiles().set_of(&"d1".parse().unwrap(), ConnectionProfile::MqttV5);
    assert_eq!(profile(&newer).as_deref(), Some("mqttV5"));
    assert_eq!(profile(&older), None);
    let recorded = rig.answer(&newer, &DeviceRequest::Recorded);
    let recorded: RegistrationState = serde_json::from_slice(&recorded.body).unwrap();
    assert_eq!(recorded.connection_profile.as_deref(), Some("mqttV5"));
}

#[test]
fn a_repeated_registration_keeps_resets_or_migrates_the_twin_by_its_policy() {
    for (update, migrate, reported, substatus) in [
        (true, true, json!(true), Substatus::InitialAssignment),
        (false, false, json!(true), Substatus::InitialAssignment),
        (true, false, Value::Null, Substatus::DeviceDataReset),
    ] {
        let rig = Rig::new(DeviceAuthorities::default());
        let policy = json!({ "updateHubAssignment": update, "migrateDeviceData": migrate });
        let twin = json!({ "tags": { "floor": 2 } });
        let more = json!({ "reprovisionPolicy": policy, "initialTwin": twin });
        rig.enroll(INDIVIDUAL, "d1", entry(&key(), more));
        let registrant = rig.registrant("d1", &key());
        let first = rig.register(&registrant).unwrap();
        report(&rig, "seen");
        let again = rig.register(&registrant).unwrap();
        assert_eq!(again.substatus, Some(substatus));
        assert_eq!(again.created_date_time_utc, first.created_date_time_utc);
        let twin = rig.twin("d1");
        assert_eq!(twin["properties"]["reported"]["seen"], reported, "{substatus:?}");
        assert_eq!(twin["tags"]["floor"], 2);
    }
}

#[test]
fn a_device_moves_to_another_name_of_the_hub_unless_its_policy_forbids_it() {
    for (update, hub, substatus) in [
        (true, "b.local:18883", Substatus::DeviceDataMigrated),
        (false, "a.local:18883", Substatus::InitialAssignment),
    ] {
        let rig = Rig::new(DeviceAuthorities::default());
        let policy = json!({ "updateHubAssignment": update, "migrateDeviceData": update });
        let in_hub = |hub: &str| json!({ "iotHubs": [hub], "reprovisionPolicy": policy });
        rig.enroll(INDIVIDUAL, "d1", entry(&key(), in_hub("a.local")));
        let registrant = rig.registrant("d1", &key());
        let first = rig.register(&registrant).unwrap();
        assert_eq!(first.assigned_hub.as_deref(), Some("a.local:18883"));
        report(&rig, "seen");
        rig.enroll(INDIVIDUAL, "d1", entry(&key(), in_hub("b.local")));
        let again = rig.register(&registrant).unwrap();
        assert_eq!(again.assigned_hub.as_deref(), Some(hub));
        assert_eq!(again.substatus, Some(substatus));
        assert_eq!(rig.twin("d1")["properties"]["reported"]["seen"], true);
    }
}

#[test]
fn a_device_that_the_hub_knows_already_keeps_its_twin_and_gets_the_key() {
    let rig = Rig::new(DeviceAuthorities::default());
    rig.state.create_device(&"d1".parse().unwrap()).unwrap();
    report(&rig, "seen");
    rig.enroll(INDIVIDUAL, "d1", entry(&key(), json!({})));
    let state = rig.register(&rig.registrant("d1", &key())).unwrap();
    assert_eq!(state.substatus, Some(Substatus::ReprovisionedToInitialAssignment));
    assert_eq!(rig.twin("d1")["properties"]["reported"]["seen"], true);
    let device = rig.state.get(&Owner::device(&"d1".parse().unwrap())).unwrap();
    assert_eq!(*device.primary_key(), key());
}

#[test]
fn a_device_that_was_deleted_at_the_hub_is_created_again() {
    let rig = Rig::new(DeviceAuthorities::default());
    let registrant = rig.registrant("d1", &rig.with_key("d1"));
    rig.register(&registrant).unwrap();
    let owner = Owner::device(&"d1".parse().unwrap());
    rig.state.delete(&owner, &IfMatch::Any).unwrap();
    let state = rig.register(&registrant).unwrap();
    assert_eq!(state.substatus, Some(Substatus::InitialAssignment));
    assert!(rig.state.get(&owner).is_ok());
}

#[test]
fn the_hub_has_the_name_and_the_port_that_the_device_can_use() {
    let rig = Rig::new(DeviceAuthorities::default());
    let mut registrant = rig.registrant("d1", &rig.with_key("d1"));
    let mut hub = |server_name: Option<&str>, has_fixed_ports: bool| {
        let server_name = server_name.map(str::to_owned);
        registrant.peer = Peer { server_name, has_fixed_ports, ..Peer::default() };
        rig.register(&registrant).unwrap().assigned_hub.unwrap()
    };
    assert_eq!(hub(None, false), "localhost:18883");
    assert_eq!(hub(Some("b.local"), false), "b.local:18883");
    assert_eq!(hub(Some("other.local"), false), "localhost:18883");
    assert_eq!(hub(Some("a.local"), true), "a.local");
}

#[test]
fn an_enrollment_for_other_hubs_has_no_hub_to_assign() {
    let rig = Rig::new(DeviceAuthorities::default());
    let more = json!({ "iotHubs": ["other.azure-devices.net"] });
    rig.enroll(INDIVIDUAL, "d1", entry(&key(), more));
    let refused = rig.register(&rig.registrant("d1", &key()));
    assert_eq!(refused, Err(ProvisioningErrorCode::HubNotFound.number()));
}
