//! Tests of every language: the example and a new plugin build and pass their cases.
//!
//! The tools of a language are fetched once from its registry into the target directory. If
//! they are not available, a test is skipped with a message, or fails if `CI` is set.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use behaviour::cases;
use behaviour::desk::{CallFailure, Outcome, compile, engine};
use behaviour::{BuildOptions, Language, build, create, setup};
use serde_json::{Value, json};

#[path = "languages/http.rs"]
mod http;
#[path = "languages/lua.rs"]
mod lua;
#[path = "languages/messages.rs"]
mod messages;
#[path = "languages/moved.rs"]
mod moved;
#[path = "languages/output.rs"]
mod output;
#[path = "languages/scripts.rs"]
mod scripts;
#[path = "languages/values.rs"]
mod values;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Checks that the example in a language and a new plugin pass their cases.
fn check(language: Language) {
    let cache_dir = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("toolchains"));
    // `writeln!` is not captured by the test harness, so progress is visible immediately.
    let progress = |line: &str| drop(writeln!(io::stderr(), "{language}: {line}"));
    let tools =
        BuildOptions { cache_dir: cache_dir.clone(), progress: &progress, ..Default::default() };
    if let Err(error) = setup(language, &tools) {
        assert!(std::env::var_os("CI").is_none(), "no tools for {language}: {error}");
        progress(&format!("SKIPPED, no tools: {error}"));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join(format!("new-{language}"));
    create(&new, language).unwrap();
    if matches!(language, Language::C | Language::Cpp) {
        // A file that was generated for another world must not be compiled.
        std::fs::create_dir_all(new.join("gen")).unwrap();
        std::fs::write(new.join("gen/other.c"), "#error\n").unwrap();
    }

    let example = workspace().join("examples").join(language.name());
    for (project, cases) in
        [(example, workspace().join("examples/cases")), (new.clone(), new.join("cases"))]
    {
        let target_dir =
            Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("languages").join(language.name()));
        let options = BuildOptions {
            cache_dir: cache_dir.clone(),
            target_dir,
            progress: &progress,
            out: None,
        };
        let component = build(&project, &options).unwrap_or_else(|error| {
            panic!("{}: {error}\n{}", project.display(), error.output().unwrap_or_default())
        });
        expect_cases(&component.path, &cases);
        if project == new {
            assert!(build(&project, &options).unwrap().unchanged, "built twice");
            let again = build_elsewhere(&project, &options);
            assert!(fs::read(&component.path).unwrap() == again, "two builds differ");
        }
    }
}

/// Builds a copy of a project in another folder, with files of another day and without
/// anything from an earlier build, and returns the component.
fn build_elsewhere(project: &Path, options: &BuildOptions<'_>) -> Vec<u8> {
    let other = tempfile::tempdir().unwrap();
    let copy = other.path().join("some").join("other").join(project.file_name().unwrap());
    copy_as_of(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000), project, &copy);
    let target_dir = Some(other.path().join("target"));
    let BuildOptions { cache_dir, progress, .. } = options;
    let options =
        BuildOptions { target_dir, cache_dir: cache_dir.clone(), progress: *progress, out: None };
    fs::read(build(&copy, &options).unwrap().path).unwrap()
}

fn copy_as_of(time: SystemTime, from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_as_of(time, &path, &copy);
            continue;
        }
        fs::copy(&path, &copy).unwrap();
        fs::File::options().write(true).open(&copy).unwrap().set_modified(time).unwrap();
    }
}

fn expect_cases(component: &Path, folder: &Path) {
    let engine = engine(0).unwrap();
    let (_, compiled) = compile(&engine, component).unwrap();
    let found = cases::find(folder).unwrap();
    assert!(found.len() >= 3, "no cases in {}", folder.display());
    for cases::CaseFile { name, case } in found {
        let verdict = case.and_then(|case| case.run(&engine, "plugin", &compiled)).unwrap();
        let differences: Vec<_> = verdict.differences().map(ToString::to_string).collect();
        assert!(differences.is_empty(), "{name}:\n{}", differences.join("\n"));
    }
}

macro_rules! languages {
    ($($name:ident: $language:ident),+ $(,)?) => {
        $(#[test]
        fn $name() {
            check(Language::$language);
        })+

        #[test]
        fn every_language_is_tested() {
            let mut tested = vec![$(Language::$language),+, Language::Rust];
            tested.sort();
            let mut all = Language::ALL.to_vec();
            all.sort();
            assert_eq!(tested, all);
        }
    };
}

languages! {
    a_guest_in_javascript_passes_the_cases: JavaScript,
    a_guest_in_typescript_passes_the_cases: TypeScript,
    a_guest_in_python_passes_the_cases: Python,
    a_guest_in_c_passes_the_cases: C,
    a_guest_in_cpp_passes_the_cases: Cpp,
    a_guest_in_zig_passes_the_cases: Zig,
    a_guest_in_go_passes_the_cases: Go,
    a_guest_in_assemblyscript_passes_the_cases: AssemblyScript,
    a_guest_in_lua_passes_the_cases: Lua,
    a_guest_in_nim_passes_the_cases: Nim,
    a_guest_in_d_passes_the_cases: D,
    a_guest_in_wat_passes_the_cases: Wat,
}

/// The script engine itself would stop without a message.
#[test]
fn a_guest_in_javascript_gets_a_message_for_each_mistake() {
    let Some((folder, options)) = project(Language::JavaScript) else { return };
    let dir = folder.path().join("script");
    let source = |text: &str| fs::write(dir.join("plugin.js"), text).unwrap();

    source("const methods = { invoke() {} };");
    let error = build(&dir, &options).unwrap_err().to_string();
    assert!(error.contains("the module exports no `methods` with a function `invoke`"), "{error}");

    source("const x = ;");
    let error = build(&dir, &options).unwrap_err().to_string();
    assert!(error.ends_with("[ERROR] Unexpected \";\""), "{error}");

    source("import { nowMs } from 'device:behaviour/clock@0.1.2';\nnowMs();");
    let error = build(&dir, &options).unwrap_err().to_string();
    assert!(error.contains("unknown import: `device:behaviour/clock@0.1.2#now-ms`"), "{error}");

    for (body, error) in [
        (
            "return Promise.resolve();",
            "TypeError: `invoke` returned a promise, and the host does not wait for promises",
        ),
        (
            "return {};",
            "TypeError: `invoke` returned no `{ status, payload }` with a number from 0 to 65535 as status",
        ),
        (
            "return { status: 200, payload: {} };",
            "TypeError: `invoke` returned a payload that is not a string; use JSON.stringify",
        ),
        ("throw { tag: 'failed' };", "TypeError: `invoke`: refusal.val is undefined, not a string"),
    ] {
        source(&format!("export const methods = {{ invoke() {{ {body} }} }};"));
        let message = format!("failed: {error}");
        let expected = json!({ "status": 500, "message": message, "log": [error] });
        expect(&build(&dir, &options).unwrap().path, expected);
    }
}

/// The engine has no operating system. Without the wrapper, its clock would trap, and its
/// random numbers would be the same in each call.
#[test]
fn a_guest_in_javascript_has_dates_random_numbers_a_console_and_text_codecs() {
    let Some((folder, options)) = project(Language::JavaScript) else { return };
    let script = folder.path().join("script");
    let text = r#"
        const built = [new Date(0).toISOString(), Date.now() > 0, Math.random()];
        export const methods = {
          invoke() {
            console.warn("told", { a: 1 });
            const now = new Date();
            const octets = new TextEncoder().encode("ü€😀\ud800");
            const broken = Uint8Array.of(0xef, 0xbb, 0xbf, 0xff, 0xe2, 0x82, 0x41, 0xed, 0xa0, 0x80);
            let strict;
            try { new TextDecoder("utf8", { fatal: true }).decode(broken); } catch (error) { strict = error.name; }
            const dice = [built[2], Math.random(), Math.random()];
            return { status: 200, payload: JSON.stringify({
              built: built.slice(0, 2), now: now.toISOString(), same: Date.now() === now.getTime(),
              date: now instanceof Date, given: new Date(2026, 0, 1) < now,
              octets: octets.length, text: new TextDecoder().decode(octets),
              broken: new TextDecoder().decode(broken), strict,
              dice: new Set(dice).size, within: dice.every((it) => it >= 0 && it < 1),
            }) };
          },
        };"#;
    fs::write(script.join("plugin.js"), text).unwrap();
    let answer = json!({
        "built": ["1970-01-01T00:00:00.000Z", true], "now": "2026-01-01T00:00:00.000Z",
        "octets": 12, "text": "ü€😀\u{fffd}", "strict": "TypeError",
        "broken": "\u{fffd}\u{fffd}A\u{fffd}\u{fffd}\u{fffd}",
        "same": true, "date": true, "given": false, "dice": 3, "within": true,
    });
    let log = json!([{ "level": "warn", "message": "told {\"a\":1}" }]);
    let built = build(&script, &options).unwrap();
    expect(&built.path, json!({ "status": 200, "answer": answer, "log": log }));
}

/// Creates a plugin in a folder `script`, and returns it with the options to build it. If
/// the language's tools are not available, prints a message and returns `None`.
fn project(language: Language) -> Option<(tempfile::TempDir, BuildOptions<'static>)> {
    let cache_dir = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("toolchains"));
    let options = BuildOptions { cache_dir, ..Default::default() };
    if let Err(error) = setup(language, &options) {
        assert!(std::env::var_os("CI").is_none(), "no tools: {error}");
        drop(writeln!(io::stderr(), "SKIPPED, no tools: {error}"));
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    create(&folder.path().join("script"), language).unwrap();
    Some((folder, options))
}

/// Checks the outcome of a call of any method.
fn expect(component: &Path, expected: Value) {
    expect_case(component, json!({ "method": "x", "expect": expected }));
}

fn expect_case(component: &Path, case: Value) {
    let verdict = run_case(component, &case);
    for step in &verdict.steps {
        expect_positions(&case, &step.outcome);
    }
}

/// Runs a case, which must pass.
fn run_case(component: &Path, case: &Value) -> cases::Verdict {
    let engine = engine(0).unwrap();
    let (_, compiled) = compile(&engine, component).unwrap();
    let case: cases::Case = serde_json::from_value(case.clone()).unwrap();
    let verdict = case.run(&engine, "script", &compiled).unwrap();
    let differences: Vec<_> = verdict.differences().map(ToString::to_string).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    verdict
}

/// Compares the positions in source files, which a case does not compare.
fn expect_positions(case: &Value, outcome: &Outcome) {
    let message = outcome.answer.as_ref().err().map(CallFailure::message);
    let found = texts(&json!([message, outcome.events]));
    for text in texts(&json!([case["expect"]["message"], case["expect"]["log"]])) {
        let is_placeholder = text.starts_with('$') || text == "...";
        assert!(is_placeholder || found.contains(&text), "{text} is not in {found:#?}");
    }
}

/// Returns all strings of a value.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// The example in Rust is guest-reboot; tests/reboot.rs runs the cases on it.
#[test]
fn a_new_guest_in_rust_passes_its_cases() {
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new-rust");
    create(&new, Language::Rust).unwrap();
    // The target directory is shared with guest-reboot, so that the standard library is
    // compiled at most once.
    let target_dir = Some(workspace().join("target"));
    let built = build(&new, &BuildOptions { target_dir, ..Default::default() });
    let built = built.unwrap_or_else(|error| {
        panic!("{error}\n{}", error.output().unwrap_or_default());
    });
    expect_cases(&built.path, &new.join("cases"));
}

/// Templates and examples contain only files that an author writes. A build writes the glue
/// into `gen`, which git ignores.
#[test]
fn templates_and_examples_contain_no_generated_file() {
    for (folder, max_lines) in [("behaviour/templates", 300), ("examples", 600)] {
        let files = files(&workspace().join(folder));
        assert!(files.len() > 10, "no files in {folder}");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let file = file.display();
            assert!(text.lines().count() < max_lines, "{file} is too long for a handwritten file");
            for import in ["//go:wasmimport", "@external(", "extern \"device:", "declare module"] {
                assert!(!text.contains(import), "{file} binds to the host: `{import}`");
            }
        }
    }
    let ignored = fs::read_to_string(workspace().join(".gitignore")).unwrap();
    assert!(ignored.lines().any(|line| line == "/examples/*/gen"));
    let template = workspace().join("behaviour/templates/all/gitignore");
    assert!(fs::read_to_string(template).unwrap().lines().any(|line| line == "/gen/"));
}

/// Returns the files in a folder, except build outputs.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let built = ["gen", "target", "node_modules", "__pycache__"];
    let written = folders.into_iter().filter(|folder| built.iter().all(|it| !folder.ends_with(it)));
    files.extend(written.flat_map(|folder| self::files(&folder)));
    files
}

/// Builds the plugin in `tests/exports`, which uses every interface and has every optional
/// export, and checks that it passes its cases.
fn check_exports(language: Language) {
    let cache_dir = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("toolchains"));
    let progress = |line: &str| drop(writeln!(io::stderr(), "{language}: {line}"));
    let folder = tempfile::tempdir().unwrap();
    let options = BuildOptions {
        cache_dir,
        progress: &progress,
        target_dir: Some(folder.path().join("target")),
        out: None,
    };
    if let Err(error) = setup(language, &options) {
        assert!(std::env::var_os("CI").is_none(), "no tools for {language}: {error}");
        progress(&format!("SKIPPED, no tools: {error}"));
        return;
    }
    // A new plugin provides the WIT; its source is replaced.
    let plugin = folder.path().join("plugin");
    create(&plugin, language).unwrap();
    let exports = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exports");
    fs::copy(exports.join("world.wit"), plugin.join("wit/everything.wit")).unwrap();
    let name = match language {
        Language::Go => "plugin.go",
        other => other.entry(),
    };
    fs::copy(exports.join(language.name()).join(name), plugin.join(name)).unwrap();
    let described = format!("name = \"plugin\"\nlang = \"{language}\"\nworld = \"everything\"\n");
    fs::write(plugin.join("behaviour.toml"), described).unwrap();

    let built = build(&plugin, &options);
    let built = built.unwrap_or_else(|error| {
        panic!("{language}: {error}\n{}", error.output().unwrap_or_default());
    });
    expect_cases(&built.path, &exports.join("cases"));
}

#[test]
fn a_guest_in_lua_has_every_optional_export() {
    check_exports(Language::Lua);
}

#[test]
fn a_guest_in_nim_has_every_optional_export() {
    check_exports(Language::Nim);
}

#[test]
fn a_guest_in_d_has_every_optional_export() {
    check_exports(Language::D);
}

#[test]
fn a_guest_in_go_has_every_optional_export() {
    check_exports(Language::Go);
}

#[test]
fn a_guest_in_zig_has_every_optional_export() {
    check_exports(Language::Zig);
}

#[test]
fn a_guest_in_assemblyscript_has_every_optional_export() {
    check_exports(Language::AssemblyScript);
}

#[test]
fn a_guest_in_javascript_has_every_optional_export() {
    check_exports(Language::JavaScript);
}

#[test]
fn a_guest_in_c_has_every_optional_export() {
    check_exports(Language::C);
}

#[test]
fn a_guest_in_python_has_every_optional_export() {
    check_exports(Language::Python);
}

#[test]
fn a_guest_in_typescript_has_every_optional_export() {
    check_exports(Language::TypeScript);
}
