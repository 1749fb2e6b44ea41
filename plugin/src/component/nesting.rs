//! Refuses components that nest deeper than their readers can follow.
//!
//! The readers of a component's types recurse for every type within a type, without
//! a bound of their own, and a stack overflow ends the process. The depth of types
//! is not known without reading them, so this module counts the bytes that may open
//! a level. Each interface of a world is a level; real components have a few dozen.

use super::metadata;
use wasmparser::{Parser, Payload};

/// Components and modules within one another. What tools make has three or four.
const LEVELS: usize = 64;

/// The most byte pairs that may open a level of types, in one section. Twice as many
/// overflow the smallest stack that a component is read on.
const OPENINGS: usize = 256;

/// Refuses a component, or a core module with embedded WIT, that nests too deep.
/// Anything else that is wrong with it is for its readers to say.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    check_sections(bytes)?;
    metadata::sections(bytes).try_for_each(check_sections)
}

fn check_sections(bytes: &[u8]) -> Result<(), String> {
    let mut level = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::Version { .. }) if level == LEVELS => {
                return Err(format!("components nest more than {LEVELS} levels deep"));
            }
            Ok(Payload::Version { .. }) => level += 1,
            Ok(Payload::End(_)) => level -= 1,
            Ok(Payload::ComponentTypeSection(types)) => check_types(&bytes[types.range()])?,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    Ok(())
}

/// A level within another begins with the two bytes of a type that is a component
/// (0x41) or an instance (0x42); here and there they mean something else.
fn check_types(section: &[u8]) -> Result<(), String> {
    let openings = section.windows(2).filter(|pair| matches!(pair, [0x01, 0x41 | 0x42])).count();
    if openings > OPENINGS {
        return Err(format!("types may nest {openings} levels deep; {OPENINGS} are allowed"));
    }
    Ok(())
}
