//! The house rules, read from the sources: who may name whom, and what stands
//! in one place only. A break is reported as `file:line: rule`.

use std::fs;
use std::path::{Path, PathBuf};

/// The longest a file may grow before it is more than one room.
const LONGEST_FILE: usize = 500;

/// An outside name, and the places that may say it.
const ONE_HOME: &[(&str, &[&str])] = &[
    ("rumqttc::", &["host/src/connection", "bench/src/peers/bare.rs"]),
    ("notify::", &["host/src/watch.rs"]),
    ("wasmtime::", &["plugin/", "bench/src/floor.rs"]),
    ("wit_component::", &["plugin/"]),
    ("reqwest::", &["service/src/client"]),
    ("redb::", &["hub/src/state", "host/src/journal"]),
    ("rcgen::", &["hub/src/ca.rs"]),
    ("rustls_native_certs::", &["trust/"]),
    ("tokio_tungstenite::", &["hub/src/websocket.rs"]),
    ("$iothub/", &["protocol/src/topic"]),
    ("\"SharedAccessSignature", &["protocol/src/sas", "protocol/src/connection_string"]),
];

/// A package, and the packages of ours that it may name.
const ARROWS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("plugin", &[]),
    ("guest-reboot", &[]),
    ("trust", &[]),
    ("program", &[]),
    ("host", &["plugin", "program", "protocol", "trust"]),
    ("hub", &["program", "protocol"]),
    ("service", &["program", "protocol", "trust"]),
    ("behaviour", &["plugin", "program", "protocol"]),
    ("plugin/fixtures", &[]),
    ("bench", &["behaviour", "plugin", "protocol", "service", "trust"]),
    ("bench/probe", &[]),
];

const OURS: &[&str] = &[
    "protocol",
    "trust",
    "program",
    "plugin",
    "host",
    "hub",
    "service",
    "behaviour",
    "guest-reboot",
    "tutorial",
    "tests",
    "bench",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ stands in the workspace")
}

/// A source file: its path from the workspace's root, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The lines of the product, numbered from 1: no comments, and nothing
    /// from the first test module on.
    fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn is_product(&self) -> bool {
        !self.path.contains("/tests/")
            && !self.path.contains("/benches/")
            && !self.path.ends_with("/tests.rs")
            && !self.path.starts_with("tests/")
    }
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    walk(&path, found);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for package in OURS {
        walk(&root().join(package), &mut found);
    }
    found.sort();
    let sources: Vec<Source> = found
        .iter()
        .map(|path| Source {
            path: path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/"),
            text: fs::read_to_string(path).unwrap(),
        })
        .collect();
    assert!(sources.len() > 50, "only {} source files found", sources.len());
    sources
}

fn expect_none(breaks: &[String]) {
    assert!(breaks.is_empty(), "\n{}\n", breaks.join("\n"));
}

#[test]
fn each_outside_name_has_one_home() {
    let mut breaks = Vec::new();
    for source in sources().iter().filter(|source| source.is_product()) {
        for (number, line) in source.product_lines() {
            for (name, homes) in ONE_HOME {
                if line.contains(name) && !homes.iter().any(|home| source.path.starts_with(home)) {
                    breaks.push(format!(
                        "{}:{number}: `{name}` belongs in {}",
                        source.path,
                        homes.join(" or ")
                    ));
                }
            }
        }
    }
    expect_none(&breaks);
}

#[test]
fn packages_name_only_those_below_them() {
    let mut breaks = Vec::new();
    for (package, below) in ARROWS {
        let manifest = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let Some(dependencies) = manifest.get("dependencies").and_then(toml::Value::as_table)
        else {
            panic!("{package}/Cargo.toml has no dependencies");
        };
        for name in dependencies.keys() {
            if OURS.contains(&name.as_str()) && !below.contains(&name.as_str()) {
                breaks.push(format!("{package}/Cargo.toml: {package} may not name {name}"));
            }
        }
    }
    expect_none(&breaks);
}

#[test]
fn files_are_small_and_named_for_what_they_are() {
    let empty_names = ["utils", "util", "common", "helpers", "helper", "misc", "manager", "mod"];
    let mut breaks = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > LONGEST_FILE {
            breaks.push(format!("{}: {lines} lines; is it still one room?", source.path));
        }
        let name = Path::new(&source.path).file_stem().unwrap().to_string_lossy().into_owned();
        if empty_names.contains(&name.as_str()) {
            breaks.push(format!("{}: the name says nothing", source.path));
        }
    }
    expect_none(&breaks);
}

#[test]
fn every_file_says_what_it_is() {
    let breaks: Vec<String> = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| format!("{}:1: no module documentation", source.path))
        .collect();
    expect_none(&breaks);
}

#[test]
fn behaviour_is_spelled_the_british_way() {
    // Put together here, so that this file does not break its own rule.
    let american = ["behav", "ior"].concat();
    let tokio = ["missedtick", &american].concat();
    let mut breaks = Vec::new();
    for source in sources() {
        for (index, line) in source.text.lines().enumerate() {
            // tokio has one name of its own that is spelled so.
            if line.to_lowercase().replace("_", "").replace(&tokio, "").contains(&american) {
                breaks.push(format!("{}:{}: {american}", source.path, index + 1));
            }
        }
    }
    expect_none(&breaks);
}

#[test]
fn one_crypto_provider_is_in_the_lock_file() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    assert!(lock.contains("name = \"ring\""));
    for other in ["aws-lc-rs", "openssl", "native-tls"] {
        assert!(
            !lock.contains(&format!("name = \"{other}\"")),
            "{other} came in: rustls cannot choose"
        );
    }
}
