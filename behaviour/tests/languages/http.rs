//! Starters that send HTTP requests.

use behaviour::{Starter, create_from};

use super::*;

/// Checks that a new plugin with HTTP builds and passes its cases. `change` changes its files
/// before.
fn check_changed(language: Language, change: impl FnOnce(&Path)) {
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
    change(&plugin);

    let built = build(&plugin, &options).unwrap_or_else(|error| {
        panic!("{language}: {error}\n{}", error.output().unwrap_or_default())
    });
    expect_cases(&built.path, &plugin.join("cases"));
    expect_no_trap(language, &built.path);
}

/// Checks that a response that is not text ends in an error, not in a trap.
fn expect_no_trap(language: Language, component: &Path) {
    let url = "https://api.example.com/weather";
    let exchange = json!({ "request": { "url": url }, "response": { "body_base64": "//4=" } });
    let case = json!({ "method": "fetch", "payload": url, "http": [exchange] });
    let case: cases::Case = serde_json::from_value(case).unwrap();
    let engine = engine(0).unwrap();
    let (_, compiled) = compile(&engine, component).unwrap();
    let verdict = case.run(&engine, "plugin", &compiled).unwrap();
    let error = verdict.steps[0].outcome.answer.as_ref().unwrap_err();
    assert!(["refused", "bad-answer"].contains(&error.code()), "{language}: {error:?}");
}

macro_rules! languages_with_http {
    ($($name:ident: $language:ident),+ $(,)?) => {
        $(#[test]
        fn $name() {
            check_changed(Language::$language, |_| {});
        })+

        #[test]
        fn every_language_is_tested_with_http() {
            let mut tested = vec![$(Language::$language),+];
            tested.sort();
            let mut all = Language::ALL.to_vec();
            all.sort();
            assert_eq!(tested, all);
        }
    };
}

languages_with_http! {
    a_guest_in_rust_that_sends_requests_passes_its_cases: Rust,
    a_guest_in_javascript_that_sends_requests_passes_its_cases: JavaScript,
    a_guest_in_typescript_that_sends_requests_passes_its_cases: TypeScript,
    a_guest_in_python_that_sends_requests_passes_its_cases: Python,
    a_guest_in_c_that_sends_requests_passes_its_cases: C,
    a_guest_in_cpp_that_sends_requests_passes_its_cases: Cpp,
    a_guest_in_zig_that_sends_requests_passes_its_cases: Zig,
    a_guest_in_go_that_sends_requests_passes_its_cases: Go,
    a_guest_in_assemblyscript_that_sends_requests_passes_its_cases: AssemblyScript,
    a_guest_in_lua_that_sends_requests_passes_its_cases: Lua,
    a_guest_in_nim_that_sends_requests_passes_its_cases: Nim,
    a_guest_in_d_that_sends_requests_passes_its_cases: D,
    a_guest_in_wat_that_sends_requests_passes_its_cases: Wat,
}

#[test]
fn a_guest_that_sends_requests_through_wasi_passes_the_same_cases() {
    check_changed(Language::Rust, |plugin| {
        let example = workspace().join("examples/wasi-http");
        for folder in ["src", "wit"] {
            copy_as_of(SystemTime::now(), &example.join(folder), &plugin.join(folder));
        }
    });
}
