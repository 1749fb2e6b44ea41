//! Tests of the generated glue: it is reproducible and complete, and unsupported types are
//! refused.

use std::collections::BTreeSet;

use super::*;
use crate::wit;

const GENERATED: [Language; 8] = [
    Language::JavaScript,
    Language::Go,
    Language::Zig,
    Language::AssemblyScript,
    Language::TypeScript,
    Language::Lua,
    Language::C,
    Language::Cpp,
];

/// Returns a world with every interface of the contract.
fn everything() -> String {
    let exports = include_str!("../../../tests/exports/world.wit");
    exports.replace("export lifecycle;", "export lifecycle; export messages;")
}

/// Returns the glue for a world in `text`, which can refer to the contract.
fn glue(language: Language, text: &str, world: &str) -> anyhow::Result<GlueFiles> {
    Ok(generate(folder(text)?.path(), world, language, "../plugin")?.0)
}

/// Returns the modules that wrap the engine's functions for a script.
fn modules(text: &str, world: &str) -> anyhow::Result<Vec<Lent>> {
    let folder = folder(text)?;
    let (resolve, world) = parse_world(folder.path(), world)?;
    Ok(script::modules(&Contract::new(&resolve, world)?))
}

fn folder(text: &str) -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    wit::write(folder.path())?;
    fs::write(folder.path().join("mine.wit"), text)?;
    Ok(folder)
}

#[test]
fn the_same_wit_always_yields_the_same_glue() {
    for language in GENERATED {
        let first = glue(language, &everything(), "everything").unwrap();
        assert_eq!(first, glue(language, &everything(), "everything").unwrap(), "{language}");
    }
}

#[test]
fn every_function_of_every_interface_is_in_the_glue_of_each_language() {
    let functions = wit::FILES.iter().flat_map(|(_, text)| text.lines()).filter_map(|line| {
        let (name, rest) = line.trim().split_once(": func(")?;
        let _ = rest;
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-').then_some(name)
    });
    let functions: BTreeSet<&str> = functions.collect();
    assert!(functions.len() > 20, "{functions:?}");
    for language in
        [Language::Go, Language::Zig, Language::AssemblyScript, Language::TypeScript, Language::Lua]
    {
        let files = glue(language, &everything(), "everything").unwrap();
        let text: String = files.iter().map(|(_, text)| String::from_utf8_lossy(text)).collect();
        for function in &functions {
            let name = match language {
                Language::Go => contract::pascal(function),
                Language::Lua => contract::snake(function),
                _ => contract::camel(function),
            };
            assert!(text.contains(&name), "{language}: {function}");
        }
    }
}

#[test]
fn new_functions_and_types_need_no_change_in_the_generators() {
    let door = "package device:behaviour@0.1.2;
        interface door {
            record place { floor: s32, name: option<string>, keys: list<u64> }
            enum side { left, right }
            variant trouble { stuck(place), locked(side), broken }
            find: func(near: place, sides: list<side>) -> result<list<place>, trouble>;
            open: func(wide: bool, by: tuple<u8, f64>) -> option<side>;
        }
        interface bell { use door.{place, trouble}; rung: func(at: place) -> result<u32, trouble>; }
        world house { include behaviour; import door; export bell; }";
    for (language, parts) in [
        (
            Language::Go,
            [
                "func DoorFind(near DoorPlace, sides []DoorSide) ([]DoorPlace, error)",
                "Rung func(at_ DoorPlace) (uint32, error)",
            ],
        ),
        (
            Language::Zig,
            [
                "pub fn find(near: door.Place, sides: []const door.Side) Result([]const door.Place, door.Trouble)",
                "pub fn rung(at: door.Place) Result(u32, door.Trouble)",
            ],
        ),
        (
            Language::AssemblyScript,
            [
                "export function find(near: door.Place, sides: Array<door.Side> = []): Result<Array<door.Place>, door.Trouble>",
                "export class RungResult",
            ],
        ),
        (
            Language::TypeScript,
            [
                "export function find(near: Place, sides: Side[]): Place[]",
                "rung(at: Place): number",
            ],
        ),
        (
            Language::Lua,
            [
                "---@param near behaviour.DoorPlace\n---@param sides behaviour.DoorSide[]\n---@return behaviour.DoorPlace[]\nfunction door.find(near, sides) end",
                "---@field bell { rung: fun(at: behaviour.DoorPlace): integer }",
            ],
        ),
    ] {
        let files = glue(language, door, "house").unwrap();
        let text: String = files.iter().map(|(_, text)| String::from_utf8_lossy(text)).collect();
        for part in parts {
            assert!(text.contains(part), "{language}: no `{part}` in\n{text}");
        }
    }
    let modules = modules(door, "house").unwrap();
    let module = modules.iter().find(|module| module.file == "door.js").unwrap();
    for part in [
        "const DoorPlace = record({ floor: s32, name: option(text), keys: list(u64) });",
        "const DoorSide = oneOf('left', 'right');",
        "const DoorTrouble = variant({ 'stuck': DoorPlace, 'locked': DoorSide, 'broken': null });",
        "lent('find', host.find, { near: DoorPlace, sides: list(DoorSide) }, result(list(DoorPlace), DoorTrouble))",
        "lent('open', host.open, { wide: bool, by: tuple(u8, float) }, result(option(DoorSide)))",
    ] {
        assert!(module.text.contains(part), "no `{part}` in\n{}", module.text);
    }
}

#[test]
fn a_script_gets_a_module_for_each_interface_with_functions() {
    let modules = modules(&everything(), "everything").unwrap();
    let files: BTreeSet<&str> = modules.iter().map(|module| module.file.as_str()).collect();
    let all = [
        "clock",
        "config",
        "context",
        "jobs",
        "log",
        "metrics",
        "power",
        "state",
        "telemetry",
        "twin",
    ];
    assert_eq!(files, all.map(|name| format!("{name}.js")).iter().map(String::as_str).collect());
    let state = modules.iter().find(|module| module.file == "state.js").unwrap();
    assert_eq!(state.full_name, "device:behaviour/state@0.1.2");
    assert!(state.text.contains("delete_ as delete"), "{}", state.text);
}

#[test]
fn an_unsupported_type_is_refused_with_its_location() {
    let text = "package device:behaviour@0.1.2;
        interface door { resource handle; open: func() -> handle; }
        world house { include behaviour; import door; }";
    let error = glue(Language::Zig, text, "house").unwrap_err();
    assert_eq!(format!("{error:#}"), "interface `door`: WIT type `resource` is not supported");
    let text = "package device:behaviour@0.1.2;
        interface door { use types.{error}; open: func(why: error); }
        world house { include behaviour; import door; }";
    let error = glue(Language::Go, text, "house").unwrap_err();
    let expected = "interface `door`: function `open`: parameter `why`: \
                variants are not supported as parameters";
    assert_eq!(format!("{error:#}"), expected);
}

/// Packages for worlds that use more than the contract.
const OTHERS: &str = "
    package acme:door@1.0.0 { interface lock { enum side { left, right } turn: func(side: side); } }
    package wasi:io@0.2.6 { interface poll { ready: func() -> bool; } }";

#[test]
fn an_item_that_no_host_lends_or_calls_is_refused_in_one_line() {
    for (items, expected) in [
        ("import door: interface { open: func(); }", "import `door` is an inline interface"),
        ("export door: interface { open: func(); }", "export `door` is an inline interface"),
        ("import open: func();", "import `open` is a function without an interface"),
        ("export open: func();", "export `open` is a function without an interface"),
        (
            "import acme:door/lock@1.0.0;",
            "import `acme:door/lock@1.0.0` is not an interface of `device:behaviour`",
        ),
        (
            "export acme:door/lock@1.0.0;",
            "export `acme:door/lock@1.0.0` is not an interface of `device:behaviour`",
        ),
    ] {
        let text = format!(
            "package device:behaviour@0.1.2; world house {{ include behaviour; {items} }} {OTHERS}"
        );
        let expected = format!("{expected}: remove it, as {}", contract::ONLY);
        for language in [Language::Go, Language::Zig, Language::TypeScript] {
            let error = glue(language, &text, "house").unwrap_err();
            assert_eq!(format!("{error:#}"), expected, "{language}");
        }
        assert_eq!(format!("{:#}", modules(&text, "house").err().unwrap()), expected);
    }
}

#[test]
fn a_type_of_another_package_is_refused_with_its_location() {
    let text = format!(
        "package device:behaviour@0.1.2;
        interface door {{ use acme:door/lock@1.0.0.{{side}}; open: func() -> side; }}
        interface gate {{ use door.{{side}}; open: func() -> side; }}
        world house {{ include behaviour; export gate; }} {OTHERS}"
    );
    let error = glue(Language::Go, &text, "house").unwrap_err();
    let expected = ": type `side` is from package `acme:door@1.0.0`: \
                    define it in an interface of `device:behaviour`";
    assert!(format!("{error:#}").ends_with(expected), "{error:#}");
}

#[test]
fn interfaces_of_wasi_need_no_glue() {
    let text = format!(
        "package device:behaviour@0.1.2;
        world house {{ include behaviour; import wasi:io/poll@0.2.6; }} {OTHERS}"
    );
    for language in [Language::Go, Language::Zig, Language::AssemblyScript, Language::TypeScript] {
        assert!(glue(language, &text, "house").is_ok(), "{language}");
    }
}

#[test]
fn a_result_inside_another_type_is_refused() {
    for nested in [
        "option<result<u32, string>>",
        "list<result<u32, string>>",
        "tuple<u8, result<u32, string>>",
        "result<result<u32, string>, string>",
        "list<outcome>",
    ] {
        let text = format!(
            "package device:behaviour@0.1.2;
            interface door {{ type outcome = result<u32, string>; open: func() -> {nested}; }}
            world house {{ include behaviour; import door; }}"
        );
        for language in [Language::Go, Language::Zig, Language::TypeScript] {
            let error = glue(language, &text, "house").unwrap_err();
            let expected =
                "interface `door`: function `open`: results inside other types are not supported";
            assert_eq!(format!("{error:#}"), expected, "{language}: {nested}");
        }
    }
}

#[test]
fn a_result_inside_a_named_type_is_refused() {
    for definition in ["record entry { value: result }", "variant entry { value(result) }"] {
        let text = format!(
            "package device:behaviour@0.1.2;
            interface door {{ {definition} open: func() -> entry; }}
            world house {{ include behaviour; import door; }}"
        );
        let error = glue(Language::Go, &text, "house").unwrap_err();
        let expected = "interface `door`: results inside other types are not supported";
        assert_eq!(format!("{error:#}"), expected, "{definition}");
    }
}

#[test]
fn a_function_can_return_a_result_under_an_alias() {
    let text = "package device:behaviour@0.1.2;
        interface door { type outcome = result<u32, string>; open: func() -> outcome; }
        world house { include behaviour; import door; }";
    for language in [Language::Go, Language::Zig, Language::AssemblyScript, Language::TypeScript] {
        assert!(glue(language, text, "house").is_ok(), "{language}");
    }
}
