//! The packages of the workspace and the allowed dependencies between them.

use std::collections::BTreeSet;
use std::fs;

use super::expect_none;
use super::source::root;

/// A package of the workspace.
pub(super) struct Package {
    /// The path of the folder from the workspace's root.
    pub(super) folder: &'static str,
    /// The names of the packages that it may use. Its tests may use more packages.
    below: &'static [&'static str],
}

impl Package {
    /// Returns the name by which other packages use it, the last part of its folder.
    fn name(&self) -> &'static str {
        self.folder.rsplit('/').next().expect("`rsplit` yields at least one part")
    }
}

/// Every package. A package comes after the packages that it may use.
pub(super) const PACKAGES: &[Package] = &[
    Package { folder: "json", below: &[] },
    Package { folder: "protocol", below: &["json"] },
    Package { folder: "program", below: &["json"] },
    Package { folder: "trust", below: &["program"] },
    Package { folder: "oci", below: &["json", "program", "trust"] },
    Package { folder: "plugin", below: &["json"] },
    Package { folder: "plugin/fixtures", below: &["oci"] },
    Package { folder: "host", below: &["json", "oci", "plugin", "program", "protocol", "trust"] },
    Package { folder: "hub", below: &["json", "program", "protocol", "trust"] },
    Package { folder: "service", below: &["json", "oci", "program", "protocol", "trust"] },
    Package {
        folder: "behaviour",
        below: &["json", "oci", "plugin", "program", "protocol", "trust"],
    },
    Package { folder: "guest-reboot", below: &[] },
    Package { folder: "guest-reboot/real", below: &[] },
    Package { folder: "tutorial", below: &[] },
    Package {
        folder: "tutorial/play",
        below: &["behaviour", "host", "hub", "program", "protocol", "service", "trust"],
    },
    Package {
        folder: "tests",
        below: &[
            "behaviour",
            "fixtures",
            "host",
            "hub",
            "json",
            "oci",
            "plugin",
            "program",
            "protocol",
            "service",
            "trust",
        ],
    },
    Package {
        folder: "bench",
        below: &["behaviour", "fixtures", "oci", "plugin", "protocol", "service", "trust"],
    },
    Package { folder: "bench/probe", below: &[] },
    Package { folder: "docs", below: &[] },
];

/// Returns the top-level folders that contain sources: those of the packages and `fuzz`,
/// which is built outside the workspace.
pub(super) fn folders() -> impl Iterator<Item = &'static str> {
    let folders = PACKAGES.iter().map(|package| package.folder);
    folders.filter(|folder| !folder.contains('/')).chain(["fuzz"])
}

fn manifest(folder: &str) -> toml::Table {
    fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap().parse().unwrap()
}

#[test]
fn the_table_has_every_package_of_the_workspace() {
    let members = manifest("")["workspace"]["members"].as_array().unwrap().clone();
    let members: BTreeSet<&str> = members.iter().map(|member| member.as_str().unwrap()).collect();
    let table: BTreeSet<&str> = PACKAGES.iter().map(|package| package.folder).collect();
    assert_eq!(table, members);
}

#[test]
fn packages_use_only_the_packages_that_the_table_allows() {
    let mut violations = Vec::new();
    for (index, package) in PACKAGES.iter().enumerate() {
        let Package { folder, below } = package;
        let manifest = manifest(folder);
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
        let used = |name: &str| dependencies.is_some_and(|table| table.contains_key(name));
        for name in PACKAGES.iter().map(Package::name) {
            if used(name) && !below.contains(&name) {
                violations.push(format!("{folder}/Cargo.toml: `{folder}` must not use `{name}`"));
            }
        }
        for name in *below {
            if !used(name) {
                violations.push(format!("{folder}: `{name}` is allowed but unused"));
            }
            if !PACKAGES[..index].iter().any(|lower| lower.name() == *name) {
                violations
                    .push(format!("{folder}: `{name}` is not in an earlier line of the table"));
            }
        }
    }
    expect_none(&violations);
}
