//! Tests that output, failed assertions and the reasons of traps are in the log.

use std::fs;

use behaviour::{BuildError, BuiltComponent, Language, build};
use serde_json::{Value, json};

use super::{expect, project};

/// Builds a new plugin whose entry file is changed by `change`. Returns `None` if the tools
/// are not available.
fn built(
    language: Language,
    change: impl FnOnce(String) -> String,
) -> Option<(tempfile::TempDir, Result<BuiltComponent, BuildError>)> {
    let (folder, options) = project(language)?;
    let dir = folder.path().join("script");
    let entry = dir.join(match language {
        Language::Go => "plugin.go",
        other => other.entry(),
    });
    fs::write(&entry, change(fs::read_to_string(&entry).unwrap())).unwrap();
    let built = build(&dir, &options);
    Some((folder, built))
}

/// Checks the status and the log of a call.
fn expect_log(built: Result<BuiltComponent, BuildError>, status: u16, log: &[Value]) {
    let built = built.unwrap_or_else(|error| {
        panic!("{error}\n{}", error.output().unwrap_or_default());
    });
    expect(&built.path, json!({ "status": status, "log": log }));
}

fn info(message: &str) -> Value {
    json!({ "level": "info", "message": message })
}

fn warn(message: &str) -> Value {
    json!({ "level": "warn", "message": message })
}

/// Returns a change that inserts statements at the start of `invoke` in C.
fn c(statements: &str) -> impl FnOnce(String) -> String {
    move |text| {
        let (before, body) = text.split_once("method_error_t *err) {").unwrap();
        format!(
            "#include <assert.h>\n#include <stdio.h>\n{before}method_error_t *err) {{\n{statements}{body}"
        )
    }
}

#[test]
fn a_guest_in_c_has_all_its_output_in_the_log() {
    let statements = r#"puts("one"); puts("two"); fputs("err\n", stderr); printf("three %d\n", 3); printf("four");"#;
    let Some((_folder, lines)) = built(Language::C, c(statements)) else { return };
    expect_log(lines, 404, &[info("one"), info("two"), warn("err"), info("three 3"), info("four")]);

    let trap = r#"printf("before the trap"); __builtin_trap();"#;
    let Some((_folder, trapped)) = built(Language::C, c(trap)) else { return };
    expect_log(trapped, 500, &[info("before the trap")]);
}

#[test]
fn a_guest_in_c_logs_a_failed_assertion_and_traps() {
    let Some((_folder, built)) = built(Language::C, c("\n#line 7\nassert(1 == 2);")) else {
        return;
    };
    let message = "Assertion failed: 1 == 2 (plugin.c: exports_device_behaviour_methods_invoke: 7)";
    expect_log(built, 500, &[warn(message)]);
}

/// A guest without output does not import WASI.
#[test]
fn a_guest_in_c_without_output_imports_no_streams() {
    let Some((_folder, built)) = built(Language::C, |text| text) else { return };
    let component = fs::read(built.unwrap().path).unwrap();
    assert!(!component.windows(5).any(|bytes| bytes == b"wasi:"));
}

#[test]
fn a_guest_in_cpp_has_all_its_output_in_the_log() {
    let statements =
        r#"std::cout << "one\n" << "two\n"; printf("three\n"); assert(name.get_view() == "y"); "#;
    let change = |text: String| {
        let start = "wit::string payload) {";
        let (before, body) = text.split_once(start).unwrap();
        format!("#include <cassert>\n#include <iostream>\n{before}{start} {statements}{body}")
    };
    let Some((_folder, built)) = built(Language::Cpp, change) else { return };
    expect_log(built, 500, &[info("one"), info("two"), info("three"), json!({ "level": "warn" })]);
}

/// Returns a change that inserts statements at the start of `invoke` in AssemblyScript.
fn assemblyscript(statements: &str) -> impl FnOnce(String) -> String {
    move |text| {
        let start = "InvokeResult {\n";
        let (before, body) = text.split_once(start).unwrap();
        format!("{before}{start}{statements}\n{body}")
    }
}

#[test]
fn a_guest_in_assemblyscript_has_a_console_random_numbers_and_trap_messages() {
    let statements = r#"
        const dice = Math.random(); assert(dice >= 0 && dice < 1 && dice != Math.random());
        console.log("one"); console.warn("two"); trace("three", 1, 1.5);
        assert(name == "y", "no y");"#;
    let Some((_folder, built)) = built(Language::AssemblyScript, assemblyscript(statements)) else {
        return;
    };
    let fields = json!({ "at": "assembly/index.ts:12:9" });
    let reason = json!({ "level": "error", "message": "no y", "fields": fields });
    let trace = json!({ "level": "trace", "message": "three 1.5" });
    expect_log(built, 500, &[info("one"), warn("two"), trace, reason]);
}

#[test]
fn a_guest_in_assemblyscript_gets_a_hint_about_globals_that_no_host_provides() {
    let statements = "if (Date.now() == 0) name = payload;";
    let Some((_folder, built)) = built(Language::AssemblyScript, assemblyscript(statements)) else {
        return;
    };
    let hint = built.unwrap_err().hint().unwrap().into_owned();
    assert_eq!(hint, "avoid `Date.now`: no host provides this import of module `env`");
}

/// Returns a change that replaces the body of `invoke` in Python.
fn python(body: &str) -> impl FnOnce(String) -> String {
    move |text| {
        let (before, _) = text.split_once("        \"\"\"`payload`").unwrap();
        format!("{before}        {body}\n")
    }
}

/// The error is not a case of `method-error`, so the tool's own code would raise `KeyError`.
#[test]
fn a_guest_in_python_reports_an_uncaught_error_of_the_host() {
    let Some((_folder, built)) = built(Language::Python, python("twin.report('[]')")) else {
        return;
    };
    let built = built.unwrap();
    let reason = "Error_Invalid(value='patch is not a JSON object')";
    let last = warn(&format!("componentize_py_types.Err: {reason}"));
    let log = json!(["...", last]);
    expect(
        &built.path,
        json!({ "status": 500, "message": format!("failed: {reason}"), "log": log }),
    );
}

/// Without the conversion, the host would report an invalid component.
#[test]
fn a_guest_in_go_can_write_strings_that_are_not_utf_8() {
    let change = |text: String| {
        let start = "(behaviour.Response, error) {\n";
        let (before, body) = text.split_once(start).unwrap();
        let write =
            r#"behaviour.LogWrite(behaviour.LogLevelInfo, "a\xffb", [][2]string{{"\xc3", ""}})"#;
        let fail = r#"if name != "y" { return behaviour.Response{Status: 200, Payload: []byte("\"\xff\"")}, nil }"#;
        format!("{before}{start}\t{write}\n{fail}\n{body}")
    };
    let Some((_folder, built)) = built(Language::Go, change) else { return };
    let log = json!([{ "message": "a\u{fffd}b", "fields": { "\u{fffd}": "" } }]);
    expect(&built.unwrap().path, json!({ "status": 200, "answer": "\u{fffd}", "log": log }));
}

#[test]
fn a_guest_in_zig_logs_the_message_of_a_panic() {
    let change = |text: String| {
        let start = "behaviour.MethodError) {\n";
        let (before, body) = text.split_once(start).unwrap();
        format!("{before}{start}    if (name.len == 1) @panic(\"why\");\n{body}")
    };
    let Some((_folder, built)) = built(Language::Zig, change) else { return };
    expect_log(built, 500, &[json!({ "level": "error", "message": "why" })]);
}

/// Returns a change that inserts statements at the start of `invoke` in Nim.
fn nim(statements: &str) -> impl FnOnce(String) -> String {
    move |text| {
        let start = "  if name != \"greet\":";
        let (before, body) = text.split_once(start).unwrap();
        format!("{before}{statements}\n{start}{body}")
    }
}

#[test]
fn a_guest_in_nim_logs_an_exception_with_its_stack_and_answers_it() {
    let statements = "  echo \"one\"\n  if parseJson(\"[1]\")[3].kind == JNull: discard";
    let Some((_folder, built)) = built(Language::Nim, nim(statements)) else { return };
    let why = "IndexDefect: index 3 not in 0 .. 0";
    let stack = json!({ "level": "error", "message": "$string" });
    let message = format!("failed: {why}");
    let built = built.unwrap();
    let log = json!([info("one"), stack]);
    expect(&built.path, json!({ "status": 500, "message": message, "log": log }));
}

#[test]
fn a_guest_in_nim_is_told_which_procedure_is_missing() {
    let change = |text: String| text.replace("proc invoke*", "proc other*");
    let Some((_folder, built)) = built(Language::Nim, change) else { return };
    let error = built.unwrap_err().to_string();
    let expected = "Error: the world exports `methods`: write `proc invoke*(name: string, payload: Json): Response`";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn a_guest_in_d_logs_a_failed_check_with_its_file_and_line() {
    let change = |text: String| {
        let start = "    alias Outcome = typeof(return);\n";
        let (before, body) = text.split_once(start).unwrap();
        format!("{before}{start}    assert(payload[99] == name[0]);\n{body}")
    };
    let Some((_folder, built)) = built(Language::D, change) else { return };
    let fields = json!({ "at": "plugin.d:12" });
    let reason =
        json!({ "level": "error", "message": "array index out of bounds", "fields": fields });
    expect_log(built, 500, &[reason]);
}

#[test]
fn a_guest_in_d_is_told_which_function_is_missing() {
    let change = |text: String| text.replace(" invoke(", " other(");
    let Some((_folder, built)) = built(Language::D, change) else { return };
    let error = built.unwrap_err().to_string();
    let expected = "the world exports `methods`: write `Result!(Response, MethodError) invoke(string name, Json payload)`\"";
    assert!(error.ends_with(expected), "{error}");
}
