//! Rule for outside crates, protocol constants and escapes of text: only one module names each
//! of them.

use std::fs;

use super::expect_none;
use super::source::{root, sources};

/// The outside names, each with the paths of the sources that may contain it.
const ALLOWED_PATHS: &[(&str, &[&str])] = &[
    ("rumqttc::", &["host/src/connection", "bench/src/peers/bare.rs", "bench/src/idle_devices.rs"]),
    ("prometheus_client::", &["host/src/metrics"]),
    ("prost::", &["host/src/otlp"]),
    ("flate2::", &["host/src/otlp"]),
    ("notify::", &["host/src/swap/watch"]),
    ("wasmtime::", &["plugin/", "bench/src/bare_wasmtime.rs"]),
    ("wit_component::", &["plugin/"]),
    ("azure_core::", &["service/src/client/entra.rs"]),
    ("azure_identity::", &["service/src/client/entra.rs"]),
    (
        "reqwest::",
        &["service/src/client", "behaviour/src/desk/network/real.rs", "oci/src/registry"],
    ),
    ("redb::", &["hub/src/state", "host/src/journal"]),
    (
        "rcgen::",
        &[
            "hub/src/ca.rs",
            "host/src/issued/request.rs",
            "service/src/command/devices/self_signed.rs",
            "tutorial/play/src/certificate.rs",
            "bench/src/certificate.rs",
        ],
    ),
    ("cryptoki::", &["host/src/pkcs11"]),
    ("yasna::", &["trust/src/certificate.rs"]),
    ("webpki::", &["hub/src/certificates"]),
    ("use ring::", &["hub/src/entra", "oci/src"]),
    ("rustls_native_certs::", &["trust/"]),
    ("tokio_tungstenite::", &["hub/src/websocket.rs"]),
    ("$iothub/", &["protocol/src/topic"]),
    // Untrusted text is escaped by the same rules everywhere.
    ("escape_debug", &["json/src/readable.rs"]),
    ("escape_default", &["json/src/readable.rs"]),
    ("escape_unicode", &["json/src/readable.rs"]),
    ("\"SharedAccessSignature", &["protocol/src/sas", "protocol/src/connection_string"]),
];

#[test]
fn each_outside_name_is_used_in_its_allowed_paths_only() {
    let mut violations = Vec::new();
    for source in sources().iter().filter(|source| source.is_product()) {
        for (index, line) in source.product_text().lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for (name, paths) in ALLOWED_PATHS {
                if has_name(line, name) && !paths.iter().any(|path| source.path.starts_with(path)) {
                    violations.push(format!(
                        "{}:{}: `{name}` belongs in {}",
                        source.path,
                        index + 1,
                        paths.join(" or ")
                    ));
                }
            }
        }
    }
    expect_none(&violations);
}

/// Returns `true` if a line contains the name and not only as the end of a longer name.
fn has_name(line: &str, name: &str) -> bool {
    line.match_indices(name)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[test]
fn the_lock_file_has_only_one_crypto_provider() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    assert!(lock.contains("name = \"ring\""));
    for other in ["aws-lc-rs", "openssl", "native-tls"] {
        assert!(
            !lock.contains(&format!("name = \"{other}\"")),
            "Cargo.lock has `{other}` besides `ring`: rustls cannot choose between providers"
        );
    }
}
