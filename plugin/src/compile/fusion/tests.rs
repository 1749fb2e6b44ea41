//! Compares components with and without fusion, and tests which components stay as they are.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

use super::*;
use wasmparser::{ElementKind, KnownCustom, Name, Operator, Parser, Payload};
use wasmtime::component::{Component, Linker, TypedFunc};
use wasmtime::{Engine, Store};

/// A component like that of an interpreter: `env` has a table and a memory, `lib` imports them
/// and fills the table, and both call the host by a shim that `fix` fills.
const INTERPRETER: &str = r#"
(component
  (import "host" (func $host (param "x" u32) (result u32)))
  (core module $Shim
    (type $f (func (param i32) (result i32)))
    (table (export "imports") 1 1 funcref)
    (func (export "0") (param i32) (result i32)
      (call_indirect (type $f) (local.get 0) (i32.const 0))))
  (core module $Env
    (table (export "table") 130 funcref)
    (memory (export "memory") 1)
    (global (export "table_base") i32 (i32.const 5))
    (global (export "memory_base") i32 (i32.const 1024))
    (global (export "counter") (mut i32) (i32.const 7))
    (func $double (export "double") (param i32) (result i32)
      (i32.mul (local.get 0) (i32.const 2)))
    (data (i32.const 1024) "\01\02")
    ;; start of env
  )
  (core module $Lib
    (import "env" "table" (table 120 funcref))
    (import "env" "memory" (memory 1))
    (import "env" "table_base" (global $table_base i32))
    (import "env" "memory_base" (global $memory_base i32))
    (import "env" "counter" (global $counter (mut i32)))
    (import "env" "double" (func $double (param i32) (result i32)))
    (import "host" "call" (func $host (param i32) (result i32)))
    (type $f (func (param i32) (result i32)))
    (func $add (param i32) (result i32) (i32.add (local.get 0) (i32.const 100)))
    (func $run (export "run") (param i32) (result i32)
      (global.set $counter (i32.add (global.get $counter) (i32.const 1)))
      (i32.add
        (call_indirect (type $f) (call $double (local.get 0))
          (i32.add (global.get $table_base) (i32.const 119)))
        (i32.add
          (i32.add
            (i32.load8_u (global.get $memory_base))
            (i32.load8_u (i32.const 1025)))
          (i32.add (global.get $counter) (call $host (local.get 0))))))
    (elem (global.get $table_base) func ELEMENTS)
    (data (global.get $memory_base) "\2a")
    ;; start of lib
  )
  (core module $Fix
    (import "shim" "imports" (table 1 1 funcref))
    (import "" "0" (func $f (param i32) (result i32)))
    ;; imports of fix
    (elem (i32.const 0) func $f)
    ;; start of fix
  )
  (core instance $shim (instantiate $Shim))
  (core instance $env (instantiate $Env))
  (alias core export $env "memory" (core memory $memory))
  (core func $lowered (canon lower (func $host) (memory $memory)))
  (core instance $lowered_exports
    (export "0" (func $lowered))
    (export "memory" (memory $memory)))
  (core instance (instantiate $Fix
    (with "shim" (instance $shim)) (with "" (instance $lowered_exports))))
  (alias core export $shim "0" (core func $call))
  (core instance $host_exports (export "call" (func $call)))
  (core instance $lib (instantiate $Lib
    (with "env" (instance $env)) (with "host" (instance $host_exports))))
  (func (export "run") (param "x" u32) (result u32) (canon lift (core func $lib "run")))
  ;; end
)"#;

fn interpreter(elements: usize) -> String {
    INTERPRETER.replace("ELEMENTS", &"$add ".repeat(elements))
}

fn binary(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// Returns the results of some calls of `run`, in one instance.
fn results(bytes: &[u8]) -> [u32; 3] {
    let engine = Engine::default();
    let component = Component::new(&engine, bytes).unwrap();
    let mut linker = Linker::new(&engine);
    linker.root().func_wrap("host", |_, (x,): (u32,)| Ok((x + 1000,))).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &component).unwrap();
    let run: TypedFunc<(u32,), (u32,)> = instance.get_typed_func(&mut store, "run").unwrap();
    [3, 4, 3].map(|x| run.call(&mut store, (x,)).unwrap().0)
}

/// Returns the number of core instances that a component creates from modules with code.
fn instantiations(bytes: &[u8]) -> usize {
    let mut count = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::InstanceSection(instances) = payload.unwrap() {
            let is_of_module = |it: &wasmparser::Instance<'_>| {
                matches!(it, wasmparser::Instance::Instantiate { .. })
            };
            count += instances.into_iter().map(Result::unwrap).filter(is_of_module).count();
        }
    }
    count
}

#[test]
fn a_fused_component_does_the_same() {
    let bytes = binary(&interpreter(120));
    let fused = fuse(&bytes).unwrap();
    assert_eq!(results(&bytes), [1_161, 1_165, 1_163]);
    assert_eq!(results(&fused), results(&bytes));
    assert_eq!((instantiations(&bytes), instantiations(&fused)), (4, 3));
}

#[test]
fn the_table_of_a_fused_module_has_its_elements_at_a_constant_position() {
    let fused = fuse(&binary(&interpreter(120))).unwrap();
    let mut positions = Vec::new();
    for payload in Parser::new(0).parse_all(&fused) {
        let Payload::ElementSection(elements) = payload.unwrap() else { continue };
        for element in elements {
            let ElementKind::Active { offset_expr, .. } = element.unwrap().kind else { continue };
            positions.push(match offset_expr.get_operators_reader().read().unwrap() {
                Operator::I32Const { value } => value,
                operator => panic!("{operator:?}"),
            });
        }
    }
    assert_eq!(positions, [5, 0]);
}

#[test]
fn the_functions_of_a_fused_module_keep_their_names() {
    let fused = fuse(&binary(&interpreter(120))).unwrap();
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(&fused) {
        let Payload::CustomSection(section) = payload.unwrap() else { continue };
        let KnownCustom::Name(names) = section.as_known() else { continue };
        for name in names {
            let Name::Function(functions) = name.unwrap() else { continue };
            found.extend(functions.into_iter().map(|it| it.unwrap().name.to_owned()));
        }
    }
    for name in ["double", "add", "run"] {
        assert!(found.iter().any(|it| it == name), "{name} in {found:?}");
    }
}

#[test]
fn a_component_within_a_component_is_fused() {
    let inner = interpreter(120).replacen("(component", "(component $inner", 1);
    let outer = format!(
        r#"(component
            (import "host" (func $host (param "x" u32) (result u32)))
            {inner}
            (instance $inner (instantiate $inner (with "host" (func $host))))
            (export "run" (func $inner "run")))"#
    );
    let bytes = binary(&outer);
    assert_eq!(results(&fuse(&bytes).unwrap()), results(&bytes));
}

#[test]
fn a_component_stays_as_it_is_if_fusion_could_change_its_meaning() {
    let whole = interpreter(120);
    let with = |place: &str, text: &str| {
        assert!(whole.contains(place));
        whole.replace(place, text)
    };
    let start = "(func $start) (start $start)";
    let again = "(core instance (instantiate $Lib (with \"env\" (instance $env)) (with \"host\" \
                 (instance $host_exports))))";
    for (why, text) in [
        ("it has few elements", interpreter(20)),
        ("the table's module has a start function", with(";; start of env", start)),
        ("the only other module has a start function", with(";; start of lib", start)),
        ("a module between them has a start function", with(";; start of fix", start)),
        (
            "a module between them writes into the shared memory",
            with(
                ";; imports of fix",
                "(import \"\" \"memory\" (memory 1)) (data (i32.const 1024) \"x\")",
            ),
        ),
        ("a module is instantiated twice", with(";; end", again)),
        (
            "it has too many definitions",
            with(";; end", &"(alias core export $env \"memory\" (core memory))".repeat(MAX_ITEMS)),
        ),
        (
            "a module has too many imports",
            with(
                ";; imports of fix",
                &"(import \"\" \"0\" (func (param i32) (result i32)))".repeat(MAX_IMPORTS),
            ),
        ),
        ("a module is exported", with(";; end", "(export \"env\" (core module $Env))")),
    ] {
        let bytes = binary(&text);
        assert!(fuse(&bytes).is_none(), "{why}");
    }
}

#[test]
fn malformed_components_stay_as_they_are() {
    let bytes = binary(&interpreter(120));
    for length in 0..bytes.len() {
        fuse(&bytes[..length]);
    }
    for position in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[position] ^= 0x15;
        if let Some(fused) = fuse(&changed) {
            Validator::new_with_features(SUPPORTED).validate_all(&fused).unwrap();
        }
    }
}
