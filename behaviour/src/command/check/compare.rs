//! Compares two components, for the operator who decides about an update.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Checked, bytes, complain, interface, list, memory, say};

/// The differences between two components.
struct Sides {
    more: Vec<String>,
    less: Vec<String>,
}

impl Sides {
    fn of(first: &BTreeSet<String>, second: &BTreeSet<String>) -> Sides {
        Sides {
            more: second.difference(first).cloned().collect(),
            less: first.difference(second).cloned().collect(),
        }
    }

    fn to_json(&self) -> Value {
        json!({"more": self.more, "less": self.less})
    }
}

struct Comparison {
    may: Sides,
    imports: Sides,
    exports: Sides,
}

impl Comparison {
    fn of(first: &Checked<'_>, second: &Checked<'_>) -> Comparison {
        let imports = |checked: &Checked<'_>| -> BTreeSet<String> {
            let names = checked.found.imports.iter().map(|import| interface(&import.name));
            names.filter(|name| *name != "types").map(str::to_owned).collect()
        };
        let exports = |checked: &Checked<'_>| -> BTreeSet<String> {
            checked.found.exports.iter().map(|name| interface(name).to_owned()).collect()
        };
        Comparison {
            may: Sides::of(&first.may(), &second.may()),
            imports: Sides::of(&imports(first), &imports(second)),
            exports: Sides::of(&exports(first), &exports(second)),
        }
    }
}

pub(super) fn tell(first: &Checked<'_>, second: &Checked<'_>) {
    let Comparison { may, imports, exports } = Comparison::of(first, second);
    say(&format!("{} -> {}", first.file.display(), second.file.display()));
    let row = |what: &str, sides: &Sides| {
        for (sign, names) in [('+', &sides.more), ('-', &sides.less)] {
            if !names.is_empty() {
                say(&format!("  {what:<8} {sign} {}", list(names.iter().cloned())));
            }
        }
    };
    row("may", &may);
    row("imports", &imports);
    row("exports", &exports);
    if may.more.is_empty() && may.less.is_empty() {
        say("  may      the same");
    }
    let sizes = [first, second].map(|checked| bytes(checked.found.bytes as u64));
    say(&format!("  size     {} -> {}", sizes[0], sizes[1]));
    say(&format!("  memory   {} -> {}", memory(&first.found), memory(&second.found)));
    match &second.loads {
        Ok(()) => say("A host would load the second."),
        Err(error) => complain(error, second.hint().as_deref()),
    }
}

pub(super) fn to_json(first: &Checked<'_>, second: &Checked<'_>) -> Value {
    let Comparison { may, imports, exports } = Comparison::of(first, second);
    json!({
        "first": first.to_json(),
        "second": second.to_json(),
        "may": may.to_json(),
        "imports": imports.to_json(),
        "exports": exports.to_json(),
    })
}
