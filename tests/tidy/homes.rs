//! Homes: an outside crate or a protocol word appears in one place, and packages
//! depend only on those below them.

use std::fs;

use super::expect_none;
use super::source::{root, sources};

/// An outside name, and the places that may contain it.
const ONE_HOME: &[(&str, &[&str])] = &[
    ("rumqttc::", &["host/src/connection", "bench/src/peers/bare.rs"]),
    ("notify::", &["host/src/swap/watch.rs"]),
    ("wasmtime::", &["plugin/", "bench/src/bare_wasmtime.rs"]),
    ("wit_component::", &["plugin/"]),
    ("reqwest::", &["service/src/client"]),
    ("redb::", &["hub/src/state", "host/src/journal"]),
    ("rcgen::", &["hub/src/ca.rs"]),
    ("rustls_native_certs::", &["trust/"]),
    ("tokio_tungstenite::", &["hub/src/websocket.rs"]),
    ("$iothub/", &["protocol/src/topic"]),
    ("\"SharedAccessSignature", &["protocol/src/sas", "protocol/src/connection_string"]),
];

/// A package, and the packages of this workspace that it may depend on.
const PACKAGES: &[(&str, &[&str])] = &[
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

/// All packages of this workspace that another one can depend on.
const LIBRARIES: &[&str] = &[
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

#[test]
fn each_outside_name_has_one_home() {
    let mut violations = Vec::new();
    for source in sources().iter().filter(|source| source.is_product()) {
        for (index, line) in source.product_text().lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for (name, homes) in ONE_HOME {
                if has_name(line, name) && !homes.iter().any(|home| source.path.starts_with(home)) {
                    violations.push(format!(
                        "{}:{}: `{name}` belongs in {}",
                        source.path,
                        index + 1,
                        homes.join(" or ")
                    ));
                }
            }
        }
    }
    expect_none(&violations);
}

/// Returns whether a line contains a name that does not continue a longer one.
fn has_name(line: &str, name: &str) -> bool {
    line.match_indices(name)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[test]
fn packages_depend_only_on_those_below_them() {
    let mut violations = Vec::new();
    for (package, below) in PACKAGES {
        let manifest = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let Some(dependencies) = manifest.get("dependencies").and_then(toml::Value::as_table)
        else {
            panic!("{package}/Cargo.toml has no dependencies");
        };
        for name in dependencies.keys() {
            if LIBRARIES.contains(&name.as_str()) && !below.contains(&name.as_str()) {
                violations.push(format!("{package}/Cargo.toml: `{package}` must not use `{name}`"));
            }
        }
    }
    expect_none(&violations);
}

#[test]
fn one_crypto_provider_is_in_the_lock_file() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    assert!(lock.contains("name = \"ring\""));
    for other in ["aws-lc-rs", "openssl", "native-tls"] {
        assert!(
            !lock.contains(&format!("name = \"{other}\"")),
            "Cargo.lock has `{other}` beside `ring`: rustls cannot choose between two"
        );
    }
}
