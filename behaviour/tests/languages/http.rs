//! Starters that send HTTP requests.

use behaviour::{Starter, create_from};

use super::*;

/// Checks that a new plugin with HTTP builds and passes its cases.
fn check_http(language: Language) {
    let progress = |line: &str| drop(writeln!(io::stderr(), "{language}: {line}"));
    let folder = tempfile::tempdir().unwrap();
    let options = BuildOptions {
        cache_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("toolchains")),
        progress: &progress,
        target_dir: Some(folder.path().join("target")),
        out: None,
    };
    if let Err(error) = setup(language, &options) {
        assert!(std::env::var_os("CI").is_none(), "no tools for {language}: {error}");
        progress(&format!("SKIPPED, no tools: {error}"));
        return;
    }
    let plugin = folder.path().join("weather");
    create_from(&plugin, language, Starter::Http).unwrap();

    let built = build(&plugin, &options).unwrap_or_else(|error| {
        panic!("{language}: {error}\n{}", error.output().unwrap_or_default())
    });
    expect_cases(&built.path, &plugin.join("cases"));
}

#[test]
fn a_plugin_in_c_that_sends_requests_passes_its_cases() {
    check_http(Language::C);
}

#[test]
fn a_plugin_in_python_that_sends_requests_passes_its_cases() {
    check_http(Language::Python);
}

#[test]
fn a_plugin_in_rust_that_sends_requests_passes_its_cases() {
    check_http(Language::Rust);
}
