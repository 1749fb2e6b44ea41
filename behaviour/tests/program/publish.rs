//! Tests of the commands for images, with Debian's registry.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::debian::DebianRegistry;
use crate::program::rig::{ProgramOutput, Rig};

/// A folder with a plugin and keys, and a registry.
struct Desk {
    rig: Rig,
    registry: DebianRegistry,
}

impl Desk {
    /// Returns `None` without a registry.
    fn new(guest: &str) -> Option<Desk> {
        let desk = Desk { rig: Rig::with(&[guest]), registry: DebianRegistry::with_tls()? };
        // Writes the credentials.
        drop(desk.registry.settings());
        assert_eq!(desk.rig.run(&["keygen", "release"]).code, Some(0));
        Some(desk)
    }

    /// Runs a command with the options of the registry.
    fn run(&self, arguments: &[&str]) -> ProgramOutput {
        let (ca, folder) = (self.registry.ca_file(), self.registry.folder.path());
        let credentials = folder.join("config.json");
        let options = ["--ca-file", ca.to_str().unwrap(), "--credentials"];
        self.rig.run(&[arguments, &options, &[credentials.to_str().unwrap()]].concat())
    }

    fn image(&self, rest: &str) -> String {
        self.registry.image(rest).to_string()
    }

    /// Publishes the plugin and returns the reference with the digest.
    fn publish(&self, file: &str, more: &[&str]) -> String {
        let image = self.image(":1.2.3");
        let output = self.run(&[&["publish", image.as_str(), file], more].concat());
        assert_eq!(output.code, Some(0), "{output:?}");
        output.stdout.trim().to_owned()
    }
}

#[test]
fn a_plugin_is_published_signed_verified_and_fetched() {
    let Some(desk) = Desk::new("asks.wat") else { return };
    let metadata = ["--method", "ask", "--release", "7", "--config", "{\"a\": 1}"];
    let pinned = desk.publish("asks.wasm", &metadata);
    assert!(pinned.starts_with(&format!("{}@sha256:", desk.image(":1.2.3"))), "{pinned}");

    let output = desk.run(&["verify", &pinned, "--key", "release.pub"]);
    assert_eq!(output.code, Some(4));
    assert!(output.stderr.contains("has no signature\nhint: `behaviour sign"), "{output:?}");
    let output = desk.run(&["sign", &pinned, "--key", "release.key", "--annotation", "by=ci"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let output = desk.run(&["verify", &pinned, "--key", "release.pub", "--json"]);
    assert_eq!(output.json()["annotations"]["by"], "ci");

    let output = desk.run(&["fetch", &pinned, "--key", "release.pub"]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(0), "reboot.wasm\n"), "{output:?}");
    let read = |name: &str| fs::read(desk.rig.path().join(name)).unwrap();
    assert_eq!(read("reboot.wasm"), read("asks.wasm"));

    let output = desk.run(&["inspect", &pinned]);
    for line in [
        "  version    1.2.3",
        "  release    7",
        "  methods    ask",
        "  config     {\"a\": 1}",
        "  contract   0.1.2",
        "  imports    context, clock, config, twin, telemetry",
        "  SBOM       none",
    ] {
        assert!(output.stdout.contains(&format!("{line}\n")), "no `{line}` in {output:?}");
    }
    let key = desk.run(&["inspect", &pinned, "--json"]).json()["image"]["signers"][0].clone();
    assert!(output.stdout.contains(&format!("  signed by  {}\n", key.as_str().unwrap())));
}

#[test]
fn a_signature_of_another_key_or_image_is_refused() {
    let Some(desk) = Desk::new("asks.wat") else { return };
    let signed = desk.publish("asks.wasm", &["--release", "1", "--key", "release.key"]);
    assert_eq!(desk.run(&["verify", &signed, "--key", "release.pub"]).code, Some(0));
    desk.rig.run(&["keygen", "other", "--type", "ed25519"]);
    let output = desk.run(&["verify", &signed, "--key", "other.pub"]);
    assert_eq!(output.code, Some(4));
    assert!(output.stderr.contains("is not signed by a trusted key"), "{output:?}");
    let output = desk.run(&["fetch", &signed, "--key", "other.pub", "--out", "stolen.wasm"]);
    assert_eq!(output.code, Some(4));
    assert!(!desk.rig.path().join("stolen.wasm").exists());
    let both = ["verify", &signed, "--key", "other.pub", "--key", "release.pub"];
    assert_eq!(desk.run(&both).code, Some(0));
    // The tag moves to an image without a signature.
    let moved = desk.publish("asks.wasm", &["--release", "2"]);
    assert_ne!(moved, signed);
    let tag = desk.image(":1.2.3");
    assert_eq!(desk.run(&["verify", &tag, "--key", "release.pub"]).code, Some(4));
    assert_eq!(desk.run(&["verify", &signed, "--key", "release.pub"]).code, Some(0));
    let output = desk.run(&["sign", &tag, "--key", "release.key"]);
    assert_eq!(output.code, Some(2));
    assert!(output.stderr.contains(&format!("hint: it is now `{moved}`")), "{output:?}");
}

#[test]
fn a_directory_carries_an_image_and_its_signature() {
    let Some(desk) = Desk::new("asks.wat") else { return };
    let signed = desk.publish("asks.wasm", &["--release", "1", "--key", "release.key"]);
    let output = desk.run(&["fetch", &signed, "--to", "usb"]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(0), "usb\n"), "{output:?}");
    drop(desk.registry);
    let verify = ["verify", signed.as_str(), "--key", "release.pub", "--from", "usb"];
    let output = desk.rig.run(&verify);
    assert_eq!(output.code, Some(0), "{output:?}");
    let fetch = ["fetch", signed.as_str(), "--from", "usb", "--key", "release.pub"];
    assert_eq!(desk.rig.run(&fetch).code, Some(0));
    let blobs = desk.rig.path().join("usb/blobs/sha256");
    let digest = signed.rsplit_once(':').unwrap().1;
    fs::write(blobs.join(digest), "{}").unwrap();
    let output = desk.rig.run(&verify);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("has other content"), "{output:?}");
}

#[test]
fn two_images_are_compared() {
    let Some(desk) = Desk::new("asks.wat") else { return };
    let first = desk.publish("asks.wasm", &["--release", "1"]);
    let _ = fixtures::write("reboots.wat", desk.rig.path());
    let second = desk.publish("reboots.wasm", &["--release", "2"]);
    let output = desk.run(&["inspect", &first, &second]);
    assert_eq!(output.code, Some(0), "{output:?}");
    for line in [&*format!("{first} -> {second}"), "  may      + ", "  release  1 -> 2"] {
        assert!(output.stdout.contains(line), "no `{line}` in {output:?}");
    }
    assert!(output.stdout.contains("  wants    none -> power"), "{output:?}");
}

#[test]
fn an_unreachable_registry_and_a_wrong_reference_are_reported_on_one_line() {
    let rig = Rig::with(&["asks.wat"]);
    let output = rig.run(&["publish", "reboot", "asks.wasm"]);
    assert_eq!(output.code, Some(2));
    assert!(output.stderr.contains("image reference `reboot`: has no repository"), "{output:?}");
    let output = rig.run(&["publish", "localhost:1/reboot", "asks.wasm"]);
    assert_eq!(output.code, Some(2));
    assert!(output.stderr.contains("hint: write `localhost:1/reboot:1.0.0`"), "{output:?}");
    fs::write(rig.path().join("notes.wasm"), "a note").unwrap();
    let output = rig.run(&["publish", "localhost:1/reboot:1", "notes.wasm"]);
    assert_eq!(output.code, Some(1), "{output:?}");
}

#[test]
fn a_key_is_private_and_never_replaced() {
    let rig = Rig::with(&[]);
    let output = rig.run(&["keygen", "release", "--json"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(output.json()["publicKey"], "release.pub");
    let key = rig.path().join("release.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&key).unwrap();
    let output = rig.run(&["keygen", "release"]);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.starts_with("error: release.key: "), "{output:?}");
    assert_eq!(fs::read(&key).unwrap(), before);
}
