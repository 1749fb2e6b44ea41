//! Tests of the values that a script passes to the host. Without the wrapper, the engine
//! would trap on an invalid value and change large numbers.

use std::fs;

use behaviour::{BuildError, BuiltComponent, Language, build};
use serde_json::json;

use super::{expect, expect_case, project};

/// Builds a script that exports `deferred`. Returns `None` if the tools are not available.
fn built(language: Language, source: &str) -> Option<(tempfile::TempDir, BuiltComponent)> {
    let (folder, options) = project(language)?;
    let dir = folder.path().join("script");
    fs::write(dir.join(language.entry()), source).unwrap();
    let world = "package device:behaviour@0.1.2;
        world mine { include behaviour; export deferred; }";
    fs::write(dir.join("wit/mine.wit"), world).unwrap();
    let described = format!("name = \"script\"\nlang = \"{language}\"\nworld = \"mine\"\n");
    fs::write(dir.join("behaviour.toml"), described).unwrap();
    let built = build(&dir, &options).unwrap_or_else(|error: BuildError| {
        panic!("{error}\n{}", error.output().unwrap_or_default())
    });
    Some((folder, built))
}

#[test]
fn a_guest_in_javascript_can_pass_and_receive_every_number_of_the_contract() {
    let source = "
        import { attempt } from 'device:behaviour/context@0.1.2';
        import { afterDelay } from 'device:behaviour/jobs@0.1.2';
        export const methods = {
          invoke() {
            for (const delay of [0, 2 ** 31 - 1, 2 ** 31, 2592000000, 2 ** 32 - 1]) afterDelay('x', 'null', delay);
            throw { tag: 'busy', val: 3e9 };
          },
        };
        export const deferred = { run() { throw { tag: 'retry', val: attempt() }; } };";
    let Some((_folder, built)) = built(Language::JavaScript, source) else { return };
    let job = |delay: u32| json!({ "name": "x", "when": format!("after-delay {delay} ms") });
    let jobs = [0, 2_147_483_647, 2_147_483_648, 2_592_000_000, u32::MAX].map(job);
    let message = "busy; try again in 3000000000 ms";
    expect(&built.path, json!({ "status": 429, "message": message, "jobs": jobs }));
    for attempt in [1, 2_147_483_648, u32::MAX] {
        let message = format!("again in {attempt} ms");
        let expected = json!({ "error": "retry", "message": message });
        expect_case(&built.path, json!({ "job": "x", "attempt": attempt, "expect": expected }));
    }
}

/// Without the checks, each value would become another number or a trap that `try` does not
/// catch.
#[test]
fn a_guest_in_javascript_can_catch_errors_about_invalid_values() {
    let source = r#"
        import { sleepMs } from 'device:behaviour/clock@0.1.2';
        import { get } from 'device:behaviour/config@0.1.2';
        import { afterDelay } from 'device:behaviour/jobs@0.1.2';
        import { write } from 'device:behaviour/log@0.1.2';
        import * as state from 'device:behaviour/state@0.1.2';
        import { send } from 'device:behaviour/telemetry@0.1.2';
        import { report } from 'device:behaviour/twin@0.1.2';
        const wrong = [
          () => afterDelay('x', 'null', -86400000), () => sleepMs(-1), () => sleepMs(2 ** 32), () => sleepMs(1.5),
          () => sleepMs(NaN), () => sleepMs('5'), () => sleepMs(5n), () => sleepMs(), () => state.set('opened', '42'),
          () => state.set('opened', [256]), () => report({ a: 1 }), () => write('warning', 'x', []),
          () => write('info', 'x', [['n', 5]]), () => write('info', 'x', [['n']]), () => write('info', 'x'),
          () => get(undefined), () => send('text', 'text/plain', []), () => report('[]'),
        ];
        export const methods = {
          invoke() {
            const said = wrong.map((call) => {
              try { call(); } catch (thrown) { return `${thrown.name}: ${thrown.message.split(':', 3).join(':')}`; }
            });
            write('info', 'half a pair \ud800', [['\udc00', '']]);
            state.set('list', [1, 255]);
            return { status: 200, payload: JSON.stringify([...said, [...state.get('list')]]) };
          },
        };"#;
    let Some((_folder, built)) = built(Language::JavaScript, source) else { return };
    let integer = "not an integer from 0 to 4294967295";
    let answer = json!([
        format!("RangeError: `afterDelay`: delayMs is -86400000, {integer}"),
        format!("RangeError: `sleepMs`: duration is -1, {integer}"),
        format!("RangeError: `sleepMs`: duration is 4294967296, {integer}"),
        format!("RangeError: `sleepMs`: duration is 1.5, {integer}"),
        format!("RangeError: `sleepMs`: duration is NaN, {integer}"),
        format!("TypeError: `sleepMs`: duration is \"5\", {integer}"),
        format!("TypeError: `sleepMs`: duration is 5n, {integer}"),
        format!("TypeError: `sleepMs`: duration is undefined, {integer}"),
        "TypeError: `set`: value is \"42\", not a Uint8Array",
        "RangeError: `set`: value[0] is 256, not an integer from 0 to 255",
        "TypeError: `report`: patch is an object, not a string",
        "TypeError: `write`: level is \"warning\", not one of trace, debug, info, warn, error",
        "TypeError: `write`: fields[0][1] is 5, not a string",
        "TypeError: `write`: fields[0] is an array of 1, not an array of 2",
        "TypeError: `write`: fields is undefined, not an array",
        "TypeError: `get`: key is undefined, not a string",
        "TypeError: `send`: body is \"text\", not a Uint8Array",
        "Error: `report`: invalid: patch is not a JSON object",
        [1, 255],
    ]);
    let log = [json!({ "message": "half a pair \u{fffd}", "fields": { "\u{fffd}": "" } })];
    expect(&built.path, json!({ "status": 200, "answer": answer, "log": log }));
}

/// An exception can be any value, and reading its properties can throw another exception.
#[test]
fn a_guest_in_javascript_fails_with_a_message_whatever_it_throws() {
    let source = r"
        const thrown = {
          number: () => ({ a: 10n }),
          json: () => ({ toJSON() { throw new Error('no'); } }),
          half: () => new Error('x\ud800'),
          refusal: () => ({ tag: 'failed', val: '\ud800' }),
          early: () => ({ tag: 'busy', val: -1 }),
          error: () => Object.assign(new Error('x'), { tag: 'failed', val: 'because' }),
          symbol: () => Symbol('s'),
          property: () => ({ get tag() { throw 'first'; } }),
        };
        export const methods = { invoke(name) { throw thrown[name](); } };";
    let Some((_folder, built)) = built(Language::JavaScript, source) else { return };
    for (method, error) in [
        ("number", "{\"a\":\"10\"}"),
        ("json", "a value of type object that cannot be converted to a string"),
        ("half", "Error: x\u{fffd} (plugin.js:5)"),
        ("refusal", "\u{fffd}"),
        ("early", "RangeError: `invoke`: refusal.val is -1, not an integer from 0 to 4294967295"),
        ("error", "because"),
        ("symbol", "Symbol(s)"),
        ("property", "first"),
    ] {
        let expected = json!({ "status": 500, "message": format!("failed: {error}") });
        expect_case(&built.path, json!({ "method": method, "expect": expected }));
    }
}

#[test]
fn a_guest_in_typescript_can_pass_large_numbers_and_catch_invalid_ones() {
    let source = "
        import { afterDelay } from 'device:behaviour/jobs@0.1.2';
        import type { Methods } from 'device:behaviour/methods@0.1.2';
        export const methods: Methods = {
          invoke() {
            afterDelay('x', 'null', 2592000000);
            afterDelay('x', 'null', -1);
            return { status: 200 };
          },
        };";
    let Some((_folder, built)) = built(Language::TypeScript, source) else { return };
    let message = "failed: RangeError: `afterDelay`: delayMs is -1, not an integer from 0 to 4294967295 (plugin.ts:7)";
    let jobs = json!([{ "name": "x", "when": "after-delay 2592000000 ms" }]);
    expect(&built.path, json!({ "status": 500, "message": message, "jobs": jobs }));
}
