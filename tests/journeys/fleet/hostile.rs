//! Registries that send nonsense, too much or too little. Each answer leads to one line, and
//! nothing but the content store changes.

use std::collections::BTreeSet;
use std::path::Path;

use fixtures::WrongAnswer;
use oci::Digest;
use rig::{Settings, set, until};
use serde_json::{Map, Value, json};

use super::{Fleet, release};

/// Manifests that are signed, each with the reason of the refusal.
fn documents() -> Vec<(String, &'static str)> {
    let layer = |more: &str| {
        let digest = Digest::of(b"component");
        format!("{{\"mediaType\":\"application/wasm\",\"digest\":\"{digest}\",\"size\":9{more}}}")
    };
    let manifest = |layers: &str, more: &str| {
        let config = layer("").replace("application/wasm", "application/vnd.wasm.config.v0+json");
        format!("{{\"schemaVersion\":2,\"config\":{config},\"layers\":[{layers}]{more}}}")
    };
    let index = |entries: &str| format!("{{\"schemaVersion\":2,\"manifests\":[{entries}]}}");
    let good = manifest(&layer(""), "");
    let annotated = |name: &str, value: &str| {
        let annotations = json!({(format!("device.behaviour.{name}")): value});
        manifest(&layer(""), &format!(",\"annotations\":{annotations}"))
    };
    let deep = format!(",\"x\":{}{}", "[".repeat(500), "]".repeat(500));
    let malformed = [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        "\u{feff}{}".to_owned(),
        format!("{good} x"),
        good.replacen('{', "{\"schemaVersion\":2,", 1),
        good.replacen("\"schemaVersion\":2", "\"schemaVersion\":1", 1),
        good.replacen('{', "{\"mediaType\":\"text/html\",", 1),
        good.replace("\"config\":", "\"other\":"),
        manifest(&layer(""), ",\"manifests\":[]"),
        manifest(&layer("").replace("sha256:", "md5:"), ""),
        manifest(&layer("").replace("sha256:", "sha256:../../etc/"), ""),
        manifest(&layer("").replace(":9", ":-9"), ""),
        manifest(&layer("").replace(":9", ":9223372036854775808"), ""),
        manifest(&vec![layer(""); 300].join(","), ""),
        manifest(&layer(""), &deep),
        index(""),
        index(&[layer(""), layer("")].join(",")),
        index(&layer("").replace("application/wasm", "application/vnd.oci.image.index.v1+json")),
    ];
    let invalid = [
        manifest("", ""),
        manifest(&[layer(""), layer("")].join(","), ""),
        manifest(&layer("").replace("application/wasm", "application/gzip"), ""),
        annotated("release", "-1"),
        annotated("release", "18446744073709551616"),
        annotated("methods", "{"),
        annotated("config", "[]"),
        annotated("contract", "latest"),
    ];
    let too_large = manifest(&layer("").replace(":9", ":1099511627776"), "");
    let malformed = malformed.into_iter().map(|text| (text, "malformed-manifest"));
    let invalid = invalid.into_iter().map(|text| (text, "invalid-artifact"));
    malformed.chain(invalid).chain([(too_large, "too-large")]).collect()
}

/// Wrong answers to the request for a manifest, each with the reason of the refusal or wait.
fn answers(manifest: &[u8]) -> Vec<(WrongAnswer, &'static str)> {
    let complete = WrongAnswer::complete;
    let (longer, other) = ([manifest, b" "].concat(), vec![b' '; manifest.len()]);
    let challenge = |text: &str| complete("401 Unauthorized", text, b"");
    let redirect =
        |to: &str| complete("307 Temporary Redirect", &format!("location: {to}\r\n"), b"");
    let endless = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
    vec![
        // The body goes on after the declared length.
        (WrongAnswer::short(manifest.len() - 1, manifest), "wrong-digest"),
        (complete("200 OK", "", &longer), "wrong-digest"),
        (complete("200 OK", "", &other), "wrong-digest"),
        (complete("200 OK", "content-type: text/html\r\n", manifest), "malformed-manifest"),
        (complete("200 OK", "docker-content-digest: sha256:00\r\n", manifest), "protocol"),
        (WrongAnswer::Floods([&endless[..], &[b' '; 65536]].concat()), "too-large"),
        (complete("404 Not Found", "", b"<html>"), "not-found"),
        (complete("403 Forbidden", "", b"{\"errors\":[{\"message\":\"a\\nb\"}]}"), "denied"),
        (complete("429 Too Many Requests", "retry-after: 3600\r\n", b""), "too-many-requests"),
        (complete("418 Teapot", "", b""), "protocol"),
        (redirect("file:///etc/passwd"), "protocol"),
        (redirect("http://192.0.2.1/"), "protocol"),
        (redirect("http://["), "protocol"),
        (redirect("?again"), "protocol"),
        (challenge(""), "unauthorized"),
        (challenge("www-authenticate: Basic realm=\"\r\n"), "unauthorized"),
        (challenge("www-authenticate: Bearer\r\n"), "unauthorized"),
        (challenge("www-authenticate: Bearer realm=\"http://192.0.2.1/\"\r\n"), "unauthorized"),
        (challenge("www-authenticate: Negotiate\r\n"), "unauthorized"),
    ]
}

/// Wrong answers to the request for a component.
fn blobs(component: &[u8]) -> Vec<(WrongAnswer, &'static str)> {
    let complete = WrongAnswer::complete;
    let mut other = component.to_vec();
    other[10] ^= 1;
    let endless = b"HTTP/1.1 200 OK\r\n\r\n";
    vec![
        (complete("200 OK", "", &other), "wrong-digest"),
        (complete("200 OK", "", &component[1..]), "wrong-size"),
        (complete("200 OK", "", &[component, b"x"].concat()), "wrong-size"),
        (WrongAnswer::Floods([&endless[..], &[0; 65536]].concat()), "wrong-size"),
        (complete("206 Partial Content", "content-range: bytes 5-9/10\r\n", b"01234"), "protocol"),
        (complete("404 Not Found", "", b""), "not-found"),
    ]
}

/// Returns the files below a folder, without those of the content store.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if !path.is_dir() {
            found.insert(path.display().to_string());
        } else if !path.ends_with("content") {
            found.extend(files(&path));
        }
    }
    found
}

#[tokio::test]
async fn each_wrong_answer_is_one_line_and_changes_nothing_but_the_store() {
    let max = Settings::from([set("fleet.max_plugins", 100)]);
    let mut fleet = Fleet::start_with(|host| (host.to_owned(), max)).await;
    let one = fleet.publisher.publish("version-one.wat", &release(1)).await;
    fleet.move_to(&one).await;
    let before = files(fleet.rig.directory());

    let two = fleet.publisher.publish("version-two.wat", &release(2)).await;
    let manifest = fleet.publisher.directory().join("blobs/sha256").join(two.hex());
    let manifest = std::fs::read(manifest).unwrap();
    let mut rows = Vec::new();
    for (text, reason) in documents() {
        rows.push((fleet.publisher.publish_document(text.as_bytes()).await, reason));
    }
    let component = fixtures::guest("version-two.wat");
    let component_path = format!("/blobs/{}", Digest::of(&component));
    let (answers, blobs) = (answers(&manifest), blobs(&component));
    let first_answer = rows.len();
    rows.extend(answers.iter().chain(&blobs).map(|(_, reason)| (two, *reason)));
    let first_blob = first_answer + answers.len();
    fleet.registry.misbehave(move |path| {
        let row: usize = path.strip_prefix("/v2/plugins/row-")?.split('/').next()?.parse().ok()?;
        let wrong = match row.checked_sub(first_blob) {
            Some(blob) if path.ends_with(&component_path) => blobs.get(blob),
            None if path.contains("/manifests/") => answers.get(row.checked_sub(first_answer)?),
            _ => None,
        };
        wrong.map(|(answer, _)| answer.clone())
    });
    let entry = |(row, (digest, _)): (usize, &(Digest, &str))| {
        let image = format!("{}/plugins/row-{row}@{digest}", fleet.registry.host());
        (format!("row-{row}"), json!({"image": image, "methods": [format!("ask{row}")]}))
    };
    let entries: Map<String, Value> = rows.iter().enumerate().map(entry).collect();
    fleet.rig.service.desire(json!({"plugins": entries})).await;
    until("every row has its reason", || async {
        let reports = fleet.rig.service.reported().await["plugins"].take();
        let has_reason = |row: usize| reports[format!("row-{row}")]["reason"].is_string();
        (0..rows.len()).all(has_reason).then_some(())
    })
    .await;
    let reports = fleet.rig.service.reported().await["plugins"].take();
    let wrong = rows.iter().enumerate().filter_map(|(row, (_, reason))| {
        let report = &reports[format!("row-{row}")];
        let message = report["message"].as_str().unwrap_or_default();
        let is_one_line = (1..400).contains(&message.len()) && !message.contains(char::is_control);
        (report["reason"] != *reason || !is_one_line)
            .then(|| format!("row {row} is not {reason}: {report}"))
    });
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new());
    fleet.check_answer("one").await;

    // A running host tries some of the rows again, and its files change meanwhile.
    fleet.rig.stop_host().await.unwrap();
    let images = fleet.publisher.directory();
    let is_published = |path: &&String| Path::new(path).starts_with(images);
    let after = files(fleet.rig.directory());
    let new: Vec<_> = after.difference(&before).filter(|path| !is_published(path)).collect();
    assert_eq!(new, Vec::<&String>::new());
    let store = std::fs::read_dir(fleet.rig.data().join("content")).unwrap();
    let bytes: u64 = store.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < 1024 * 1024, "{bytes} bytes in the store");
}
