//! A token of SoftHSM 2. Without an installed one, Debian's packages are unpacked below
//! `target/`, so nothing is installed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::packages;

pub(crate) const PIN: &str = "731946";

/// The program and the library of SoftHSM.
struct SoftHsm {
    program: PathBuf,
    library: PathBuf,
}

/// A token in a directory of its own.
pub(crate) struct Token {
    folder: TempDir,
    softhsm: &'static SoftHsm,
    imported: AtomicU32,
}

impl Token {
    /// Returns an initialised token. Returns `None` without SoftHSM, unless `CI` is set.
    pub(crate) fn new() -> Option<Token> {
        let token = Token::empty()?;
        token.initialise();
        Some(token)
    }

    /// Returns the directory of a token that is not initialised.
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    pub(crate) fn empty() -> Option<Token> {
        static FOUND: OnceLock<Option<SoftHsm>> = OnceLock::new();
        let Some(softhsm) = FOUND.get_or_init(|| installed().or_else(unpacked)) else {
            assert!(std::env::var_os("CI").is_none(), "neither SoftHSM nor apt-get found");
            println!("skipped: neither SoftHSM nor apt-get found");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let tokens = folder.path().join("tokens");
        fs::create_dir(&tokens).unwrap();
        let token = Token { folder, softhsm, imported: AtomicU32::new(1) };
        let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        token.file("softhsm2.conf", &text);
        token.file("pin", PIN);
        Some(token)
    }

    pub(crate) fn initialise(&self) {
        self.run(&["--init-token", "--free", "--label", "device", "--so-pin", "87654321"]);
    }

    /// Imports a key in PKCS #8.
    pub(crate) fn import(&self, label: &str, key: &str) {
        let file = self.file("key.pem", key);
        // Two keys of a token cannot have the same id.
        let id = format!("{:08x}", self.imported.fetch_add(1, Ordering::Relaxed));
        let token = ["--token", "device", "--label", label, "--id", id.as_str()];
        self.run(&[&["--import", file.as_str()][..], &token[..]].concat());
    }

    /// Returns `[hub.identity]` with a certificate and the key with this label.
    pub(crate) fn settings(&self, label: &str, certificate: &str) -> String {
        let certificate = self.file(&format!("{label}.pem"), certificate);
        let (module, pin) = (self.softhsm.library.display(), self.pin_file());
        format!(
            "[hub.identity]\ncertificate_file = {certificate:?}\n\
             key_uri = \"pkcs11:token=device;object={label}?module-path={module}&pin-source=file:{pin}\"\n"
        )
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.folder.path().join("softhsm2.conf")
    }

    pub(crate) fn pin_file(&self) -> String {
        self.folder.path().join("pin").display().to_string()
    }

    /// Writes a file that others cannot read, and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    fn run(&self, arguments: &[&str]) {
        let mut program = Command::new(&self.softhsm.program);
        program.arg("--module").arg(&self.softhsm.library).args(arguments).args(["--pin", PIN]);
        let output = program.env("SOFTHSM2_CONF", self.configuration()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
    }
}

fn installed() -> Option<SoftHsm> {
    let program = PathBuf::from("/usr/bin/softhsm2-util");
    let library = PathBuf::from("/usr/lib/softhsm/libsofthsm2.so");
    (program.exists() && library.exists()).then_some(SoftHsm { program, library })
}

/// Unpacks Debian's packages.
fn unpacked() -> Option<SoftHsm> {
    let packages = ["softhsm2", "libsofthsm2", "softhsm2-common"];
    let library = "usr/lib/softhsm/libsofthsm2.so";
    let root = packages::unpacked("softhsm", &packages, library)?;
    Some(SoftHsm { program: root.join("usr/bin/softhsm2-util"), library: root.join(library) })
}
