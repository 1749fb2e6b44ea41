//! Tests of the credentials of devices.

use super::*;

#[test]
fn a_device_authenticates_with_either_key_or_a_policy_with_permission() {
    let state = in_memory();
    state.create_device(&id("d1")).unwrap();
    state.create_device(&id("off")).unwrap();
    state.update(&owner("off"), &request(json!({"status": "disabled"})), &IfMatch::Any).unwrap();
    let view = state.get(&owner("d1")).unwrap().identity_view();
    let key = |name: &str| -> Key {
        view["authentication"]["symmetricKey"][name].as_str().unwrap().parse().unwrap()
    };
    let (primary, secondary) = (key("primaryKey"), key("secondaryKey"));
    let device = state.policy_key("device").unwrap();
    let service = state.policy_key("service").unwrap();
    let token = |resource: &str, policy: Option<&str>, key: &Key, expiry: u64| {
        Some(sign(resource, policy, key, expiry).to_string())
    };

    for (user, password, granted) in [
        ("localhost/d1", token("localhost/devices/d1", None, &primary, 200), true),
        ("localhost/d1", token("localhost/devices/d1", None, &secondary, 200), true),
        ("LOCALHOST:28883/d1", token("localhost:28883/devices/d1", None, &primary, 200), true),
        ("127.0.0.1/d1", token("localhost/devices/d1", None, &primary, 200), true),
        ("localhost/d1", token("localhost/devices", Some("device"), device, 200), true),
        ("localhost/d1", token("localhost", Some("service"), service, 200), false),
        ("localhost/d1", token("localhost", Some("device"), &primary, 200), false),
        ("localhost/d1", token("localhost/devices/d1", None, device, 200), false),
        ("localhost/d1", token("localhost/devices/d1", None, &primary, 100), false),
        ("localhost/d1", token("localhost/devices/d", None, &primary, 200), false),
        ("localhost/d1", token("other/devices/d1", None, &primary, 200), false),
        ("other/d1", token("localhost/devices/d1", None, &primary, 200), false),
        ("localhost/d2", token("localhost/devices/d2", None, &primary, 200), false),
        ("localhost/off", token("localhost", Some("device"), device, 200), false),
        ("localhost/d1", Some("no token".into()), false),
        ("localhost/d1", None, false),
    ] {
        let user: UserName = format!("{user}/?api-version=2021-04-12").parse().unwrap();
        let outcome = state.authenticate_device(&user, &by_password(password.as_deref()), 100);
        assert_eq!(outcome.is_ok(), granted, "{user} {outcome:?}");
        if let Ok(grant) = outcome {
            assert_eq!((grant.owner.device, grant.expires_unix), (id("d1"), Some(200)));
        }
    }
}
