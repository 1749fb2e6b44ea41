//! Registration of devices that sign in with a certificate.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::Rig;

#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_certificate_is_made_and_registered() {
    let rig = Rig::start().await;
    let folder = rig.folder.path().join("certificates");
    let path = folder.to_str().unwrap();

    let device = rig.json(&["devices", "create", "d1", "--x509", path]);

    assert_eq!(device["authentication"]["type"], "selfSigned");
    let key = folder.join("d1-key.pem");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let certificate = fs::read(folder.join("d1.pem")).unwrap();
    let thumbprint = trust::first_thumbprint(&certificate).unwrap();
    assert_eq!(device["authentication"]["x509Thumbprint"]["primaryThumbprint"], thumbprint);
    let identity = rig.text(&["devices", "connection-string", "d1"]);
    assert!(identity.ends_with(";DeviceId=d1;x509=true\n"), "{identity}");

    // A second attempt keeps the files of the first.
    let again = rig.run(&["devices", "create", "d1", "--x509", path]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(fs::read(folder.join("d1.pem")).unwrap(), certificate);

    let file = folder.join("d1.pem");
    let arguments = ["devices", "create", "d2", "--x509-certificate", file.to_str().unwrap()];
    let other = rig.json(&arguments);
    assert_eq!(other["authentication"]["x509Thumbprint"]["primaryThumbprint"], thumbprint);
    let signed = rig.json(&["devices", "create", "d3", "--x509-ca"]);
    assert_eq!(signed["authentication"]["type"], "certificateAuthority");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_refused_registration_are_removed() {
    let rig = Rig::start().await;
    rig.hub.create_device(&"d1".parse().unwrap()).unwrap();
    let folder = rig.folder.path().join("certificates");

    let done = rig.run(&["devices", "create", "d1", "--x509", folder.to_str().unwrap()]);

    assert_ne!(done.status.code(), Some(0));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}
