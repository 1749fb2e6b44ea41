//! Limit on the nesting depth of components.
//!
//! Parsers of component types recurse into nested types without a limit, and a stack
//! overflow ends the process. The depth cannot be determined without parsing, so this
//! module counts the bytes that can open a level. Each interface of a world is a level;
//! real components have a few dozen.

use super::metadata;
use wasmparser::{Parser, Payload};

/// Maximum depth of nested components and modules. Components built by tools have three or
/// four levels.
const MAX_LEVELS: usize = 64;

/// Maximum number of byte pairs in one section that can open a level of types. Twice as
/// many levels overflow the smallest stack on which components are parsed.
const MAX_OPENINGS: usize = 256;

/// Checks the nesting depth of a component, or of a core module with embedded WIT. Other
/// defects are left to the parsers.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    check_sections(bytes)?;
    metadata::sections(bytes).try_for_each(check_sections)
}

fn check_sections(bytes: &[u8]) -> Result<(), String> {
    let mut level = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::Version { .. }) if level == MAX_LEVELS => {
                return Err(format!("components nest more than {MAX_LEVELS} levels deep"));
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

/// Counts the two-byte sequences that declare a component type (0x41) or an instance type
/// (0x42). The same bytes can occur elsewhere, so the count is an upper bound.
fn check_types(section: &[u8]) -> Result<(), String> {
    let openings = section.windows(2).filter(|pair| matches!(pair, [0x01, 0x41 | 0x42])).count();
    if openings > MAX_OPENINGS {
        return Err(format!("types may nest {openings} levels deep; {MAX_OPENINGS} are allowed"));
    }
    Ok(())
}
