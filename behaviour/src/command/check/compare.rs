//! Comparison of two components, for an operator who decides about an update.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{CheckedFile, bytes, interface, list, memory, print_line};

/// The difference between two sets of names.
struct NameDiff {
    more: Vec<String>,
    less: Vec<String>,
}

impl NameDiff {
    fn of(first: &BTreeSet<String>, second: &BTreeSet<String>) -> NameDiff {
        NameDiff {
            more: second.difference(first).cloned().collect(),
            less: first.difference(second).cloned().collect(),
        }
    }

    fn to_json(&self) -> Value {
        json!({"more": self.more, "less": self.less})
    }
}

/// The differences between two components.
struct Comparison {
    may: NameDiff,
    imports: NameDiff,
    exports: NameDiff,
}

impl Comparison {
    fn of(first: &CheckedFile<'_>, second: &CheckedFile<'_>) -> Comparison {
        let imports = |checked: &CheckedFile<'_>| -> BTreeSet<String> {
            let names = checked.inspection.imports.iter().map(|import| interface(&import.name));
            names.filter(|name| *name != "types").map(str::to_owned).collect()
        };
        let exports = |checked: &CheckedFile<'_>| -> BTreeSet<String> {
            checked.inspection.exports.iter().map(|name| interface(name).to_owned()).collect()
        };
        Comparison {
            may: NameDiff::of(&first.may(), &second.may()),
            imports: NameDiff::of(&imports(first), &imports(second)),
            exports: NameDiff::of(&exports(first), &exports(second)),
        }
    }
}

pub(in crate::command) fn print(first: &CheckedFile<'_>, second: &CheckedFile<'_>) {
    let Comparison { may, imports, exports } = Comparison::of(first, second);
    print_line(&format!("{} -> {}", first.file.display(), second.file.display()));
    let row = |what: &str, names: &NameDiff| {
        for (marker, names) in [('+', &names.more), ('-', &names.less)] {
            if !names.is_empty() {
                print_line(&format!("  {what:<8} {marker} {}", list(names.iter().cloned())));
            }
        }
    };
    row("may", &may);
    row("imports", &imports);
    row("exports", &exports);
    if may.more.is_empty() && may.less.is_empty() {
        print_line("  may      the same");
    }
    let sizes = [first, second].map(|checked| bytes(checked.inspection.bytes as u64));
    print_line(&format!("  size     {} -> {}", sizes[0], sizes[1]));
    print_line(&format!(
        "  memory   {} -> {}",
        memory(&first.inspection),
        memory(&second.inspection)
    ));
    if second.loads.is_ok() {
        print_line("A host would load the second.");
    }
}

pub(in crate::command) fn to_json(first: &CheckedFile<'_>, second: &CheckedFile<'_>) -> Value {
    let Comparison { may, imports, exports } = Comparison::of(first, second);
    json!({
        "first": first.to_json(),
        "second": second.to_json(),
        "may": may.to_json(),
        "imports": imports.to_json(),
        "exports": exports.to_json(),
    })
}
