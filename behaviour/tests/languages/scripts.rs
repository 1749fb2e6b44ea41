//! Tests of scripts: stacks, imports and types for editors.

use std::fs;

use behaviour::{Language, build};
use serde_json::{Value, json};

use super::{expect, expect_case, expect_cases, files, project, run_case};

/// The engine's own stacks name lines of the bundle.
#[test]
fn a_stack_names_the_files_and_lines_of_the_author() {
    for (language, types) in [(Language::JavaScript, ""), (Language::TypeScript, ": string")] {
        let Some((folder, options)) = project(language) else { return };
        let dir = folder.path().join("script");
        let extension = if language == Language::TypeScript { "ts" } else { "js" };
        let entry = format!("plugin.{extension}");
        let text = format!(
            "// A comment, which the bundler removes.\n\nimport {{ deep }} from './bolt';\n\n\
             export const methods = {{\n  invoke(name{types}) {{\n    return deep(name);\n  }},\n}};\n"
        );
        fs::write(dir.join(&entry), text).unwrap();
        let text =
            format!("\n\nexport function deep(name{types}) {{\n\n  throw new Error(name);\n}}\n");
        fs::write(dir.join(format!("bolt.{extension}")), text).unwrap();
        let stack = format!("at deep (bolt.{extension}:5)\\nat invoke ({entry}:7)");
        let message = format!("failed: Error: x (bolt.{extension}:5)");
        let log = [json!({ "message": "Error: x", "fields": { "stack": stack } })];
        let built = build(&dir, &options).unwrap_or_else(|error| {
            panic!("{language}: {error}\n{}", error.output().unwrap_or_default())
        });
        let failure = json!({ "status": 500, "message": message, "log": log });
        expect(&built.path, failure.clone());

        // A recorded failure passes after an edit that moves its lines.
        let moved = failure.to_string().replace(":5)", ":25)").replace(":7)", ":19)");
        let moved: Value = serde_json::from_str(&moved).unwrap();
        run_case(&built.path, &json!({ "method": "x", "expect": moved }));
    }
}

#[test]
fn a_guest_in_javascript_is_not_told_to_use_the_modules_of_node() {
    let Some((folder, options)) = project(Language::JavaScript) else { return };
    let dir = folder.path().join("script");
    fs::write(dir.join("plugin.js"), "import 'fs';\nexport const methods = {};\n").unwrap();
    let error = build(&dir, &options).unwrap_err();
    assert!(error.to_string().ends_with("[ERROR] Could not resolve \"fs\""), "{error}");
    let output = error.output().unwrap();
    assert!(output.contains("A plugin has no modules of Node.") && !output.contains("--platform"));
    fs::write(dir.join("plugin.js"), "import 'lodash/fp';\nexport const methods = {};\n").unwrap();
    let error = build(&dir, &options).unwrap_err();
    let output = error.output().unwrap();
    assert!(
        output.contains("run `npm install lodash`") && !output.contains("external"),
        "{output}"
    );
}

/// A project keeps the WIT with which it was created.
#[test]
fn a_guest_in_javascript_with_the_first_contract_passes_its_cases() {
    let Some((folder, options)) = project(Language::JavaScript) else { return };
    let dir = folder.path().join("script");
    for newer in ["wit/http.wit", "wit/messages.wit", "wit/metrics.wit"] {
        fs::remove_file(dir.join(newer)).unwrap();
    }
    let newer_items = [
        "  @since(version = 0.1.2)\n  import metrics;\n",
        "  @since(version = 0.1.2)\n  trace-parent: func() -> option<string>;\n",
    ];
    for file in files(&dir) {
        let text = fs::read_to_string(&file).unwrap().replace("@0.1.2", "@0.1.0");
        let text = newer_items.iter().fold(text, |text, item| text.replace(item, ""));
        assert!(!text.contains("0.1.2"), "{text}");
        fs::write(&file, text).unwrap();
    }
    expect_cases(&build(&dir, &options).unwrap().path, &dir.join("cases"));
}

/// The tools themselves would import the whole world.
#[test]
fn a_component_of_a_script_imports_only_the_interfaces_that_it_uses() {
    let javascript = "import { get } from 'device:behaviour/config@0.1.2';
        export const methods = { invoke: () => ({ status: 200, payload: get('x') }) };";
    let python = "import wit_world.exports
from wit_world.imports import config, types

class Methods(wit_world.exports.Methods):
    def invoke(self, name: str, payload: str):
        return types.Response(200, config.get('x'))
";
    for (language, source, without) in [
        (Language::JavaScript, javascript, &["twin", "state", "jobs", "telemetry"][..]),
        (Language::Python, python, &["twin", "state", "jobs", "telemetry", "clock", "log"][..]),
    ] {
        let Some((folder, options)) = project(language) else { return };
        let dir = folder.path().join("script");
        fs::write(dir.join(language.entry()), source).unwrap();
        let built = build(&dir, &options).unwrap_or_else(|error| {
            panic!("{language}: {error}\n{}", error.output().unwrap_or_default())
        });
        let plugins = plugin::Engine::new(&plugin::EngineSettings::default()).unwrap();
        let loaded =
            plugins.load_file("script", &built.path, plugin::PluginSettings::default()).unwrap();
        let imports = |name: &str| {
            let name = format!("device:behaviour/{name}@0.1.2");
            loaded.imports().contains(&name)
        };
        assert!(imports("config"), "{language}: {:?}", loaded.imports());
        let unused: Vec<_> = without.iter().filter(|name| imports(name)).collect();
        assert!(unused.is_empty(), "{language}: imports {unused:?}");
        let expected = json!({ "status": 200, "answer": 1 });
        expect_case(
            &built.path,
            json!({ "method": "x", "config": { "x": 1 }, "expect": expected }),
        );
    }
}

/// An editor reads `jsconfig.json` and the generated declarations, as the checker does here.
#[test]
fn a_new_guest_in_javascript_has_types_for_editors() {
    let Some((folder, options)) = project(Language::JavaScript) else { return };
    let dir = folder.path().join("script");
    build(&dir, &options).unwrap();
    let tools = options.cache_dir.unwrap();
    let check = || {
        let tsc = fs::read_dir(&tools).unwrap().map(|entry| entry.unwrap().path());
        let tsc = tsc.map(|folder| folder.join("node_modules/.bin/tsc"));
        let tsc = tsc.into_iter().find(|path| path.is_file()).unwrap();
        let mut tsc = std::process::Command::new(tsc);
        tsc.args(["--noEmit", "--pretty", "false", "--project", "jsconfig.json"]);
        let output = tsc.current_dir(&dir).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(check(), "");

    let text = fs::read_to_string(dir.join("plugin.js")).unwrap();
    fs::write(dir.join("plugin.js"), text.replace("'info'", "'warning'")).unwrap();
    let found = check();
    assert!(found.contains("plugin.js(15,11): error TS2345"), "{found}");
}
