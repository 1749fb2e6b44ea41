//! Plugins that receive messages.

use super::*;

/// Builds a plugin with this source, which fails each message, and expects the reason.
fn check_failure(language: Language, source: &str, reason: &str) {
    let Some((folder, options)) = project(language) else { return };
    let dir = folder.path().join("script");
    let world = "package device:behaviour@0.1.2;\n\
                 world receiving {\n  include behaviour;\n  export messages;\n}\n";
    fs::write(dir.join("wit/receiving.wit"), world).unwrap();
    let described = format!("name = \"script\"\nlang = \"{language}\"\nworld = \"receiving\"\n");
    fs::write(dir.join("behaviour.toml"), described).unwrap();
    fs::write(dir.join(language.entry()), source).unwrap();
    let built = build(&dir, &options).unwrap_or_else(|error| {
        panic!("{language}: {error}\n{}", error.output().unwrap_or_default())
    });
    let expected = json!({ "error": "other", "message": reason, "log": ["..."] });
    expect_case(&built.path, json!({ "message": { "body": "x" }, "expect": expected }));
}

#[test]
fn the_exception_of_a_receiver_in_javascript_is_its_reason() {
    let source = "export const methods = { invoke: () => ({ status: 204 }) };
export const messages = {
  receive() {
    throw new Error('why it failed');
  },
};
";
    check_failure(Language::JavaScript, source, "Error: why it failed (plugin.js:4)");
}

#[test]
fn the_uncaught_error_of_a_receiver_in_python_is_its_reason() {
    let source = "import wit_world.exports
from componentize_py_types import Err
from wit_world.imports import types

class Methods(wit_world.exports.Methods):
    def invoke(self, name: str, payload: str):
        return types.Response(204, None)

class Messages(wit_world.exports.Messages):
    def receive(self, body, properties):
        raise Err('why it failed')
";
    check_failure(Language::Python, source, "why it failed");
}

#[test]
fn the_error_of_a_receiver_in_lua_is_its_reason() {
    let source = "return {
  methods = { invoke = function() return { status = 204 } end },
  messages = { receive = function() error('why it failed', 0) end },
}
";
    check_failure(Language::Lua, source, "why it failed");
}
