//! Removal of many devices, and tokens of the policy.

use std::time::{SystemTime, UNIX_EPOCH};

use protocol::sas::SasToken;

use super::{Rig, check};

#[tokio::test(flavor = "multi_thread")]
async fn many_devices_are_removed_only_after_a_confirmation() {
    let rig = Rig::start().await;
    let create = rig.run(&["devices", "create", "--count", "3", "--prefix", "sim-"]);
    assert_eq!(create.status.code(), Some(0));
    rig.json(&["devices", "create", "d1"]);

    let listed = rig.run(&["devices", "delete", "--prefix", "sim-"]);
    let unconfirmed = "error: 3 devices would be removed\n\
        hint: add --yes to remove these devices and their twins\n";
    check(&listed, 2, unconfirmed);
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), "sim-0001\nsim-0002\nsim-0003\n");
    assert_eq!(rig.text(&["devices", "list"]).lines().count(), 4);

    let done = rig.run(&["devices", "delete", "--prefix", "sim-", "--yes"]);
    check(&done, 0, "3 devices removed\n");
    assert_eq!(rig.json(&["devices", "list"])["deviceId"], "d1");
    check(&rig.run(&["devices", "delete", "--all", "--yes"]), 0, "1 device removed\n");
    check(&rig.run(&["devices", "delete", "--all"]), 0, "0 devices removed\n");
    assert_eq!(rig.run(&["devices", "delete"]).status.code(), Some(2));
    assert_eq!(rig.run(&["devices", "delete", "d1", "--all"]).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sas_token_has_the_requested_resource_and_lifetime() {
    let rig = Rig::start().await;
    let token: SasToken = rig.text(&["sas", "/twins/d1", "--ttl", "2h"]).trim().parse().unwrap();
    assert!(token.verify(&rig.identity.key));
    assert_eq!(token.policy(), Some("iothubowner"));
    assert!(token.covers("localhost/twins/d1/methods"));
    assert!(!token.covers("localhost/twins/d2"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!((now + 7000..=now + 7200).contains(&token.expiry()));

    let whole: SasToken = rig.text(&["sas"]).trim().parse().unwrap();
    assert!(whole.covers("localhost/$faults"));
    assert_eq!(rig.run(&["sas", "twins/d1"]).status.code(), Some(2));
    assert_eq!(rig.run(&["sas", "--ttl", "366d"]).status.code(), Some(2));
}
