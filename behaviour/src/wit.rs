//! The WIT files of the contract between host and plugin, embedded in this program.

use std::io;
use std::path::Path;

/// The names and contents of the files of the package `device:behaviour`.
pub(crate) const FILES: &[(&str, &str)] = &[
    ("clock.wit", include_str!("../../wit/clock.wit")),
    ("config.wit", include_str!("../../wit/config.wit")),
    ("context.wit", include_str!("../../wit/context.wit")),
    ("deferred.wit", include_str!("../../wit/deferred.wit")),
    ("desired.wit", include_str!("../../wit/desired.wit")),
    ("http.wit", include_str!("../../wit/http.wit")),
    ("jobs.wit", include_str!("../../wit/jobs.wit")),
    ("lifecycle.wit", include_str!("../../wit/lifecycle.wit")),
    ("log.wit", include_str!("../../wit/log.wit")),
    ("messages.wit", include_str!("../../wit/messages.wit")),
    ("methods.wit", include_str!("../../wit/methods.wit")),
    ("metrics.wit", include_str!("../../wit/metrics.wit")),
    ("power.wit", include_str!("../../wit/power.wit")),
    ("state.wit", include_str!("../../wit/state.wit")),
    ("telemetry.wit", include_str!("../../wit/telemetry.wit")),
    ("twin.wit", include_str!("../../wit/twin.wit")),
    ("types.wit", include_str!("../../wit/types.wit")),
    ("world.wit", include_str!("../../wit/world.wit")),
];

/// Writes the files into a folder. Creates the folder if it is missing.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use wit_parser::{Docs, Resolve, Stability, TypeDefKind, WorldItem};

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")
    }

    #[test]
    fn every_file_of_the_contract_is_embedded() {
        let on_disk: BTreeSet<_> = std::fs::read_dir(folder())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let embedded: BTreeSet<_> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(embedded, on_disk);
    }

    /// Messages about the items that the check rejects.
    #[derive(Default)]
    struct Rejected(Vec<String>);

    impl Rejected {
        fn item(&mut self, name: &str, docs: &Docs, stability: &Stability) {
            self.docs(name, docs);
            self.stability(name, stability);
        }

        fn docs(&mut self, name: &str, docs: &Docs) {
            if docs.is_empty() {
                self.0.push(format!("{name}: no documentation"));
            }
        }

        fn stability(&mut self, name: &str, stability: &Stability) {
            if !matches!(stability, Stability::Stable { .. }) {
                self.0.push(format!("{name}: no `@since`"));
            }
        }
    }

    #[test]
    fn each_item_of_the_contract_has_documentation_and_a_since_version() {
        let mut resolve = Resolve::default();
        resolve.push_dir(folder()).unwrap();
        let mut rejected = Rejected::default();
        for (_, package) in &resolve.packages {
            rejected.docs("the package", &package.docs);
        }
        for (_, world) in &resolve.worlds {
            rejected.item(&world.name, &world.docs, &world.stability);
            for item in world.imports.values().chain(world.exports.values()) {
                // The world does not name `types`, which is imported because other interfaces use it.
                if let WorldItem::Interface { id, stability, .. } = item
                    && resolve.interfaces[*id].name.as_deref() != Some("types")
                {
                    let name = resolve.interfaces[*id].name.as_deref().unwrap_or_default();
                    rejected.stability(&format!("{}: {name}", world.name), stability);
                }
            }
        }
        for (_, interface) in &resolve.interfaces {
            let name = interface.name.as_deref().unwrap();
            rejected.item(name, &interface.docs, &interface.stability);
            for function in interface.functions.values() {
                let name = format!("{name}.{}", function.name);
                rejected.item(&name, &function.docs, &function.stability);
            }
        }
        for (_, def) in &resolve.types {
            let Some(name) = &def.name else { continue };
            rejected.stability(name, &def.stability);
            match &def.kind {
                // An alias for a type of another interface.
                TypeDefKind::Type(wit_parser::Type::Id(_)) => continue,
                TypeDefKind::Record(record) => {
                    for field in &record.fields {
                        rejected.docs(&format!("{name}.{}", field.name), &field.docs);
                    }
                }
                TypeDefKind::Variant(variant) => {
                    for case in &variant.cases {
                        rejected.docs(&format!("{name}.{}", case.name), &case.docs);
                    }
                }
                TypeDefKind::Enum(cases) => {
                    for case in &cases.cases {
                        rejected.docs(&format!("{name}.{}", case.name), &case.docs);
                    }
                }
                _ => {}
            }
            rejected.docs(name, &def.docs);
        }
        assert!(rejected.0.is_empty(), "{:#?}", rejected.0);
        assert_eq!(resolve.interfaces.len() + 1, FILES.len());
    }
}
