//! Compares guests with and without headroom, and tests the cases without headroom.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

use super::rewrite::module;
use super::*;
use proptest::prelude::*;
use wasmtime::{Engine, Instance, Store, TypedFunc};

const LIMIT: usize = 64 * 1024 * 1024;

/// Returns a guest that grows its memory, reads the size, and writes into the last word.
fn guest_bytes(limits: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (memory (export "memory") {limits})
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
            (func (export "size") (result i32) memory.size)
            (func (export "write") (param i32)
                (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4))
                    (local.get 0))))"#
    );
    wat::parse_str(text).unwrap()
}

/// An instance of a guest and its exported functions.
struct Guest {
    store: Store<()>,
    grow: TypedFunc<i32, i32>,
    size: TypedFunc<(), i32>,
    write: TypedFunc<i32, ()>,
}

impl Guest {
    fn of(engine: &Engine, bytes: &[u8]) -> Guest {
        let module = wasmtime::Module::new(engine, bytes).unwrap();
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        Guest {
            grow: instance.get_typed_func(&mut store, "grow").unwrap(),
            size: instance.get_typed_func(&mut store, "size").unwrap(),
            write: instance.get_typed_func(&mut store, "write").unwrap(),
            store,
        }
    }

    /// Grows the memory; returns the guest's result and its size in pages afterwards.
    fn grow(&mut self, pages: i32) -> (i32, i32) {
        let answer = self.grow.call(&mut self.store, pages).unwrap();
        let size = self.size.call(&mut self.store, ()).unwrap();
        if size > 0 {
            self.write.call(&mut self.store, pages).unwrap();
        }
        (answer, size)
    }
}

fn growths() -> impl Strategy<Value = Vec<i32>> {
    let pages = prop_oneof![8 => 0..12, 1 => Just(-1), 1 => Just(i32::MAX), 1 => 60_000..70_000];
    prop::collection::vec(pages, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_guest_sees_the_same_sizes_with_and_without_headroom(
        initial in 0_u64..4,
        more in prop::option::of(0_u64..24),
        growths in growths(),
    ) {
        let maximum = more.map(|more| (initial + more).to_string()).unwrap_or_default();
        let bytes = guest_bytes(&format!("{initial} {maximum}"));
        let engine = Engine::default();
        let mut plain = Guest::of(&engine, &bytes);
        let mut with_headroom = Guest::of(&engine, &module(&bytes).unwrap());
        for pages in growths {
            prop_assert_eq!(plain.grow(pages), with_headroom.grow(pages));
        }
    }
}

#[test]
fn headroom_does_not_exceed_the_maximum_of_the_memory() {
    let initial_and_maximum = |limits| {
        let summary = ModuleSummary::of(&module(&guest_bytes(limits)).unwrap()).unwrap();
        (summary.memories[0].initial, summary.memories[0].maximum)
    };
    assert_eq!(initial_and_maximum("1"), (1 + PAGES, None));
    assert_eq!(initial_and_maximum("1 100"), (1 + PAGES, Some(100)));
    assert_eq!(initial_and_maximum("1 3"), (3, Some(3)));
    assert_eq!(initial_and_maximum("3 3"), (3, Some(3)));
}

#[test]
fn existing_items_of_a_module_keep_their_indices() {
    let text = r#"(module
        (type $unused (func (param i64)))
        (import "host" "seven" (func $seven (result i32)))
        (import "host" "eight" (global $eight i32))
        (memory 1)
        (global $nine (mut i32) (i32.const 8))
        (table 1 funcref)
        (elem (i32.const 0) $ten)
        (data (i32.const 0) "\0b")
        (func $start (global.set $nine (i32.const 9)))
        (start $start)
        (func $ten (result i32) (i32.const 10))
        (func (export "sum") (result i32)
            (drop (memory.grow (i32.const 1)))
            (i32.add (call $seven) (i32.add (global.get $eight) (i32.add (global.get $nine)
                (i32.add (call_indirect (result i32) (i32.const 0))
                    (i32.load8_u (i32.const 0))))))))"#;
    let bytes = wat::parse_str(text).unwrap();
    let with_headroom = module(&bytes).unwrap();
    assert_ne!(with_headroom, bytes);

    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let seven = wasmtime::Func::wrap(&mut store, || 7);
    let constant = wasmtime::GlobalType::new(wasmtime::ValType::I32, wasmtime::Mutability::Const);
    let eight = wasmtime::Global::new(&mut store, constant, 8.into()).unwrap();
    let module = wasmtime::Module::new(&engine, with_headroom).unwrap();
    let instance = Instance::new(&mut store, &module, &[seven.into(), eight.into()]).unwrap();
    let sum = instance.get_typed_func::<(), i32>(&mut store, "sum").unwrap();
    assert_eq!(sum.call(&mut store, ()).unwrap(), 7 + 8 + 9 + 10 + 11);
}

#[test]
fn only_a_single_32_bit_memory_that_grows_gets_headroom() {
    let grows = "(func (drop (memory.grow (i32.const 1))))";
    for kept in [
        "(module (memory 1) (func (drop (memory.size))))".to_owned(),
        format!("(module (memory 1 2 shared) {grows})"),
        format!("(module (memory 1) (memory 1) {grows})"),
        format!("(module (import \"a\" \"b\" (memory 1)) {grows})"),
        "(module (memory i64 1) (func (drop (memory.grow (i64.const 1)))))".to_owned(),
    ] {
        let bytes = wat::parse_str(&kept).unwrap();
        assert_eq!(module(&bytes).unwrap(), bytes, "{kept}");
    }
}

fn component_with_guest(others: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (component (core module (memory 1) (func (drop (memory.grow (i32.const 1))))))
            {others})"#
    );
    wat::parse_str(text).unwrap()
}

#[test]
fn a_nested_module_gets_headroom_unless_another_module_reads_the_size_of_its_memory() {
    assert!(insert(&component_with_guest(""), LIMIT).is_some());
    assert!(insert(&wat::parse_str("(component)").unwrap(), LIMIT).is_none());

    let reads_size =
        r#"(core module (import "a" "b" (memory 1)) (func (export "f") (drop (memory.size))))"#;
    assert!(insert(&component_with_guest(reads_size), LIMIT).is_none());
    let uses = r#"(core module (import "a" "b" (memory 1)))"#;
    assert!(insert(&component_with_guest(uses), LIMIT).is_some());
}

#[test]
fn the_initial_memory_with_headroom_is_at_most_half_of_the_memory_limit() {
    let initial_bytes = (1 + PAGES) * PAGE_BYTES;
    let bytes = component_with_guest("");
    assert!(insert(&bytes, 2 * initial_bytes as usize).is_some());
    assert!(insert(&bytes, 2 * initial_bytes as usize - 1).is_none());
}

#[test]
fn a_malformed_component_gets_no_headroom() {
    let bytes = component_with_guest("");
    for broken in [&bytes[..20], &bytes[..7], b"(component)", b""] {
        assert!(insert(broken, LIMIT).is_none());
    }
}

#[test]
fn a_section_with_an_impossible_count_is_refused() {
    let mut bytes = b"\0asm\x01\0\0\0".to_vec();
    let sections: [(u8, &[u8]); 4] = [
        (1, b"\x01\x60\0\0"),
        (3, b"\xff\xff\xff\xff\x0f\0"),
        (5, b"\x01\0\x01"),
        (10, b"\x01\x07\0\x41\x01\x40\0\x1a\x0b"),
    ];
    for (id, content) in sections {
        bytes.push(id);
        bytes.push(content.len() as u8);
        bytes.extend(content);
    }
    let refused =
        |with_headroom: Vec<u8>| wasmtime::Module::new(&Engine::default(), with_headroom).is_err();
    assert!(module(&bytes).map_or(true, refused));
}
