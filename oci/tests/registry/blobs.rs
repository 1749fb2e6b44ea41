//! Blobs that arrive in parts, too long, too short or with other content.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use behaviour_oci::registry::{Client, ClientSettings, Mirror};
use behaviour_oci::{Descriptor, Source as _, SourceError};
use tempfile::TempDir;

use crate::scripted::{Asked, Reply, Scripted, content, raw, reply};

/// Length of the blobs of these tests.
const LENGTH: usize = 100_000;

/// A file in a folder of its own.
struct Target {
    _folder: TempDir,
    file: PathBuf,
}

impl Target {
    fn new() -> Target {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("blob");
        Target { _folder: folder, file }
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.file).unwrap()
    }

    async fn fetch(&self, client: &Client, server: &Scripted, blob: &Descriptor) -> Outcome {
        client.blob_to_file(&server.image(""), blob, &self.file, &|_| ()).await
    }
}

type Outcome = Result<(), SourceError>;

/// Returns the first byte that a request asks for.
fn start_of(asked: &Asked) -> Option<usize> {
    let range = asked.header("range")?;
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// Returns the rest of the content from the requested byte on.
fn rest(asked: &Asked, bytes: &[u8]) -> Reply {
    match start_of(asked) {
        Some(start) => {
            let range = format!("content-range: bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
            reply(206, &[&range], &bytes[start..])
        }
        None => reply(200, &[], bytes),
    }
}

#[tokio::test]
async fn a_blob_that_breaks_off_continues_where_it_stopped() {
    let (bytes, blob) = content(LENGTH);
    let expected = bytes.clone();
    let server = Scripted::start(move |asked, number| match number {
        0 => raw(200, &[&format!("content-length: {LENGTH}")], &bytes[..30_000]),
        _ => rest(asked, &bytes),
    })
    .await;
    let target = Target::new();
    target.fetch(&server.client(), &server, &blob).await.unwrap();
    assert_eq!(target.bytes(), expected);
    let starts: Vec<_> = server.asked().iter().map(start_of).collect();
    assert_eq!(starts, [None, Some(30_000)]);
}

#[tokio::test]
async fn a_request_that_fails_is_repeated_as_often_as_the_settings_say() {
    let (_, blob) = content(10);
    let server = Scripted::start(|_, _| reply(503, &[], "")).await;
    let client = Client::new(ClientSettings { retries: 2, ..server.settings() }).unwrap();
    let target = Target::new();
    target.fetch(&client, &server, &blob).await.unwrap_err();
    assert_eq!(server.asked().len(), 3);
    client.blob(&server.image(""), &blob, 10).await.unwrap_err();
    assert_eq!(server.asked().len(), 6);
}

#[tokio::test]
async fn a_file_of_an_earlier_run_is_continued_and_a_complete_one_needs_no_request() {
    let (bytes, blob) = content(LENGTH);
    let expected = bytes.clone();
    let server = Scripted::start(move |asked, _| rest(asked, &bytes)).await;
    let target = Target::new();
    fs::write(&target.file, &expected[..77]).unwrap();
    target.fetch(&server.client(), &server, &blob).await.unwrap();
    assert_eq!(target.bytes(), expected);
    target.fetch(&server.client(), &server, &blob).await.unwrap();
    assert_eq!(server.asked().len(), 1);
    assert_eq!(start_of(&server.asked()[0]), Some(77));
}

#[tokio::test]
async fn a_damaged_part_is_discarded_and_the_blob_is_fetched_from_the_start() {
    let (bytes, blob) = content(LENGTH);
    let expected = bytes.clone();
    let server = Scripted::start(move |asked, _| rest(asked, &bytes)).await;
    let target = Target::new();
    for damaged in [vec![9; 77], vec![9; LENGTH], vec![9; LENGTH + 1]] {
        fs::write(&target.file, damaged).unwrap();
        target.fetch(&server.client(), &server, &blob).await.unwrap();
        assert_eq!(target.bytes(), expected);
    }
}

#[tokio::test]
async fn a_server_without_parts_sends_the_blob_from_the_start() {
    let (bytes, blob) = content(LENGTH);
    let expected = bytes.clone();
    let server = Scripted::start(move |_, _| reply(200, &[], &bytes)).await;
    let target = Target::new();
    fs::write(&target.file, &expected[..77]).unwrap();
    target.fetch(&server.client(), &server, &blob).await.unwrap();
    assert_eq!(target.bytes(), expected);
}

#[tokio::test]
async fn wrong_answers_to_a_request_for_a_part_are_refused() {
    let cases = [
        (reply(206, &["content-range: bytes 0-9/10"], "0123456789"), "another part"),
        (reply(206, &[], "0123456789"), "another part"),
        (reply(206, &["content-range: bytes x"], ""), "another part"),
        (reply(416, &[], ""), "does not have byte 77"),
    ];
    for (answer, problem) in cases {
        let (bytes, blob) = content(LENGTH);
        let server = Scripted::start(move |_, _| answer.again()).await;
        let target = Target::new();
        fs::write(&target.file, &bytes[..77]).unwrap();
        let error = target.fetch(&server.client(), &server, &blob).await.unwrap_err();
        assert_eq!(error.code(), "protocol");
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[tokio::test]
async fn a_blob_with_another_length_or_content_is_refused() {
    let (_, blob) = content(LENGTH);
    let length = format!("content-length: {LENGTH}");
    let chunk = format!("{:x}\r\n", LENGTH + 1);
    let too_long = [chunk.as_bytes(), &vec![b'x'; LENGTH + 1], b"\r\n0\r\n\r\n"].concat();
    let other = vec![b'x'; LENGTH];
    let cases = [
        (reply(200, &[], "short"), "wrong-size"),
        (raw(200, &["content-length: 99999999999"], "x"), "wrong-size"),
        (raw(200, &["transfer-encoding: chunked"], &too_long), "wrong-size"),
        (raw(200, &[], "").then_flood(), "wrong-size"),
        (raw(200, &[&length], &other), "wrong-digest"),
        (raw(200, &["content-length: -1"], "x"), "unavailable"),
        (raw(200, &["content-length: 1", "content-length: 2"], "x"), "unavailable"),
    ];
    for (answer, code) in cases {
        let server = Scripted::start(move |_, _| answer.again()).await;
        let target = Target::new();
        let error = target.fetch(&server.client(), &server, &blob).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(target.bytes().len() <= LENGTH);
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[tokio::test]
async fn a_blob_larger_than_the_limit_is_not_requested() {
    let (_, mut blob) = content(LENGTH);
    let server = Scripted::start(|_, _| reply(500, &[], "")).await;
    let target = Target::new();
    blob.size = 1 << 40;
    let error = target.fetch(&server.client(), &server, &blob).await.unwrap_err();
    assert_eq!(error.code(), "too-large");
    let error = server.client().blob(&server.image(""), &blob, 100).await.unwrap_err();
    assert_eq!(error.code(), "too-large");
    assert!(server.asked().is_empty() && !target.file.exists());
}

#[tokio::test]
async fn a_registry_that_stops_in_mid_blob_is_left_and_the_part_is_kept() {
    let (bytes, blob) = content(LENGTH);
    let expected = bytes[..40_000].to_vec();
    let length = format!("content-length: {LENGTH}");
    let server = Scripted::start(move |asked, _| match start_of(asked) {
        None => raw(200, &[&length], &bytes[..40_000]).then_stall(),
        Some(_) => raw(206, &["content-range: bytes 40000-99999/100000"], "").then_stall(),
    })
    .await;
    let settings = ClientSettings { timeout: Duration::from_millis(300), ..server.settings() };
    let target = Target::new();
    let error = target.fetch(&Client::new(settings).unwrap(), &server, &blob).await.unwrap_err();
    assert_eq!(error.code(), "timed-out");
    assert!(error.is_transient());
    assert_eq!(target.bytes(), expected);
}

#[tokio::test]
async fn a_small_blob_is_checked_too() {
    let (bytes, blob) = content(500);
    let mut other = bytes.clone();
    other[1] ^= 1;
    let answers = [bytes.clone(), other, bytes[1..].to_vec(), [&bytes[..], b"x"].concat()];
    let server = Scripted::start(move |_, number| reply(200, &[], &answers[number])).await;
    let fetch = async || server.client().blob(&server.image(""), &blob, 500).await;
    assert_eq!(fetch().await.unwrap(), bytes);
    assert_eq!(fetch().await.unwrap_err().code(), "wrong-digest");
    assert_eq!(fetch().await.unwrap_err().code(), "wrong-size");
    assert_eq!(fetch().await.unwrap_err().code(), "wrong-size");
}

#[tokio::test]
async fn a_mirror_comes_first_and_the_registry_takes_over() {
    let (bytes, blob) = content(LENGTH);
    let expected = bytes.clone();
    let server = Scripted::start(move |asked, _| rest(asked, &bytes)).await;
    let broken = Scripted::start(|_, _| reply(404, &[], "")).await;
    let lying = Scripted::start(|_, _| reply(200, &[], vec![0; LENGTH])).await;
    let mirror = |url: String| Mirror { registry: server.name.clone(), url };
    let mirrors = vec![
        mirror(format!("http://{}/hub", broken.name)),
        mirror(format!("http://{}", lying.name)),
        // Nothing listens on this port.
        mirror("http://127.0.0.1:1".to_owned()),
    ];
    let client = Client::new(ClientSettings { mirrors, retries: 0, ..server.settings() }).unwrap();
    let target = Target::new();
    target.fetch(&client, &server, &blob).await.unwrap();
    assert_eq!(target.bytes(), expected);
    assert_eq!(broken.asked()[0].path, format!("/hub/v2/a/b/blobs/{}", blob.digest));
    assert_eq!((lying.asked().len(), server.asked().len()), (1, 1));
}
