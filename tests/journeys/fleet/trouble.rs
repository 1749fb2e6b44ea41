//! Trouble with the registry, the disk and the clock. The device goes on with the version that it
//! has, says why in one line, and moves on by itself afterwards.

use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use fixtures::{WrongAnswer, guest};
use oci::Digest;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rig::{Settings, set};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{Fleet, release};

impl Fleet {
    /// Publishes two versions, and moves the device to the first one. Returns the digest of the
    /// other.
    async fn between_two_versions(&self) -> Digest {
        let one = self.publisher.publish("version-one.wat", &release(1)).await;
        self.move_to(&one).await;
        self.publisher.publish("version-two.wat", &release(2)).await
    }

    /// Waits until the device reports why it has not moved on, and checks that it answers with
    /// version one.
    async fn check_stays(&self, wanted: &Digest, reason: &str, message: &str) {
        self.desire(json!({"image": self.publisher.image(wanted)})).await;
        self.rig.until_reported("/plugins/p/reason", &json!(reason)).await;
        let report = self.rig.service.reported().await["plugins"]["p"].take();
        let found = report["message"].as_str().unwrap();
        assert!(found.contains(message) && !found.contains('\n'), "{found}");
        assert_eq!(report["digest"], json!(wanted));
        assert!(report["runningDigest"].is_string(), "{report}");
        self.check_answer("one").await;
    }

    async fn check_moves_on(&self, wanted: &Digest) {
        self.until_state("active", wanted).await;
        self.check_answer("two").await;
    }
}

#[tokio::test]
async fn a_registry_that_is_down_is_asked_again() {
    let fleet = Fleet::start().await;
    let two = fleet.between_two_versions().await;
    fleet.registry.misbehave(|_| Some(WrongAnswer::Ends(Vec::new())));
    fleet.check_stays(&two, "unavailable", "is not available").await;
    fleet.registry.recover();
    fleet.check_moves_on(&two).await;
}

#[tokio::test]
async fn a_registry_that_stops_in_mid_blob_is_asked_for_the_rest() {
    let fleet = Fleet::start().await;
    let two = fleet.between_two_versions().await;
    let component = guest("version-two.wat");
    let component_path = format!("/blobs/{}", Digest::of(&component));
    fleet.registry.misbehave(move |path| {
        let half = &component[..component.len() / 2];
        let answer = || WrongAnswer::short(component.len(), half);
        path.ends_with(&component_path).then(answer)
    });
    fleet.check_stays(&two, "unavailable", "is not available").await;
    fleet.registry.recover();
    fleet.check_moves_on(&two).await;
}

#[tokio::test]
async fn a_full_disk_leaves_the_version_in_force() {
    let fleet = Fleet::start().await;
    let two = fleet.between_two_versions().await;
    let component = Digest::of(&guest("version-two.wat"));
    let part = fleet.rig.data().join("content").join(component.hex()).with_extension("part");
    // Each write to this device fails as on a full disk.
    symlink("/dev/full", &part).unwrap();
    fleet.check_stays(&two, "disk-full", "No space left on device").await;
    std::fs::remove_file(&part).unwrap();
    fleet.check_moves_on(&two).await;
}

/// Listens as a registry whose certificate was valid between two years. Returns its port, the
/// certificate of its authority, and its task.
async fn registry_of_another_time(years: [i32; 2]) -> (u16, String, JoinSet<()>) {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = CertifiedIssuer::self_signed(parameters, key).unwrap();
    let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.not_before = date_time_ymd(years[0], 1, 1);
    parameters.not_after = date_time_ymd(years[1], 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            // A client that does not trust the certificate ends the handshake.
            drop(acceptor.accept(client).await);
        }
    });
    (port, authority.pem(), tasks)
}

#[tokio::test]
async fn a_wrong_clock_leaves_the_version_in_force() {
    // A clock in the future sees a certificate of the past, and the other way round.
    for years in [[1990, 2000], [2500, 2600]] {
        let (port, authority, _tasks) = registry_of_another_time(years).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, authority).unwrap();
        let fleet = Fleet::start_with(|mirror| {
            let name = format!("localhost:{port}");
            let settings = [
                set("host.registry.ca_file", file.to_str().unwrap()),
                // The first version comes from here.
                set("host.registry.mirrors", json!({(name.as_str()): [mirror]})),
            ];
            (name, settings.into())
        })
        .await;
        let two = fleet.between_two_versions().await;
        fleet.registry.misbehave(|_| Some(WrongAnswer::Ends(Vec::new())));
        fleet.check_stays(&two, "not-trusted", "or this machine's clock is wrong").await;
    }
}

#[tokio::test]
async fn a_mirror_stands_in_for_its_registry() {
    // Nothing listens on this port.
    let dead = "127.0.0.1:1";
    let fleet = Fleet::start_with(|mirror| {
        let mirrors = json!({dead: [mirror]});
        (dead.to_owned(), Settings::from([set("host.registry.mirrors", mirrors)]))
    })
    .await;
    let two = fleet.between_two_versions().await;
    fleet.move_to(&two).await;
    fleet.check_answer("two").await;
}

#[tokio::test]
async fn a_device_without_a_network_uses_its_offline_directory() {
    let offline = || Settings::from([set("host.registry.offline_directory", "images")]);
    let fleet = Fleet::start_with(|host| (host.to_owned(), offline())).await;
    fleet.registry.misbehave(|_| Some(WrongAnswer::Ends(Vec::new())));
    let two = fleet.between_two_versions().await;
    fleet.move_to(&two).await;
    fleet.check_answer("two").await;
    assert_eq!(fleet.registry.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_version_that_is_wanted_again_needs_no_registry() {
    let fleet = Fleet::start().await;
    let two = fleet.between_two_versions().await;
    fleet.move_to(&two).await;
    fleet.registry.misbehave(|_| Some(WrongAnswer::Ends(Vec::new())));
    let asked = fleet.registry.asked().len();
    let image = fleet.publisher.image(&two);
    fleet.desire(json!({"image": image, "config": {"greeting": "hi"}})).await;
    fleet.rig.until_reported("/plugins/p/version", &json!(3)).await;
    fleet.until_state("active", &two).await;
    fleet.check_answer("two").await;
    assert_eq!(fleet.registry.asked().len(), asked);

    // A damaged manifest in the store is fetched again.
    let manifest = fleet.rig.data().join("content").join(two.hex()).with_extension("json");
    std::fs::write(manifest, "{}").unwrap();
    fleet.registry.recover();
    fleet.desire(json!({"image": image, "config": {"greeting": "hello"}})).await;
    fleet.rig.until_reported("/plugins/p/version", &json!(4)).await;
    let again: Vec<Value> = fleet.registry.asked()[asked..].iter().map(|it| json!(it)).collect();
    assert_eq!(again, [json!(format!("/v2/plugins/p/manifests/{two}"))]);
}
