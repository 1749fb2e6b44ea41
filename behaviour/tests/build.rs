//! Tests of `behaviour build` with real crates and a real compiler.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use behaviour::{BuildError, BuildOptions, Language, build, create};
use tempfile::TempDir;

/// A crate named `door` in a temporary folder.
struct Crate(TempDir);

impl Crate {
    fn new(lib_table: &str, source: &str) -> Crate {
        let dir = tempfile::tempdir().unwrap();
        let manifest = "[package]\nname = \"door\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
        fs::write(dir.path().join("Cargo.toml"), format!("{manifest}[lib]\n{lib_table}\n"))
            .unwrap();
        fs::create_dir(dir.path().join("src")).unwrap();
        fs::write(dir.path().join("src/lib.rs"), source).unwrap();
        Crate(dir)
    }

    fn build_error(&self) -> BuildError {
        let target_dir = Some(self.0.path().join("target"));
        build(self.0.path(), &BuildOptions { target_dir, ..Default::default() }).unwrap_err()
    }
}

const CDYLIB: &str = "crate-type = [\"cdylib\"]";

fn reboot() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-reboot")
}

fn behaviour(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_behaviour")).args(arguments).output().unwrap()
}

#[test]
fn the_component_of_the_reboot_guest_imports_only_its_world() {
    let built = build(&reboot(), &BuildOptions::default()).unwrap();

    assert_eq!(built.name, "guest-reboot");
    assert!(built.path.ends_with("components/guest-reboot.wasm"), "{}", built.path.display());
    let engine = plugin::Engine::new(&plugin::EngineSettings::default()).unwrap();
    let plugin =
        engine.load_file("reboot", &built.path, plugin::PluginSettings::default()).unwrap();
    let foreign: Vec<_> =
        plugin.imports().iter().filter(|name| !name.starts_with("device:behaviour/")).collect();
    assert!(foreign.is_empty(), "imports {foreign:?}");
}

#[test]
fn a_component_does_not_contain_the_path_of_its_authors_home() {
    let built = build(&reboot(), &BuildOptions::default()).unwrap();
    let component = fs::read(&built.path).unwrap();
    let registry = b".cargo/registry";
    assert!(!component.windows(registry.len()).any(|bytes| bytes == registry));
}

#[test]
fn a_folder_without_a_plugin_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let error = build(dir.path(), &BuildOptions::default()).unwrap_err();
    let expected =
        format!("no plugin in `{}`: it contains neither behaviour.toml nor", dir.path().display());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn a_crate_without_a_cdylib_is_an_error_with_a_hint() {
    let error = Crate::new("", "").build_error();
    assert_eq!(error.to_string(), "crate `door` has no library of type `cdylib`");
    assert!(error.hint().unwrap().contains("crate-type"));
}

#[test]
fn compiler_errors_are_passed_on() {
    let error = Crate::new(CDYLIB, "pub fn open() -> u32 { \"door\" }").build_error();
    let expected = "`door` does not compile: error[E0308]: mismatched types";
    assert_eq!(error.to_string(), expected);
    assert!(error.output().unwrap().contains("src/lib.rs:1:24"), "{error:?}");
}

#[test]
fn a_crate_that_exports_no_world_is_not_a_plugin() {
    let error = Crate::new(CDYLIB, "").build_error();
    assert_eq!(error.to_string(), "`door` compiles, but exports no `device:behaviour/methods`");
    assert!(error.hint().unwrap().contains("export `invoke`"));
}

#[test]
fn the_program_prints_only_the_path_to_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("deep/reboot.wasm");

    let output = behaviour(&[
        "build",
        reboot().to_str().unwrap(),
        "--quiet",
        "--out",
        out.to_str().unwrap(),
    ]);

    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{}\n", out.display()));
    assert_eq!(output.status.code(), Some(0));
    assert!(out.is_file());
    assert_eq!(
        fs::read_dir(out.parent().unwrap()).unwrap().count(),
        1,
        "a temporary file was left in the folder"
    );
}

#[test]
fn the_program_reports_an_error_in_one_line_with_a_hint() {
    let output = behaviour(&["build", "/nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = stderr.lines().collect();
    let [error, hint] = lines[..] else { panic!("{stderr}") };
    assert!(error.starts_with("error: no plugin in `/nowhere`: it contains neither"), "{stderr}");
    assert_eq!(hint, "hint: create one: behaviour new NAME --lang LANGUAGE");
    assert_eq!(behaviour(&["buld"]).status.code(), Some(2));
}

#[test]
fn a_wrong_import_in_text_form_is_not_taken_for_a_missing_export() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("door");
    create(&dir, Language::Wat).unwrap();
    let source = fs::read_to_string(dir.join("plugin.wat")).unwrap();
    let hint = "write imports and exports with the names and types of `wit/`; \
                docs/reference/wit-text.md has all of them";
    let methods =
        "export `invoke` of the interface `methods`, as docs/plugins.md shows for each language";
    let export = "device:behaviour/methods@0.1.2#invoke";
    for (from, to, expected) in [
        ("\"now-rfc3339\"", "\"now-rfc3338\"", hint),
        ("behaviour/clock@", "behaviour/clok@", hint),
        ("(func $now (param $text i32))", "(func $now (param $text i64))", hint),
        (export, "device:behaviour/methods@0.1.2#invok", methods),
    ] {
        let text = source.replace(from, to).replace(
            "(call $now (i32.const 0))",
            match to {
                to if to.contains("i64") => "(call $now (i64.const 0))",
                _ => "(call $now (i32.const 0))",
            },
        );
        assert_ne!(text, source);
        fs::write(dir.join("plugin.wat"), text).unwrap();
        let error = build(&dir, &BuildOptions::default()).unwrap_err();
        assert_eq!(error.hint().as_deref(), Some(expected), "{}", program::chain(&error));
    }
}
