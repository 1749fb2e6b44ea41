//! A software TPM: swtpm, with tpm2-pkcs11 as its library.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::packages;

pub(super) const PIN: &str = "842057";

/// PIN of the security officer.
const OFFICER_PIN: &str = "87654321";

/// Packages of the emulator, of its library and of `pkcs11-tool`, with the libraries that an
/// image of Debian lacks.
const PACKAGES: [&str; 12] = [
    "swtpm",
    "swtpm-libs",
    "libtpms0",
    "libtpm2-pkcs11-1",
    "opensc",
    "opensc-pkcs11",
    "libtss2-esys-3.0.2-0",
    "libtss2-mu0",
    "libtss2-rc0",
    "libtss2-sys1",
    "libtss2-tcti-swtpm0",
    "libtss2-tctildr0",
];

/// Time limit for the emulator to open its socket.
const START_WAIT: Duration = Duration::from_secs(30);

/// A running TPM with an initialised token in a directory of its own.
pub(super) struct Tpm {
    folder: TempDir,
    root: &'static Path,
    swtpm: Child,
}

impl Tpm {
    /// Starts a TPM and initialises a token. Returns `None` without the packages, unless `CI` is
    /// set.
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    pub(super) fn start() -> Option<Tpm> {
        static ROOT: OnceLock<Option<PathBuf>> = OnceLock::new();
        let root = ROOT.get_or_init(|| {
            packages::unpacked("swtpm", &PACKAGES, "usr/bin/swtpm")
                .filter(|_| cfg!(target_arch = "x86_64"))
        });
        let Some(root) = root else {
            assert!(std::env::var_os("CI").is_none(), "the packages of swtpm not found");
            println!("skipped: the packages of swtpm not found");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        for name in ["state", "store"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let swtpm = spawn(root, folder.path());
        let tpm = Tpm { swtpm, folder, root };
        let officer = ["--login", "--login-type", "so", "--so-pin", OFFICER_PIN];
        let init = ["--init-token", "--slot-index", "0", "--label", "device"];
        tpm.tool(&[&init[..], &["--so-pin", OFFICER_PIN]].concat());
        let pin = ["--token-label", "device", "--init-pin", "--new-pin", PIN];
        tpm.tool(&[&pin[..], &officer[..]].concat());
        tpm.file("pin", PIN);
        Some(tpm)
    }

    /// Pulls the TPM, as if it were on a plug-in module: every connection to it ends.
    pub(super) fn pull(&mut self) {
        self.swtpm.kill().unwrap();
        self.swtpm.wait().unwrap();
        fs::remove_file(self.folder.path().join("tpm")).unwrap();
    }

    /// Puts the TPM back, with its keys.
    pub(super) fn put_back(&mut self) {
        self.swtpm = spawn(self.root, self.folder.path());
    }

    /// Sets the variables that the library reads.
    pub(super) fn environment(&self, program: &mut Command) {
        program.env("LD_LIBRARY_PATH", libraries(self.root));
        program.env("TPM2_PKCS11_STORE", self.folder.path().join("store"));
        let socket = self.folder.path().join("tpm");
        program.env("TPM2_PKCS11_TCTI", format!("swtpm:path={}", socket.display()));
        // The library warns about the file of its store before it has created it.
        program.env("TPM2_PKCS11_LOG_LEVEL", "0");
    }

    /// Returns `[hub.identity]` with the file of a certificate and the key with this label.
    pub(super) fn settings(&self, label: &str) -> String {
        let (certificate, module) = (self.certificate(), self.module());
        format!(
            "[hub.identity]\ncertificate_file = {certificate:?}\n\
             key_uri = \"pkcs11:token=device;object={label}?module-path={}&pin-source=file:{}\"\n",
            module.display(),
            self.pin_file().display(),
        )
    }

    /// Returns the path of the certificate.
    pub(super) fn certificate(&self) -> PathBuf {
        self.folder.path().join("device.pem")
    }

    pub(super) fn pin_file(&self) -> PathBuf {
        self.folder.path().join("pin")
    }

    /// Writes a file that others cannot read.
    pub(super) fn file(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn module(&self) -> PathBuf {
        self.root.join("usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so")
    }

    fn tool(&self, arguments: &[&str]) {
        let mut tool = Command::new(self.root.join("usr/bin/pkcs11-tool"));
        tool.arg("--module").arg(self.module()).args(arguments);
        self.environment(&mut tool);
        let output = tool.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        self.swtpm.kill().ok();
        self.swtpm.wait().ok();
    }
}

/// Starts the emulator, and waits until it listens.
fn spawn(root: &Path, folder: &Path) -> Child {
    let socket = folder.join("tpm");
    let mut swtpm = Command::new(root.join("usr/bin/swtpm"));
    swtpm.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate"]);
    swtpm.arg(format!("dir={},mode=0600", folder.join("state").display()));
    for (option, end) in [("--server", ""), ("--ctrl", ".ctrl")] {
        swtpm.args([option, &format!("type=unixio,path={}{end}", socket.display())]);
    }
    swtpm.env("LD_LIBRARY_PATH", libraries(root)).stdout(Stdio::null()).stderr(Stdio::null());
    let child = swtpm.spawn().unwrap();
    let begun = Instant::now();
    while !socket.exists() {
        assert!(begun.elapsed() < START_WAIT, "swtpm opens no socket");
        std::thread::yield_now();
    }
    child
}

/// Returns the directories of the unpacked libraries.
fn libraries(root: &Path) -> String {
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    format!("{}:{}", libraries.display(), libraries.join("swtpm").display())
}
