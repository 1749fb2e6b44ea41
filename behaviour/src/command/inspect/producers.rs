//! The languages and tools that a component names as its producers.

use std::collections::BTreeSet;

use wasmparser::{KnownCustom, Parser, Payload};

/// Maximum number of producers that are listed.
const MAX_PRODUCERS: usize = 32;

/// Returns the languages and tools in the sections `producers` of a component and of the
/// modules inside it, with their versions (tool conventions, "ProducersSection").
pub(super) fn of(component: &[u8]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for payload in Parser::new(0).parse_all(component) {
        // The component has been compiled, so nothing is malformed but custom sections.
        let Ok(Payload::CustomSection(section)) = payload else { continue };
        let KnownCustom::Producers(fields) = section.as_known() else { continue };
        for field in fields.into_iter().flatten() {
            let values = field.values.into_iter().flatten();
            found.extend(values.map(|value| format!("{} {}", value.name, value.version)));
        }
    }
    let readable = |text: &String| json::excerpt(text.trim(), 80).into_owned();
    found.iter().take(MAX_PRODUCERS).map(readable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_producers_of_a_module_are_listed() {
        let module = wat::parse_str(
            r#"(component (core module (@producers (language "Rust" "2024") (processed-by "rustc" "1.95"))))"#,
        );
        assert_eq!(of(&module.unwrap()), ["Rust 2024", "rustc 1.95"]);
        assert_eq!(of(b"\0asm\x0d\0\x01\0"), [""; 0]);
    }
}
