//! The client with a real registry: Debian's, which has no list of referrers.

use std::fs;

use behaviour_oci::artifact::{Artifact, ComponentInterfaces, Metadata};
use behaviour_oci::referrers::bundles;
use behaviour_oci::registry::{Client, ClientSettings};
use behaviour_oci::signature::{self, KeyType, PrivateKey, Refusal};
use behaviour_oci::{Digest, Reference, Source as _, resolve};

use crate::debian::DebianRegistry;
use crate::scripted::content;

/// Returns an artifact whose component has some length.
pub(crate) fn artifact(length: usize) -> Artifact {
    let metadata = Metadata {
        methods: vec!["reboot".to_owned()],
        release: length as u64,
        version: Some("1.2.3".to_owned()),
        ..Metadata::default()
    };
    let component = [&b"\0asm\x0d\0\x01\0"[..], &content(length).0].concat();
    Artifact::new(component, "reboot.wasm", ComponentInterfaces::default(), &metadata, None)
}

#[tokio::test]
async fn an_image_is_pushed_pulled_signed_and_verified() {
    let Some(registry) = DebianRegistry::with_tls() else { return };
    let client = Client::new(registry.settings()).unwrap();
    let name = registry.image(":1.2.3");
    let pushed = client.push(&name, &artifact(300_000)).await.unwrap();
    // The blobs are there already.
    assert_eq!(client.push(&name, &artifact(300_000)).await.unwrap(), pushed);

    let image = resolve(&client, &name).await.unwrap();
    assert_eq!((image.pinned, image.digest), (pushed, pushed));
    assert_eq!(Metadata::read(&image.manifest).unwrap().release, 300_000);
    let layer = image.manifest.component().unwrap();
    let file = registry.folder.path().join("reboot.wasm");
    fs::write(&file, &artifact(300_000).component[..1000]).unwrap();
    client.blob_to_file(&name, layer, &file, &|_| ()).await.unwrap();
    assert_eq!(fs::read(&file).unwrap(), artifact(300_000).component);

    let found = bundles(&client, &name, &pushed).await.unwrap();
    assert!(found.found.is_empty() && found.skipped.is_empty());
    let keys = [KeyType::P256, KeyType::Ed25519].map(|kind| PrivateKey::generate(kind).unwrap().0);
    for key in &keys {
        let bundle = signature::sign(key, &pushed, &Default::default()).unwrap();
        client.attach(&name, &image, &bundle, Some("2026-01-01T00:00:00Z")).await.unwrap();
    }
    let found = bundles(&client, &name, &pushed).await.unwrap().found;
    assert_eq!(found.len(), 2);
    for key in &keys {
        let public = key.public_key();
        let verified = signature::verify(&found, &pushed, std::slice::from_ref(public)).unwrap();
        assert_eq!(verified.key, public.id());
    }
    let (other, _) = PrivateKey::generate(KeyType::P256).unwrap();
    let refusal = signature::verify(&found, &pushed, &[other.public_key().clone()]).unwrap_err();
    assert!(matches!(refusal, Refusal::Invalid { .. }), "{refusal}");
}

#[tokio::test]
async fn a_tag_that_moves_does_not_change_the_pinned_image() {
    let Some(registry) = DebianRegistry::plain() else { return };
    let client = registry.plain_client();
    let name = registry.image(":latest");
    let first = client.push(&name, &artifact(1000)).await.unwrap();
    let second = client.push(&name, &artifact(2000)).await.unwrap();
    assert_eq!(resolve(&client, &name).await.unwrap().pinned, second);
    let pinned = name.with_digest(first);
    assert_eq!(resolve(&client, &pinned).await.unwrap().pinned, first);
    let missing = name.with_digest(Digest::of(b"missing"));
    assert_eq!(resolve(&client, &missing).await.unwrap_err().code(), "not-found");
}

#[tokio::test]
async fn a_wrong_authority_name_or_password_is_reported() {
    let Some(registry) = DebianRegistry::with_tls() else { return };
    let name = registry.image(":1.2.3");
    let settings = registry.settings();
    let code = async |settings: ClientSettings, name: &Reference| {
        let client = Client::new(settings).unwrap();
        resolve(&client, name).await.unwrap_err().code()
    };
    assert_eq!(code(settings.clone(), &name).await, "not-found");
    let without_ca = ClientSettings { ca_file: None, ..settings.clone() };
    assert_eq!(code(without_ca, &name).await, "not-trusted");
    let port = registry.name.rsplit(':').next().unwrap();
    let by_address = format!("127.0.0.1:{port}/plugins/reboot:1.2.3").parse().unwrap();
    assert_eq!(code(settings.clone(), &by_address).await, "not-trusted");
    let anonymous = ClientSettings { credentials: None, ..settings.clone() };
    assert_eq!(code(anonymous, &name).await, "unauthorized");
    let plain = ClientSettings { plain_http: vec![registry.name.clone()], ..settings.clone() };
    assert_eq!(code(plain, &name).await, "protocol");
    let auth = r#"{"username":"user","password":"wrong"}"#;
    let file = registry.folder.path().join("config.json");
    fs::write(file, format!("{{\"auths\":{{\"{}\":{auth}}}}}", registry.name)).unwrap();
    assert_eq!(code(settings, &name).await, "unauthorized");
}

#[tokio::test]
async fn a_registry_without_tls_is_named_with_a_way_out() {
    let Some(registry) = DebianRegistry::plain() else { return };
    let settings = ClientSettings { retries: 0, ..ClientSettings::default() };
    let client = Client::new(settings).unwrap();
    let error = resolve(&client, &registry.image(":1")).await.unwrap_err();
    assert_eq!(error.code(), "unavailable");
    let text = format!("{} is not available: it answers without TLS", registry.name);
    assert_eq!(error.to_string(), text);
    assert!(error.hint().unwrap().contains("--plain-http"));
}
