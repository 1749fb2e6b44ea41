//! Acceptance by signature and by owner, with code that the compiler has made.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use oci::signature::{KeyType, PrivateKey, sign};
use plugin::{Limits, TARGET, compile_for};
use sha2::{Digest as _, Sha256};

use super::super::{Loader, load_all};
use super::*;
use crate::config::Config;

/// A device with one plugin, compiled elsewhere.
struct Device {
    folder: tempfile::TempDir,
    file: PathBuf,
}

impl Device {
    fn new(target: &str) -> Device {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("answers.compiled");
        let code = compile_for(target, &fixtures::guest("answers.wat"), &Limits::default());
        fs::write(&file, code.unwrap()).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        Device { folder, file }
    }

    /// Signs the plugin with a new key, which is trusted as `key.pub`.
    fn sign(&self) {
        let (key, _der) = PrivateKey::generate(KeyType::P256).unwrap();
        let digest = Digest::of(&fs::read(&self.file).unwrap());
        let bundle = sign(&key, &digest, &BTreeMap::new()).unwrap();
        fs::write(signature::bundle_path(&self.file), bundle.json).unwrap();
        fs::write(self.folder.path().join("key.pub"), key.public_key().to_pem()).unwrap();
    }

    /// Loads the plugin, and returns the line of an error with its hint.
    fn load(&self, trust: &str) -> Result<(), String> {
        let text = format!(
            "[host]\ncompile_cache = \"cache\"\n[host.trust]\n{trust}\n[plugins.p]\n\
             file = {:?}\nmethods = [\"*\"]\n",
            self.file
        );
        let config = Config::parse(&text, self.folder.path()).unwrap();
        let loaded = load_all(&Loader::new(&config).unwrap(), &config);
        loaded.map(drop).map_err(|error| {
            let hint = error.hint().unwrap_or_default();
            let line = format!("{} ({hint})", program::chain(&error));
            line.replace(&self.folder.path().display().to_string(), "FOLDER")
        })
    }

    /// Damages the code as a failing disk does.
    fn damage_the_code(&self) {
        let mut file = fs::read(&self.file).unwrap();
        let middle = file.len() / 2;
        file[middle] ^= 1;
        fs::write(&self.file, file).unwrap();
    }

    /// Changes the code and its digest as an attacker does.
    fn change_the_code(&self) {
        self.damage_the_code();
        let mut file = fs::read(&self.file).unwrap();
        let digest = Sha256::digest(&file[48..]);
        file[16..48].copy_from_slice(&digest);
        fs::write(&self.file, file).unwrap();
    }
}

const KEYS: &str = "keys = [\"key.pub\"]";

#[test]
fn a_compiled_file_of_the_hosts_user_is_loaded_also_a_second_time_from_the_cache() {
    let device = Device::new(TARGET);
    assert_eq!(device.load(""), Ok(()));
    assert_eq!(device.load(""), Ok(()));
}

#[test]
fn a_compiled_file_that_others_can_write_to_needs_a_signature() {
    let device = Device::new(TARGET);
    fs::set_permissions(&device.file, Permissions::from_mode(0o666)).unwrap();
    let error = device.load("").unwrap_err();
    let reason = "others can write to it (mode 666) (sign it with `behaviour compile --key FILE`";
    assert!(error.contains(reason), "{error}");

    device.sign();
    assert_eq!(device.load(KEYS), Ok(()));
}

#[test]
fn a_compiled_file_of_another_user_is_refused_unless_the_user_is_root() {
    let (host, other) = (1000, 1001);
    let check = |user| check_owner(Owner { user, mode: 0o100_644 }, host);
    assert!(check(host).is_ok() && check(0).is_ok());
    assert!(matches!(check(other), Err(NotAccepted::Owner(1001))));
}

#[test]
fn changed_code_is_refused_by_its_signature_even_if_the_file_is_the_hosts_own() {
    let device = Device::new(TARGET);
    device.sign();
    assert_eq!(device.load(KEYS), Ok(()));
    device.change_the_code();
    let error = device.load(KEYS).unwrap_err();
    assert!(error.contains("not signed by a trusted key"), "{error}");
    assert!(error.contains("compile it again with `--key FILE`"), "{error}");
}

#[test]
fn damaged_code_is_refused_without_a_signature_and_named_so_with_one() {
    let device = Device::new(TARGET);
    device.damage_the_code();
    let expected = "plugin `p`: damaged: the file does not match the digest that it contains \
                    (copy it again, or compile it again)";
    assert_eq!(device.load(""), Err(expected.to_owned()));
    device.sign();
    assert_eq!(device.load(KEYS), Err(expected.to_owned()));
}

#[test]
fn the_signature_of_a_strangers_key_is_refused() {
    let device = Device::new(TARGET);
    device.sign();
    let (stranger, _der) = PrivateKey::generate(KeyType::P256).unwrap();
    fs::write(device.folder.path().join("key.pub"), stranger.public_key().to_pem()).unwrap();
    let error = device.load(KEYS).unwrap_err();
    assert!(error.contains("not signed by a trusted key"), "{error}");
}

#[test]
fn with_signatures_always_required_the_owner_does_not_count() {
    let device = Device::new(TARGET);
    device.sign();
    fs::remove_file(signature::bundle_path(&device.file)).unwrap();
    let error = device.load(&format!("{KEYS}\nsignature = \"always\"")).unwrap_err();
    assert!(error.contains("no signature in FOLDER/answers.compiled.sigstore.json"), "{error}");
}

#[test]
fn a_signature_that_is_a_pipe_is_refused_instead_of_waiting_for_its_writer() {
    let device = Device::new(TARGET);
    device.sign();
    let bundle = signature::bundle_path(&device.file);
    fs::remove_file(&bundle).unwrap();
    assert!(Command::new("mkfifo").arg(bundle).status().unwrap().success());
    let error = device.load(KEYS).unwrap_err();
    let expected = "signature FOLDER/answers.compiled.sigstore.json: not a regular file";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn code_in_an_image_is_refused() {
    let device = Device::new(TARGET);
    let text = format!("[plugins.p]\nfile = {:?}\nmethods = [\"*\"]\n", device.file);
    let config = Config::parse(&text, device.folder.path()).unwrap();
    let section = PluginSection { from_image: true, ..config.plugins["p"].clone() };
    let file = super::super::read("p", &section).unwrap();
    let refused = accept(&section, &file, &TrustSection::default());
    assert!(matches!(refused, Err(NotAccepted::Image)), "{refused:?}");
}

#[test]
fn code_for_another_target_is_refused_with_the_target_of_this_host() {
    let device = Device::new("pulley64");
    let error = device.load("").unwrap_err();
    assert!(
        error.contains("compiled for another host: it was compiled for architecture"),
        "{error}"
    );
    assert!(error.contains(&format!("`behaviour compile --target {TARGET}`")), "{error}");
}
