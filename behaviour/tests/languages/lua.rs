//! Tests of Lua: errors, refusals and globals.

use std::fs;

use behaviour::{BuildOptions, Language, build};
use serde_json::json;

use super::{expect, expect_case, project};

fn write(dir: &std::path::Path, invoke: &str) {
    let text = format!(
        "local clock = require 'behaviour.clock'\nlocal log = require 'behaviour.log'\n\
         local methods = {{}}\nfunction methods.invoke(name, payload)\n{invoke}\nend\n\
         return {{ methods = methods }}\n"
    );
    fs::write(dir.join("plugin.lua"), text).unwrap();
}

#[test]
fn a_guest_in_lua_gets_a_message_with_the_line_of_each_mistake() {
    let Some((folder, options)) = project(Language::Lua) else { return };
    let dir = folder.path().join("script");
    fs::write(dir.join("plugin.lua"), "local x\nx = = 1\n").unwrap();
    let error = build(&dir, &options).unwrap_err().to_string();
    assert!(error.ends_with("plugin.lua:2: unexpected symbol near '='"), "{error}");

    fs::create_dir(dir.join("door")).unwrap();
    fs::write(dir.join("door/bolt.lua"), "return { x = function(y) return y.z end }\n").unwrap();
    // Each function is on the line that its error names.
    let mistakes = [
        ("local x; return x.y", "plugin.lua:5: attempt to index a nil value (local 'x')"),
        ("require('door.bolt').x()", "door/bolt.lua:1: attempt to index a nil value (local 'y')"),
        ("require 'bolt'", "plugin.lua:7: module `bolt` not found"),
        ("return {}", "`invoke`: answer.status is nil, not an integer from 0 to 65535"),
        (
            "return { status = 200, payload = {} }",
            "`invoke`: answer.payload is a table of 0, not a string",
        ),
        (
            "error { tag = 'busy', val = -1 }",
            "`invoke`: refusal.val is -1, not an integer from 0 to 4294967295",
        ),
        (
            "log.write('warning', 'x', {})",
            "plugin.lua:11: `write`: level is \"warning\", not one of trace, debug, info, warn, error",
        ),
        (
            "log.write('info', 'x', { { 'n', 5 } })",
            "plugin.lua:12: `write`: fields[1][2] is 5, not a string",
        ),
        (
            "log.write('info', 'x', { { 'n' } })",
            "plugin.lua:13: `write`: fields[1] is a table of 1, not a list of 2",
        ),
        (
            "clock.sleep_ms(1.5)",
            "plugin.lua:14: `sleep_ms`: duration is 1.5, not an integer from 0 to 4294967295",
        ),
        ("local function f() return 1 + f() end f()", "plugin.lua:15: stack overflow"),
        ("error(setmetatable({}, { __tostring = function() return 'mine' end }))", "mine"),
    ];
    let functions = mistakes.map(|(body, _)| format!("function() {body} end,\n")).concat();
    let text = format!(
        "local clock = require 'behaviour.clock'\nlocal log = require 'behaviour.log'\n\n\
         local mistakes = {{\n{functions}}}\nlocal methods = {{}}\n\
         function methods.invoke(name, payload)\n  return mistakes[tonumber(payload)]()\nend\n\
         return {{ methods = methods }}\n"
    );
    fs::write(dir.join("plugin.lua"), text).unwrap();
    let built = build(&dir, &options).unwrap();
    for (at, (_, error)) in mistakes.iter().enumerate() {
        let message = format!("failed: {error}");
        let expected = json!({ "status": 500, "message": message, "log": [error] });
        let case = json!({ "method": "x", "payload": at + 1, "expect": expected });
        expect_case(&built.path, case);
    }
}

/// An error unwinds the stack without support of the engine.
#[test]
fn a_guest_in_lua_can_catch_errors_and_use_coroutines() {
    let Some((folder, options)) = project(Language::Lua) else { return };
    let dir = folder.path().join("script");
    write(
        &dir,
        r#"
        local caught = {}
        for i = 1, 1000 do
          local ok, err = pcall(function() if i % 2 == 0 then error { i = i } end return i end)
          caught[i] = ok and err or err.i
        end
        local sum = 0
        for i = 1, 1000 do sum = sum + caught[i] end
        local produce = coroutine.wrap(function()
          for i = 1, 3 do
            pcall(function() coroutine.yield(i) error "x" end)
          end
        end)
        local closed = {}
        do
          local x <close> = setmetatable({}, { __close = function() closed[1] = "closed" end })
        end
        local deep = select(2, xpcall(function() local x = nil + 1 end, function(e) return "seen: " .. e end))
        local sorted = { 3, 1, 2 }
        table.sort(sorted)
        print("a", nil, 1)
        local dice = { [math.random(1 << 40)] = true, [math.random(1 << 40)] = true }
        local count = 0
        for _ in pairs(dice) do count = count + 1 end
        local text = table.concat({ sum, produce(), produce(), produce(), closed[1], deep, table.concat(sorted), count }, " ")
        return { status = 200, payload = ("%q"):format(text) }"#,
    );
    let answer = "500500 1 2 3 closed seen: plugin.lua:22: attempt to perform arithmetic on a nil value 123 2";
    let log = json!([{ "level": "info", "message": "a nil 1" }]);
    let built = build(&dir, &options).unwrap();
    expect(&built.path, json!({ "status": 200, "answer": answer, "log": log }));
}

#[test]
fn a_guest_in_lua_has_json_with_exact_integers_and_empty_arrays() {
    let Some((folder, options)) = project(Language::Lua) else { return };
    let dir = folder.path().join("script");
    write(
        &dir,
        r#"
        local json = require "behaviour.json"
        local value, why = json.decode(payload)
        if why then return { status = 400, payload = json.encode(why) } end
        return { status = 200, payload = json.encode(value) }"#,
    );
    let built = build(&dir, &options).unwrap();
    for payload in [
        json!({ "big": 9007199254740993_i64, "small": 0.1, "none": null, "list": [], "object": {} }),
        json!([1, [2, [null, false]], "\u{1F600} \" \\ / \n ü"]),
        json!(false),
        json!(-0.5e-7),
    ] {
        let expected = json!({ "status": 200, "answer": payload });
        expect_case(&built.path, json!({ "method": "x", "payload": payload, "expect": expected }));
    }
}

#[test]
fn a_guest_in_lua_imports_only_the_interfaces_that_it_requires() {
    let Some((folder, options)) = project(Language::Lua) else { return };
    let dir = folder.path().join("script");
    write(&dir, "clock.sleep_ms(0)\nreturn { status = 204 }");
    let component =
        fs::read(build(&dir, &BuildOptions { out: None, ..options }).unwrap().path).unwrap();
    let names = |name: &str| component.windows(name.len()).any(|bytes| bytes == name.as_bytes());
    assert!(names("device:behaviour/clock@0.1.2"));
    assert!(!names("device:behaviour/twin@0.1.2") && !names("wasi_snapshot_preview1"));
}
