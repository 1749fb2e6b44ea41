//! Check of the WIT embedded in a core module, before wit-parser reads it.
//!
//! wit-parser visits a package after all of its dependencies, and does not terminate if
//! packages depend on each other. This module builds the graph of the dependencies and
//! rejects cycles.

mod package_graph;

use package_graph::PackageGraph;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

/// Prefix of the names of the custom sections that contain WIT.
const SECTION_PREFIX: &str = "component-type";

/// Maximum number of sections, and of bytes in all of them. Tools create one or two
/// sections of some KB.
const MAX_SECTIONS: usize = 16;
const MAX_BYTES: usize = 1024 * 1024;

/// Returns the sections with metadata of a core module.
pub(crate) fn sections(core_module: &[u8]) -> impl Iterator<Item = &[u8]> {
    let payloads = Parser::new(0).parse_all(core_module).map_while(Result::ok);
    payloads.filter_map(|payload| match payload {
        Payload::CustomSection(section) if section.name().starts_with(SECTION_PREFIX) => {
            Some(section.data())
        }
        _ => None,
    })
}

/// Returns an error if the bytes are not a core module, or if wit-parser would not
/// terminate on its metadata. The caller has checked the nesting depth.
pub(crate) fn check(core_module: &[u8]) -> Result<(), String> {
    validate(core_module)?;
    let mut graph = PackageGraph::default();
    let mut bytes = 0;
    for (number, section) in sections(core_module).enumerate() {
        bytes += section.len();
        if number == MAX_SECTIONS || bytes > MAX_BYTES {
            return Err(format!(
                "its WIT has more than {MAX_SECTIONS} sections or {MAX_BYTES} bytes"
            ));
        }
        if section.first() == Some(&3) {
            return Err(
                "its WIT has an encoding from before 2024; build it with newer tools".to_owned()
            );
        }
        add(&mut graph, section).map_err(|reason| format!("its WIT: {reason}"))?;
    }
    match graph.cycle().as_slice() {
        [] => Ok(()),
        names => {
            let names = names.iter().take(4).map(|name| format!("`{name}`"));
            let names = names.collect::<Vec<_>>().join(", ");
            Err(format!("packages of its WIT depend on each other in a cycle: {names}"))
        }
    }
}

fn add(graph: &mut PackageGraph, section: &[u8]) -> Result<(), String> {
    // Since the bytes are valid, names are well-formed and indices are in range.
    validate(section)?;
    for payload in Parser::new(0).parse_all(section) {
        match payload.map_err(|error| error.to_string())? {
            Payload::ComponentTypeSection(types) => {
                for ty in types {
                    graph.define(&ty.map_err(|error| error.to_string())?)?;
                }
            }
            Payload::Version { .. }
            | Payload::ComponentExportSection(_)
            | Payload::CustomSection(_)
            | Payload::End(_) => {}
            _ => return Err("contains more than types and their names".to_owned()),
        }
    }
    graph.end_section();
    Ok(())
}

fn validate(bytes: &[u8]) -> Result<(), String> {
    let validated = Validator::new_with_features(WasmFeatures::all()).validate_all(bytes);
    validated.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the metadata of a world that imports these interfaces. Each has one type:
    /// its own, or that of the interface at the given index.
    fn world(interfaces: &[(&str, Option<usize>)]) -> Vec<u8> {
        let import = |(place, (name, uses)): (usize, &(&str, Option<usize>))| {
            let used = match uses {
                // An interface defines two types of the world.
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

    fn cycle_in(metadata: &[u8]) -> Vec<String> {
        let mut graph = PackageGraph::default();
        add(&mut graph, metadata).unwrap();
        graph.cycle().into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn an_invalid_module_is_refused_before_its_metadata_is_read() {
        assert_eq!(check(b"\0asm\x01\0\0\0"), Ok(()));
        // A function of a type that is missing.
        let error = check(b"\0asm\x01\0\0\0\x03\x02\x01\0").unwrap_err();
        assert!(error.starts_with("unknown type 0"), "{error}");
    }

    #[test]
    fn interfaces_of_two_packages_can_alternate_in_a_world() {
        let three = |uses| world(&[("a:a/one", None), ("b:b/two", Some(0)), ("a:a/three", uses)]);
        assert_eq!(cycle_in(&three(None)), [""; 0]);
        assert_eq!(cycle_in(&three(Some(0))), [""; 0]);
    }

    #[test]
    fn a_cycle_is_reported_with_the_packages_that_depend_on_it() {
        let world = world(&[("a:a/one", None), ("b:b/two", Some(0)), ("a:a/three", Some(1))]);
        assert_eq!(cycle_in(&world), ["a:a", "b:b", "c:c"]);
    }

    #[test]
    fn a_module_with_a_cycle_in_its_wit_is_refused_with_the_package_names() {
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

        let cycle = [("a:a/one", None), ("b:b/two", Some(0)), ("a:a/three", Some(1))];
        let error = check(&module(&cycle)).unwrap_err();
        assert_eq!(
            error,
            "packages of its WIT depend on each other in a cycle: `a:a`, `b:b`, `c:c`"
        );
    }

    #[test]
    fn versions_of_a_package_do_not_use_each_other() {
        let world = world(&[("a:a/one@1.0.0", None), ("a:a/two@1.0.1", Some(0))]);
        assert_eq!(cycle_in(&world), ["a:a", "c:c"]);
    }

    #[test]
    fn a_cycle_across_sections_is_found() {
        let mut graph = PackageGraph::default();
        add(&mut graph, &world(&[("a:a/one", None), ("b:b/two", Some(0))])).unwrap();
        add(&mut graph, &world(&[("b:b/one", None), ("a:a/two", Some(0))])).unwrap();
        assert_eq!(graph.cycle(), ["a:a", "b:b", "c:c"]);
    }
}
