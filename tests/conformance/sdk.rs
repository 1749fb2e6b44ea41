//! The official SDKs: a virtual environment, made by the first test that needs
//! it and kept under the target directory, and the scripts that run in it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use protocol::connection_string::{DeviceConnectionString, ServiceConnectionString};
use rig::Running;

use super::script::Script;

const REQUIREMENTS: &str = include_str!("requirements.txt");

/// The SDKs, ready to run.
#[derive(Clone, Copy)]
pub(super) struct Sdk {
    python: &'static Path,
}

/// The SDKs. `None` means: skip the test, which has been said on standard
/// error. With `CI` set, what is missing is a failure.
pub(super) fn sdk() -> Option<Sdk> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match PYTHON.get_or_init(ready) {
        Ok(python) => Some(Sdk { python }),
        Err(why) if std::env::var_os("CI").is_some() => panic!("no official SDKs: {why}"),
        Err(why) => {
            // Not `eprintln!`: the test harness would keep it to itself.
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            writeln!(io::stderr(), "SKIPPED {test}: no official SDKs: {why}").ok();
            None
        }
    }
}

impl Sdk {
    /// The rig's device on the asyncio SDK, connected and subscribed.
    pub(super) async fn device(self, rig: &Running) -> Script {
        let mut script = self.device_as(rig, &rig.device, None);
        script.hear("ready").await;
        script
    }

    /// The same on the threaded SDK.
    pub(super) async fn threaded_device(self, rig: &Running) -> Script {
        let mut script = self.start("device_sync.py", &device_environment(rig, &rig.device));
        script.hear("ready").await;
        script
    }

    /// A device that has just been started, with whatever identity, and with
    /// one more variable in its environment.
    pub(super) fn device_as(
        self,
        rig: &Running,
        identity: &DeviceConnectionString,
        variable: Option<(&'static str, &str)>,
    ) -> Script {
        let mut environment = device_environment(rig, identity);
        environment.extend(variable.map(|(name, value)| (name, value.to_owned())));
        self.start("device.py", &environment)
    }

    /// A service of the rig's hub.
    pub(super) async fn service(self, rig: &Running) -> Script {
        self.service_as(rig, &rig.hub().service_connection_string(), None).await
    }

    /// A service with whatever connection string, and one more variable.
    pub(super) async fn service_as(
        self,
        rig: &Running,
        identity: &ServiceConnectionString,
        variable: Option<(&'static str, &str)>,
    ) -> Script {
        let mut environment = vec![
            ("IOTHUB_CONNECTION_STRING", identity.to_text_with_key()),
            ("REQUESTS_CA_BUNDLE", rig.ca_file().to_str().unwrap().to_owned()),
        ];
        environment.extend(variable.map(|(name, value)| (name, value.to_owned())));
        let mut script = self.start("service.py", &environment);
        script.hear("ready").await;
        script
    }

    fn start(self, script: &str, environment: &[(&str, String)]) -> Script {
        Script::start(self.python, &scripts().join(script), environment)
    }
}

fn device_environment(
    rig: &Running,
    identity: &DeviceConnectionString,
) -> Vec<(&'static str, String)> {
    // The SDK takes a port behind the name for a part of the name.
    let host = identity.host.name().parse().unwrap();
    let identity = DeviceConnectionString { host, ..identity.clone() };
    vec![
        ("IOTHUB_DEVICE_CONNECTION_STRING", identity.to_text_with_key()),
        ("HUB_CA_FILE", rig.ca_file().to_str().unwrap().to_owned()),
        ("HUB_CONNECT_PORT", rig.connect_port().to_string()),
    ]
}

/// Makes the environment unless the one from an earlier run will do.
fn ready() -> Result<PathBuf, String> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance");
    let venv = directory.join("venv");
    let python = venv.join("bin/python");
    let marker = directory.join("made-from");

    let version = run(Command::new("python3").arg("--version"))?;
    let wanted = format!("{version}{REQUIREMENTS}");
    fs::create_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    // Two test runs at once: the second waits here, and finds it made.
    let lock = File::create(directory.join("lock")).map_err(|e| format!("lock file: {e}"))?;
    lock.lock().map_err(|e| format!("lock file: {e}"))?;
    if fs::read_to_string(&marker).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }

    fs::remove_file(&marker).ok();
    fs::remove_dir_all(&venv).ok();
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let requirements = scripts().join("requirements.txt");
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(Command::new(&python).args(pip).arg("--requirement").arg(requirements))?;
    fs::write(&marker, wanted).map_err(|e| format!("{}: {e}", marker.display()))?;
    Ok(python)
}

/// Where the scripts and their requirements are.
pub(super) fn scripts() -> PathBuf {
    rig::workspace().join("tests/conformance")
}

/// What a command printed, or in one line why it did not work.
fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{name}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    // The last line has the reason; before it, a compiler may have said pages.
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no word why");
    Err(format!("{name} ended with {}: {reason}", output.status))
}
