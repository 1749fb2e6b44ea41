//! Images and signatures between this crate and other tools: `skopeo`, `oras` for Python, and
//! the JavaScript client of sigstore. They are unpacked or installed below `target/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use behaviour_oci::layout::Layout;
use behaviour_oci::signature::{self, Bundle, KeyType, PrivateKey, PublicKey};
use behaviour_oci::{Digest, Source as _, resolve};

use crate::debian::DebianRegistry;
use crate::packages::unpacked;
use crate::real::artifact;

/// Runs a program and returns its output, or the reason of its failure.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// Returns the tool, or `None` with a message. Panics if `CI` is set.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn available(tool: &Result<PathBuf, String>) -> Option<&Path> {
    if let Err(reason) = tool {
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        println!("skipped: {reason}");
    }
    tool.as_deref().ok()
}

/// Fills a folder below `target/` once.
fn filled(name: &str, fill: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = parent.join(name);
    if !folder.join("done").exists() {
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        fill(&folder)?;
        fs::write(folder.join("done"), "").map_err(|error| error.to_string())?;
    }
    Ok(folder)
}

/// Returns a folder with the script and the packages that it needs.
fn sigstore() -> Option<&'static Path> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    available(FOLDER.get_or_init(|| {
        let folder = filled("sigstore-js", |folder| {
            let install = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"];
            let packages =
                ["@sigstore/sign@4.1.1", "@sigstore/bundle@4.0.0", "@sigstore/verify@3.1.1"];
            run(Command::new("npm").args(install).args(packages).current_dir(folder)).map(drop)
        })?;
        let script = folder.join("sigstore.mjs");
        fs::write(script, include_str!("sigstore.mjs")).map_err(|error| error.to_string())?;
        Ok(folder)
    }))
}

fn node(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    run(Command::new("node").arg("sigstore.mjs").args(arguments).current_dir(folder))
}

#[test]
fn bundles_of_the_javascript_client_are_valid_and_changed_ones_are_not() {
    let Some(folder) = sigstore() else { return };
    let output = tempfile::tempdir().unwrap();
    let digest = Digest::of(b"image");
    for kind in ["p256", "ed25519"] {
        let file = |end: &str| output.path().join(format!("{kind}.{end}"));
        let (bundle, key) = (file("json"), file("pem"));
        let paths = [bundle.to_str().unwrap(), key.to_str().unwrap()];
        node(folder, &["make", kind, &digest.hex(), paths[0], paths[1]]).unwrap();
        let keys = PublicKey::all_from_pem(&fs::read(&key).unwrap()).unwrap();
        let text = fs::read_to_string(&bundle).unwrap();
        let check = |text: &str, digest: &Digest, keys: &[PublicKey]| {
            signature::verify(&[Bundle::new(text.as_bytes().to_vec())], digest, keys)
        };
        assert_eq!(check(&text, &digest, &keys).unwrap().key, keys[0].id());
        assert!(check(&text, &Digest::of(b"other"), &keys).is_err());
        let (other, _) = PrivateKey::generate(KeyType::P256).unwrap();
        assert!(check(&text, &digest, &[other.public_key().clone()]).is_err());
        let payload = text.split_once("\"payload\":\"").unwrap().1;
        let changed = text.replacen(&payload[..40], &payload[..40].replace('I', "J"), 1);
        assert_ne!(changed, text);
        assert!(check(&changed, &digest, &keys).is_err());
    }
}

#[test]
fn the_javascript_client_accepts_our_bundles_and_refuses_changed_ones() {
    let Some(folder) = sigstore() else { return };
    let output = tempfile::tempdir().unwrap();
    let annotations = BTreeMap::from([("release".to_owned(), "7".to_owned())]);
    for kind in [KeyType::P256, KeyType::Ed25519] {
        let (key, _) = PrivateKey::generate(kind).unwrap();
        let bundle = signature::sign(&key, &Digest::of(b"image"), &annotations).unwrap();
        let (file, public) = (output.path().join("bundle.json"), output.path().join("key.pem"));
        fs::write(&public, key.public_key().to_pem()).unwrap();
        fs::write(&file, &bundle.json).unwrap();
        let arguments = ["verify", file.to_str().unwrap(), public.to_str().unwrap()];
        assert_eq!(node(folder, &arguments).unwrap(), "valid\n");
        let (other, _) = PrivateKey::generate(kind).unwrap();
        fs::write(&public, other.public_key().to_pem()).unwrap();
        assert!(node(folder, &arguments).is_err());
    }
}

#[tokio::test]
async fn skopeo_copies_our_images_to_a_directory_and_back() {
    static ROOT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let packages = ["skopeo", "libgpgme11", "libassuan0", "libgpg-error0", "libdevmapper1.02.1"];
    let root = ROOT.get_or_init(|| {
        unpacked("skopeo", &packages, "usr/bin/skopeo")
            .ok_or_else(|| "apt-get has no skopeo".to_owned())
    });
    let Some(root) = available(root) else { return };
    let Some(registry) = DebianRegistry::plain() else { return };
    let client = registry.plain_client();
    let pushed = client.push(&registry.image(":1.2.3"), &artifact(5000)).await.unwrap();
    let skopeo = |from: &str, to: &str| {
        let libraries = ["usr/lib", "lib"].map(|lib| {
            root.join(lib)
                .join(format!("{}-linux-gnu", std::env::consts::ARCH))
                .display()
                .to_string()
        });
        let options =
            ["--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false"];
        let mut command = Command::new(root.join("usr/bin/skopeo"));
        command.env("LD_LIBRARY_PATH", libraries.join(":"));
        run(command.args(options).args([from, to])).unwrap();
    };
    let dir = registry.folder.path().join("usb");
    let oci = format!("oci:{}:1.2.3", dir.display());
    skopeo(&format!("docker://{}", registry.image(":1.2.3")), &oci);
    let layout = Layout::open(&dir).await.unwrap();
    let image = resolve(&layout, &registry.image(":1.2.3")).await.unwrap();
    assert_eq!(image.pinned, pushed);
    skopeo(&oci, &format!("docker://{}", registry.image(":copied")));
    let image = resolve(&client, &registry.image(":copied")).await.unwrap();
    assert_eq!(image.pinned, pushed);
    let layer = image.manifest.component().unwrap();
    let component = client.blob(&registry.image(""), layer, 1 << 20).await.unwrap();
    assert_eq!(component, artifact(5000).component);
}

#[tokio::test]
async fn oras_pulls_our_images_and_pushes_images_that_are_pulled() {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let python = PYTHON.get_or_init(|| {
        let folder = filled("oras-python", |folder| {
            run(Command::new("python3").args(["-m", "venv"]).arg(folder.join("venv")))?;
            let pip = ["-m", "pip", "install", "--quiet", "oras==0.2.43"];
            run(Command::new(folder.join("venv/bin/python")).args(pip)).map(drop)
        })?;
        Ok(folder.join("venv/bin/python"))
    });
    let Some(python) = available(python) else { return };
    let Some(registry) = DebianRegistry::plain() else { return };
    let client = registry.plain_client();
    client.push(&registry.image(":1.2.3"), &artifact(5000)).await.unwrap();
    let oras = |verb: &str, image: String| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/registry/oras_client.py");
        let mut command = Command::new(python);
        command.arg(script).args([verb, &image]).current_dir(registry.folder.path());
        run(&mut command).unwrap();
    };
    oras("pull", registry.image(":1.2.3").to_string());
    let pulled = fs::read(registry.folder.path().join("reboot.wasm")).unwrap();
    assert_eq!(pulled, artifact(5000).component);
    oras("push", registry.image(":oras").to_string());
    let image = resolve(&client, &registry.image(":oras")).await.unwrap();
    let layer = image.manifest.component().unwrap();
    assert_eq!(client.blob(&registry.image(""), layer, 1 << 20).await.unwrap(), pulled);
}
