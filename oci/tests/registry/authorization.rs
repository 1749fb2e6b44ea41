//! Credentials: who gets them and who does not.

use std::fs;
use std::path::Path;

use behaviour_oci::credentials::Store;
use behaviour_oci::media_type::{MANIFEST, WASM_CONFIG};
use behaviour_oci::registry::{Client, ClientSettings};
use behaviour_oci::{Descriptor, Manifest, Source as _, resolve};
use tempfile::TempDir;

use crate::scripted::{Reply, Scripted, content, reply};

fn manifest() -> Reply {
    let (_, layer) = content(10);
    let manifest = Manifest::new(Descriptor::of(WASM_CONFIG, b"{}"), vec![layer]);
    reply(200, &[&format!("content-type: {MANIFEST}")], manifest.to_json())
}

/// Credentials for a server in a folder of their own.
fn credentials(registry: &str, entry: &str) -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    write(&file, registry, entry);
    (folder, Store::of_file(&file))
}

fn write(file: &Path, registry: &str, entry: &str) {
    fs::write(file, format!("{{\"auths\":{{\"{registry}\":{entry}}}}}")).unwrap();
}

fn client(server: &Scripted, store: Store) -> Client {
    Client::new(ClientSettings { credentials: Some(store), ..server.settings() }).unwrap()
}

/// `user:password`.
const PASSWORD: &str = r#"{"auth":"dXNlcjpwYXNzd29yZA=="}"#;
const BASIC: &str = "Basic dXNlcjpwYXNzd29yZA==";

#[tokio::test]
async fn a_password_is_sent_only_after_a_challenge() {
    let server = Scripted::start(|asked, _| match asked.header("authorization") {
        Some(BASIC) => manifest(),
        _ => reply(401, &["www-authenticate: Basic realm=\"x\""], ""),
    })
    .await;
    let (_folder, store) = credentials(&server.name, PASSWORD);
    let client = client(&server, store);
    resolve(&client, &server.image(":1")).await.unwrap();
    resolve(&client, &server.image(":2")).await.unwrap();
    let sent: Vec<bool> =
        server.asked().iter().map(|asked| asked.header("authorization").is_some()).collect();
    assert_eq!(sent, [false, true, true]);
}

#[tokio::test]
async fn missing_and_wrong_credentials_are_told_apart() {
    let server =
        Scripted::start(|_, _| reply(401, &["www-authenticate: Basic realm=\"x\""], "")).await;
    let error = resolve(&server.client(), &server.image(":1")).await.unwrap_err();
    assert!(error.to_string().ends_with("demands credentials"), "{error}");
    assert_eq!(error.hint().unwrap(), format!("`docker login {}` stores credentials", server.name));
    let (_folder, store) = credentials(&server.name, PASSWORD);
    let error = resolve(&client(&server, store), &server.image(":1")).await.unwrap_err();
    assert!(error.to_string().ends_with("does not accept the credentials"), "{error}");
    let (_folder, store) = credentials("other.example", PASSWORD);
    let error = resolve(&client(&server, store), &server.image(":1")).await.unwrap_err();
    assert!(error.to_string().ends_with("demands credentials"), "{error}");
}

/// Starts a token server, and a registry that accepts only its second token.
async fn with_tokens(first_is_stale: bool) -> (Scripted, Scripted) {
    let tokens = Scripted::start(|asked, number| match asked.method.as_str() {
        "POST" => reply(404, &[], ""),
        _ => reply(200, &[], format!("{{\"token\":\"t{number}\",\"expires_in\":300}}")),
    })
    .await;
    let challenge = format!(
        "www-authenticate: Bearer realm=\"http://{}/token\",service=\"s & t\",scope=\"repository:a/b:pull\"",
        tokens.name
    );
    let server = Scripted::start(move |asked, number| {
        let is_good = match asked.header("authorization") {
            Some(_) if first_is_stale => number > 2,
            sent => sent.is_some(),
        };
        if is_good { manifest() } else { reply(401, &[&challenge], "") }
    })
    .await;
    (tokens, server)
}

#[tokio::test]
async fn a_token_is_fetched_once_and_renewed_when_it_is_refused() {
    let (tokens, server) = with_tokens(false).await;
    let (_folder, store) = credentials(&server.name, PASSWORD);
    let client = client(&server, store);
    resolve(&client, &server.image(":1")).await.unwrap();
    resolve(&client, &server.image(":2")).await.unwrap();
    let asked = tokens.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/token?service=s+%26+t&scope=repository%3Aa%2Fb%3Apull");
    assert_eq!(asked[0].header("authorization"), Some(BASIC));
    let sent = |at: usize| server.asked()[at].header("authorization").map(str::to_owned);
    assert_eq!((sent(0), sent(1)), (None, Some("Bearer t0".to_owned())));
    assert_eq!(sent(2), sent(1));

    let (tokens, server) = with_tokens(true).await;
    let error = resolve(&server.client(), &server.image(":1")).await.unwrap_err();
    assert_eq!(error.code(), "unauthorized");
    assert_eq!(server.asked().len(), 2);
    assert_eq!(tokens.asked()[0].header("authorization"), None);
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_a_form_or_sent_as_a_password() {
    let (tokens, server) = with_tokens(false).await;
    let (_folder, store) = credentials(&server.name, r#"{"identitytoken":"a b&c"}"#);
    resolve(&client(&server, store), &server.image(":1")).await.unwrap();
    let asked = tokens.asked();
    assert_eq!(asked[0].method, "POST");
    assert!(asked[0].body.contains("refresh_token=a+b%26c"), "{}", asked[0].body);
    assert!(asked[1].header("authorization").unwrap().starts_with("Basic "));
    assert_eq!(server.asked()[1].header("authorization"), Some("Bearer t1"));
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_server() {
    let (bytes, blob) = content(100);
    let expected = bytes.clone();
    let storage = Scripted::start(move |asked, _| match asked.header("authorization") {
        None => reply(200, &[], &bytes),
        // Servers of signed URLs refuse a second authorization.
        Some(_) => reply(400, &[], ""),
    })
    .await;
    let target = format!("location: http://{}/signed?key=1", storage.name);
    let server = Scripted::start(move |asked, _| match asked.header("authorization") {
        Some(BASIC) => reply(307, &[&target], ""),
        _ => reply(401, &["www-authenticate: Basic realm=\"x\""], ""),
    })
    .await;
    let (_folder, store) = credentials(&server.name, PASSWORD);
    let client = client(&server, store);
    assert_eq!(client.blob(&server.image(""), &blob, 100).await.unwrap(), expected);
    assert_eq!(storage.asked().len(), 1);
    assert_eq!(storage.asked()[0].header("authorization"), None);
}

#[tokio::test]
async fn the_target_of_a_redirect_cannot_ask_for_credentials() {
    let storage =
        Scripted::start(|_, _| reply(401, &["www-authenticate: Basic realm=\"registry\""], ""))
            .await;
    let target = format!("location: http://{}/x", storage.name);
    let server = Scripted::start(move |_, _| reply(307, &[&target], "")).await;
    let (_folder, store) = credentials(&server.name, PASSWORD);
    let error = resolve(&client(&server, store), &server.image(":1")).await.unwrap_err();
    assert_eq!(error.code(), "unauthorized");
    assert!(storage.asked().iter().all(|asked| asked.header("authorization").is_none()));
}

#[tokio::test]
async fn malformed_challenges_and_tokens_send_nothing_secret() {
    for challenge in [
        "x: y",
        "www-authenticate: Bearer",
        "www-authenticate: Bearer realm=\"http://192.0.2.1/token\"",
        "www-authenticate: Bearer realm=\"ftp://a/token\"",
        "www-authenticate: Bearer realm=\"https://me:pw@a/token\"",
        "www-authenticate: Bearer realm=\"",
        "www-authenticate: Negotiate",
    ] {
        let server = Scripted::start(move |_, _| reply(401, &[challenge], "")).await;
        let (_folder, store) = credentials(&server.name, PASSWORD);
        let error = resolve(&client(&server, store), &server.image(":1")).await.unwrap_err();
        assert_eq!(error.code(), "unauthorized", "{challenge}");
        assert_eq!(server.asked().len(), 1);
    }
    for (status, body, code) in [
        (200, "", "protocol"),
        (200, "[]", "protocol"),
        (200, "{}", "protocol"),
        (200, r#"{"token":"secret\n"}"#, "protocol"),
        (200, r#"{"token":1}"#, "protocol"),
        (302, "", "protocol"),
        (401, "", "unauthorized"),
        (503, "", "unavailable"),
    ] {
        let tokens = Scripted::start(move |_, _| reply(status, &[], body)).await;
        let challenge = format!("www-authenticate: Bearer realm=\"http://{}/token\"", tokens.name);
        let server = Scripted::start(move |_, _| reply(401, &[&challenge], "")).await;
        let settings = ClientSettings { retries: 0, ..server.settings() };
        let client = Client::new(settings).unwrap();
        let error = resolve(&client, &server.image(":1")).await.unwrap_err();
        assert_eq!(error.code(), code, "{body}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
