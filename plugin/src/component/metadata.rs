//! Checks the WIT that a core module carries before wit-parser reads it.
//!
//! wit-parser visits a package after all that it depends on, and does not end if
//! packages depend on one another. This module reads the uses between packages as a
//! graph, and refuses one with a cycle.

mod uses;

use uses::Uses;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

/// Its custom sections have this name, and something behind it.
const NAME: &str = "component-type";

/// Sections, and bytes in all of them. Tools make one or two, of some KB.
const SECTIONS: usize = 16;
const BYTES: usize = 1024 * 1024;

/// The metadata in a core module, section by section.
pub(crate) fn sections(core_module: &[u8]) -> impl Iterator<Item = &[u8]> {
    let payloads = Parser::new(0).parse_all(core_module).map_while(Result::ok);
    payloads.filter_map(|payload| match payload {
        Payload::CustomSection(section) if section.name().starts_with(NAME) => Some(section.data()),
        _ => None,
    })
}

/// Refuses metadata on which wit-parser would not return, or in bytes that are not a
/// core module. The caller has checked that they do not nest too deep.
pub(crate) fn check(core_module: &[u8]) -> Result<(), String> {
    validate(core_module)?;
    let mut uses = Uses::default();
    let mut bytes = 0;
    for (number, section) in sections(core_module).enumerate() {
        bytes += section.len();
        if number == SECTIONS || bytes > BYTES {
            return Err(format!("more WIT in it than {SECTIONS} sections of {BYTES} bytes in all"));
        }
        if section.first() == Some(&3) {
            return Err("its WIT is in a form of before 2024; build it with newer tools".to_owned());
        }
        add(&mut uses, section).map_err(|why| format!("the WIT in it: {why}"))?;
    }
    match uses.circle().as_slice() {
        [] => Ok(()),
        names => {
            let names = names.iter().take(4).map(|name| format!("`{name}`"));
            let names = names.collect::<Vec<_>>().join(", ");
            Err(format!("packages of the WIT in it need one another in a circle: {names}"))
        }
    }
}

fn add(uses: &mut Uses, section: &[u8]) -> Result<(), String> {
    // From here on names are names, and every index is one of something.
    validate(section)?;
    for payload in Parser::new(0).parse_all(section) {
        match payload.map_err(|error| error.to_string())? {
            Payload::ComponentTypeSection(types) => {
                for ty in types {
                    uses.define(&ty.map_err(|error| error.to_string())?)?;
                }
            }
            Payload::Version { .. }
            | Payload::ComponentExportSection(_)
            | Payload::CustomSection(_)
            | Payload::End(_) => {}
            _ => return Err("more than types and their names".to_owned()),
        }
    }
    uses.end_section();
    Ok(())
}

fn validate(bytes: &[u8]) -> Result<(), String> {
    let validated = Validator::new_with_features(WasmFeatures::all()).validate_all(bytes);
    validated.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The metadata of a world that imports these interfaces, each with one type: its
    /// own, or that of the interface whose place in the list is given.
    fn world(interfaces: &[(&str, Option<usize>)]) -> Vec<u8> {
        let import = |(place, (name, uses)): (usize, &(&str, Option<usize>))| {
            let used = match uses {
                // An interface takes two places among the types of the world.
                Some(other) => format!("(alias outer 1 {} (type))", 2 * other + 1),
                None => r#"(type (enum "x"))"#.to_owned(),
            };
            format!(
                r#"(type (instance {used} (export "kind" (type (eq 0)))))
                   (import "{name}" (instance (type {})))
                   (alias export {place} "kind" (type))"#,
                2 * place
            )
        };
        let imports: String = interfaces.iter().enumerate().map(import).collect();
        let text = format!(
            r#"(component
                 (type (component
                   (type (component {imports}))
                   (export "c:c/world" (component (type 0)))))
                 (export "world" (type 0)))"#
        );
        wat::parse_str(text).unwrap()
    }

    fn circle_in(metadata: &[u8]) -> Vec<String> {
        let mut uses = Uses::default();
        add(&mut uses, metadata).unwrap();
        uses.circle().into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn an_invalid_module_is_refused_before_its_metadata_are_read() {
        assert_eq!(check(b"\0asm\x01\0\0\0"), Ok(()));
        // A function of a type that is missing.
        let error = check(b"\0asm\x01\0\0\0\x03\x02\x01\0").unwrap_err();
        assert!(error.starts_with("unknown type 0"), "{error}");
    }

    #[test]
    fn packages_may_take_turns_in_a_world() {
        let three = |uses| world(&[("a:a/one", None), ("b:b/two", Some(0)), ("a:a/three", uses)]);
        assert_eq!(circle_in(&three(None)), [""; 0]);
        assert_eq!(circle_in(&three(Some(0))), [""; 0]);
    }

    #[test]
    fn packages_that_use_each_other_are_found_with_those_that_need_them() {
        let world = world(&[("a:a/one", None), ("b:b/two", Some(0)), ("a:a/three", Some(1))]);
        assert_eq!(circle_in(&world), ["a:a", "b:b", "c:c"]);
    }

    #[test]
    fn a_module_with_a_circle_in_its_wit_is_refused_by_the_names_in_it() {
        let module = |interfaces| {
            let mut content = vec![14];
            content.extend(b"component-type");
            content.extend(world(interfaces));
            let mut module = b"\0asm\x01\0\0\0\0".to_vec();
            // The length takes two bytes in LEB128.
            module.extend([0x80 | (content.len() % 128) as u8, (content.len() / 128) as u8]);
            module.extend(content);
            module
        };
        let straight = [("a:a/one", None), ("b:b/two", Some(0)), ("a:a/three", Some(0))];
        assert_eq!(check(&module(&straight)), Ok(()));

        let circle = [("a:a/one", None), ("b:b/two", Some(0)), ("a:a/three", Some(1))];
        let error = check(&module(&circle)).unwrap_err();
        assert_eq!(
            error,
            "packages of the WIT in it need one another in a circle: `a:a`, `b:b`, `c:c`"
        );
    }

    #[test]
    fn versions_of_a_package_do_not_use_each_other() {
        let world = world(&[("a:a/one@1.0.0", None), ("a:a/two@1.0.1", Some(0))]);
        assert_eq!(circle_in(&world), ["a:a", "c:c"]);
    }

    #[test]
    fn a_circle_may_be_spread_over_sections() {
        let mut uses = Uses::default();
        add(&mut uses, &world(&[("a:a/one", None), ("b:b/two", Some(0))])).unwrap();
        add(&mut uses, &world(&[("b:b/one", None), ("a:a/two", Some(0))])).unwrap();
        assert_eq!(uses.circle(), ["a:a", "b:b", "c:c"]);
    }
}
