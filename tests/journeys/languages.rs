//! Tests of the reboot example in every language. It is built from its source and called
//! from the service through the hub and the host.

use std::io::{self, Write};
use std::path::Path;

use behaviour::{BuildOptions, Language, build, setup};
use rig::{Rig, config, workspace};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_in_any_language_answers_and_reports_a_reboot() {
    for language in Language::ALL.into_iter().filter(|language| *language != Language::Rust) {
        let Some(component) =
            tokio::task::spawn_blocking(move || component(language)).await.unwrap()
        else {
            continue;
        };
        let settings = [config("delay_seconds", 0)];
        let rig = Rig::new().plugin_named("reboot", component, settings).start().await;

        let answer = rig.service.call("rebootDevice", json!("now")).await.unwrap();

        assert_eq!(answer.status, 200, "{language}: {}", answer.payload);
        let response = "This is the response from the device";
        assert_eq!(answer.payload, json!({ "Response": response }), "{language}");
        let twin = rig.service.client.twin(&rig.service.device).await.unwrap();
        let time = twin.properties.reported.get("rebootTime");
        assert!(time.is_some_and(serde_json::Value::is_string), "{language}: {time:?}");
    }
}

/// Builds the example's component. If the language's tools are not available, prints a
/// message and returns `None`.
fn component(language: Language) -> Option<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let progress = |line: &str| drop(writeln!(io::stderr(), "{language}: {line}"));
    let options = BuildOptions {
        cache_dir: Some(folder.join("toolchains")),
        target_dir: Some(folder.join("languages").join(format!("{language}-journey"))),
        progress: &progress,
        out: None,
    };
    if let Err(error) = setup(language, &options) {
        assert!(std::env::var_os("CI").is_none(), "no tools for {language}: {error}");
        progress(&format!("SKIPPED, no tools: {error}"));
        return None;
    }
    let built = build(&workspace().join("examples").join(language.name()), &options);
    let built = built.unwrap_or_else(|error| {
        panic!("{language}: {error}\n{}", error.output().unwrap_or_default())
    });
    Some(built.path)
}
