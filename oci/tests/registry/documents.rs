//! Manifests, lists of referrers, redirects and refusals.

use std::time::Duration;

use behaviour_oci::media_type::{INDEX, MANIFEST, WASM_CONFIG};
use behaviour_oci::referrers::{bundles, fallback_tag};
use behaviour_oci::registry::{Client, ClientSettings, Mirror};
use behaviour_oci::signature::{self, KeyType, PrivateKey};
use behaviour_oci::{Descriptor, Digest, Index, Manifest, Source as _, SourceError, resolve};

use crate::scripted::{Reply, Scripted, content, raw, reply};

fn manifest() -> Vec<u8> {
    let (_, layer) = content(10);
    Manifest::new(Descriptor::of(WASM_CONFIG, b"{}"), vec![layer]).to_json()
}

fn as_type(media_type: &str, body: &[u8]) -> Reply {
    reply(200, &[&format!("content-type: {media_type}")], body)
}

#[tokio::test]
async fn a_tag_and_an_index_lead_to_one_manifest() {
    let entry = Descriptor {
        artifact_type: Some(WASM_CONFIG.to_owned()),
        ..Descriptor::of(MANIFEST, &manifest())
    };
    let index = Index::new(vec![entry]).to_json();
    let pinned = Digest::of(&index);
    let server = Scripted::start(move |asked, _| match asked.path.as_str() {
        "/v2/a/b/manifests/1.2.3" => as_type(INDEX, &index),
        _ => as_type(MANIFEST, &manifest()),
    })
    .await;
    let image = resolve(&server.client(), &server.image(":1.2.3")).await.unwrap();
    assert_eq!((image.pinned, image.digest), (pinned, Digest::of(&manifest())));
    let accepted = server.asked()[0].header("accept").unwrap().to_owned();
    assert!(accepted.contains(MANIFEST) && accepted.contains(INDEX), "{accepted}");
}

#[tokio::test]
async fn unusable_documents_are_refused_with_one_line() {
    let text = |text: &'static str| text.as_bytes().to_vec();
    let index = Index::new(vec![Descriptor::of(INDEX, b"[]")]).to_json();
    let long = vec![b' '; (4 << 20) + 1];
    let cases: Vec<(Reply, &str)> = vec![
        (as_type("text/html", b"<html>"), "malformed-manifest"),
        (as_type(MANIFEST, &text("{}")), "malformed-manifest"),
        (as_type(INDEX, &manifest()), "malformed-manifest"),
        (as_type(INDEX, &index), "malformed-manifest"),
        (as_type(MANIFEST, &long), "too-large"),
        (raw(200, &["content-length: 99999999999"], ""), "too-large"),
        (raw(200, &[], "").then_flood(), "too-large"),
        (reply(200, &["docker-content-digest: sha256:00"], manifest()), "protocol"),
        (reply(400, &[], "nonsense"), "protocol"),
        (reply(204, &[], ""), "malformed-manifest"),
        (reply(403, &[], r#"{"errors":[{"code":"DENIED","message":"a\u001bb"}]}"#), "denied"),
        (reply(404, &[], "<html>"), "not-found"),
        (reply(500, &[], ""), "unavailable"),
        (Reply::nothing(), "unavailable"),
        (Reply::bytes(b"SSH-2.0-OpenSSH\r\n"), "unavailable"),
    ];
    for (answer, code) in cases {
        let answer = std::sync::Arc::new(answer);
        let server = Scripted::start(move |_, _| answer.again()).await;
        let client = Client::new(ClientSettings { retries: 0, ..server.settings() }).unwrap();
        let error = resolve(&client, &server.image(":1")).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        let text = error.to_string();
        assert!(text.len() < 400 && !text.contains(['\n', '\u{1b}']), "{text}");
    }
}

#[tokio::test]
async fn a_manifest_that_moved_away_from_its_digest_is_refused() {
    let server = Scripted::start(|_, _| as_type(MANIFEST, &manifest())).await;
    let pinned = Digest::of(b"before");
    let image = server.image(&format!(":1.2.3@{pinned}"));
    let error = resolve(&server.client(), &image).await.unwrap_err();
    assert!(matches!(error, SourceError::WrongDigest { .. }), "{error}");
    assert_eq!(server.asked()[0].path, format!("/v2/a/b/manifests/{pinned}"));
    let error = resolve(&server.client(), &server.image("")).await.unwrap_err();
    assert!(error.hint().unwrap().starts_with("add a tag"), "{error}");
}

#[tokio::test]
async fn malformed_redirects_are_refused() {
    let own = Scripted::start(|_, _| reply(404, &[], "")).await;
    let cases = [
        ("location: file:///etc/passwd", "without TLS"),
        ("location: http://192.0.2.1/x", "without TLS"),
        ("location: http://me:pw@127.0.0.1/x", "without TLS"),
        ("location: http://[", "a malformed target"),
        ("x: y", "no target"),
        ("location: /v2/a/b/manifests/again", "more than 5 times"),
    ];
    for (header, problem) in cases {
        let server = Scripted::start(move |_, _| reply(307, &[header], "")).await;
        let error = resolve(&server.client(), &server.image(":1")).await.unwrap_err();
        assert!(error.to_string().contains(problem), "{header}: {error}");
        assert!(server.asked().len() <= 6);
    }
    assert!(own.asked().is_empty());
}

#[tokio::test]
async fn retry_after_is_obeyed_up_to_a_limit() {
    let server = Scripted::start(|_, number| match number {
        0 => reply(429, &["retry-after: 0"], ""),
        _ => as_type(MANIFEST, &manifest()),
    })
    .await;
    resolve(&server.client(), &server.image(":1")).await.unwrap();
    assert_eq!(server.asked().len(), 2);

    let server = Scripted::start(|_, _| reply(429, &["retry-after: 3600"], "")).await;
    let error = resolve(&server.client(), &server.image(":1")).await.unwrap_err();
    let SourceError::Busy { retry_after, .. } = error else { panic!("{error}") };
    assert_eq!(retry_after, Some(Duration::from_secs(3600)));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_mirror_is_asked_once_and_its_reason_is_in_the_error() {
    let mirror = Scripted::start(|_, _| reply(503, &[], "")).await;
    let server = Scripted::start(|_, number| match number {
        0 => as_type(MANIFEST, &manifest()),
        1 => reply(200, &[], content(10).0),
        _ => reply(404, &[], ""),
    })
    .await;
    let url = format!("http://{}", mirror.name);
    let mirrors = vec![Mirror { registry: server.name.clone(), url }];
    let client = Client::new(ClientSettings { mirrors, ..server.settings() }).unwrap();
    let (image, blob) = (server.image(":1"), content(10).1);
    resolve(&client, &image).await.unwrap();
    client.blob(&image, &blob, 10).await.unwrap();
    assert_eq!((mirror.asked().len(), server.asked().len()), (2, 2));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blob");
    let fetched = [
        resolve(&client, &image).await.map(drop),
        client.blob(&image, &blob, 10).await.map(drop),
        client.blob_to_file(&image, &blob, &file, &|_| {}).await,
    ];
    let reason = format!("; mirror {} is not available: status 503", mirror.name);
    for error in fetched.map(Result::unwrap_err) {
        assert_eq!(error.code(), "not-found");
        assert!(error.to_string().ends_with(&reason), "{error}");
    }
    assert_eq!((mirror.asked().len(), server.asked().len()), (5, 5));
}

#[tokio::test]
async fn signatures_are_found_by_the_api_page_by_page_or_by_the_tag() {
    let image = Digest::of(&manifest());
    let (key, _) = PrivateKey::generate(KeyType::P256).unwrap();
    let bundle = signature::sign(&key, &image, &Default::default()).unwrap();
    let layer = Descriptor::of("application/vnd.dev.sigstore.bundle.v0.3+json", &bundle.json);
    let mut referrer = Manifest::new(Descriptor::of("a/b", b"{}"), vec![layer]);
    referrer.subject = Some(Descriptor::of(MANIFEST, &manifest()));
    let referrer = referrer.to_json();
    let entry = Descriptor {
        artifact_type: Some("application/vnd.dev.sigstore.bundle.v0.3+json".to_owned()),
        ..Descriptor::of(MANIFEST, &referrer)
    };
    let list = Index::new(vec![entry]).to_json();
    let other = Descriptor { artifact_type: Some("x/y".to_owned()), ..Descriptor::of("a/b", b"") };
    let first = Index::new(vec![other]).to_json();
    for api in ["none", "page", "html"] {
        let (list, first, referrer, bundle) =
            (list.clone(), first.clone(), referrer.clone(), bundle.clone());
        let server = Scripted::start(move |asked, _| {
            let path = asked.path.strip_prefix("/v2/a/b/").unwrap();
            match path {
                _ if path.ends_with("?n=2") => as_type(INDEX, &list),
                _ if path.starts_with("referrers/") => match api {
                    "none" => reply(404, &[], "404 page not found"),
                    "html" => as_type("text/html", b"<html>"),
                    _ => reply(200, &["link: <?n=2>; rel=\"next\""], &first),
                },
                _ if path == format!("manifests/{}", fallback_tag(&image)) => as_type(INDEX, &list),
                _ if path.starts_with("manifests/") => as_type(MANIFEST, &referrer),
                _ => reply(200, &[], &bundle.json),
            }
        })
        .await;
        let found = bundles(&server.client(), &server.image(":1"), &image).await.unwrap();
        assert_eq!(found.found.len(), 1, "{api}: {:?}", found.skipped);
        assert!(signature::verify(&found.found, &image, &[key.public_key().clone()]).is_ok());
    }
}

#[tokio::test]
async fn a_list_of_referrers_on_another_server_or_without_end_is_refused() {
    let empty = Index::new(Vec::new()).to_json();
    for (link, problem) in [
        ("link: <https://other.example/x>; rel=next", "on another server"),
        ("link: <?again>; rel=next", "more than 16 pages"),
    ] {
        let empty = empty.clone();
        let server = Scripted::start(move |_, _| reply(200, &[link], &empty)).await;
        let subject = Digest::of(b"");
        let error = server.client().referrers(&server.image(""), &subject).await.unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
}
