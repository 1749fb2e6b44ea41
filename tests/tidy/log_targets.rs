//! Rule for the log: each program lists the crates that log, so that it can reject a filter
//! that matches no event.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::packages::PACKAGES;
use super::source::root;

/// The programs that log, each with its package, the source of its list, and the targets of
/// the list that are not crates.
const PROGRAMS: &[(&str, &str, &[&str])] =
    &[("host", "host/src/command/run.rs", &["plugin"]), ("hub", "hub/src/main.rs", &[])];

#[test]
fn each_program_lists_exactly_the_crates_that_log() {
    let dependencies = dependencies();
    for (package, source, others) in PROGRAMS {
        let mut logging: BTreeSet<String> = others.iter().map(ToString::to_string).collect();
        for name in reachable(&format!("behaviour-{package}"), &dependencies) {
            if ["tracing", "log"].iter().any(|it| dependencies[&name].contains(*it)) {
                logging.insert(name.replace('-', "_"));
            }
        }
        let text = fs::read_to_string(root().join(source)).unwrap();
        let (_, list) = text.split_once("LOG_TARGETS: &[&str] = &[").unwrap();
        let (list, _) = list.split_once("];").unwrap();
        let listed: BTreeSet<String> =
            list.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(listed, logging, "{source}");
    }
}

/// Returns the names of a package and of all packages that it uses.
fn reachable(package: &str, dependencies: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![package.to_owned()];
    while let Some(name) = open.pop() {
        if found.insert(name.clone()) {
            open.extend(dependencies[&name].iter().cloned());
        }
    }
    found
}

/// Returns the dependencies of each package. Those of outside packages are in `Cargo.lock`.
/// For the packages of the workspace, `Cargo.lock` includes those of tests, so their manifests
/// are read.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let lock = table("Cargo.lock");
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock["package"].as_array().unwrap() {
        let names = package.get("dependencies").and_then(toml::Value::as_array);
        let names = names.into_iter().flatten().filter_map(toml::Value::as_str);
        // A name that occurs in several versions is followed by the version.
        let names = names.map(|name| name.split(' ').next().unwrap_or(name).to_owned());
        all.entry(package["name"].as_str().unwrap().to_owned()).or_default().extend(names);
    }
    let workspace = table("Cargo.toml");
    let package_name = |name: &str| {
        let entry = workspace["workspace"]["dependencies"].get(name);
        let package = entry.and_then(|entry| entry.get("package")).and_then(toml::Value::as_str);
        package.unwrap_or(name).to_owned()
    };
    for package in PACKAGES {
        let manifest = table(&format!("{}/Cargo.toml", package.folder));
        let name = manifest["package"]["name"].as_str().unwrap().to_owned();
        let targets = manifest.get("target").and_then(toml::Value::as_table);
        let sections = targets.into_iter().flat_map(toml::Table::values).chain([&manifest]);
        let names = sections.filter_map(|section| section.get("dependencies")?.as_table());
        let names = names.flat_map(|table| table.keys()).map(|name| package_name(name));
        all.insert(name, names.collect());
    }
    all
}

fn table(file: &str) -> toml::Value {
    let text = fs::read_to_string(root().join(file)).unwrap();
    toml::Value::Table(text.parse().unwrap())
}
