//! The official SDKs and the scripts that use them.
//!
//! The first test that needs the SDKs creates a virtual environment below the target
//! directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use protocol::connection_string::{
    DeviceConnectionString, DeviceCredential, ServiceConnectionString,
};
use rig::{CertificateFiles, Running};

use super::mqtt5::environment;
use super::script::Script;

const REQUIREMENTS: &str = include_str!("requirements.txt");

/// The client of the tests with MQTT 5, without dependencies.
const PAHO_2: &str = "paho-mqtt==2.1.0";

/// The messages of OTLP.
const OTLP: &str = "opentelemetry-proto==1.27.0";

/// The installed SDKs.
#[derive(Clone, Copy)]
pub(super) struct Sdk {
    python: &'static Path,
}

/// Returns the SDKs. If they are not available, prints that the test is skipped and returns
/// `None`.
///
/// # Panics
///
/// Panics if the SDKs are not available and `CI` is set.
pub(super) fn sdk() -> Option<Sdk> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    available(PYTHON.get_or_init(prepare)).map(|python| Sdk { python })
}

/// Returns the installed SDKs. If they are not available, prints that the test is skipped and
/// returns `None`.
///
/// # Panics
///
/// Panics if the SDKs are not available and `CI` is set.
pub(super) fn available(prepared: &'static Result<PathBuf, String>) -> Option<&'static Path> {
    match prepared {
        Ok(path) => Some(path),
        Err(reason) if std::env::var_os("CI").is_some() => panic!("no official SDKs: {reason}"),
        Err(reason) => {
            // The test harness would capture the output of `eprintln!`.
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            writeln!(io::stderr(), "SKIPPED {test}: no official SDKs: {reason}").ok();
            None
        }
    }
}

impl Sdk {
    /// Starts the rig's device with the asyncio SDK. Returns after it has connected and
    /// subscribed.
    pub(super) async fn device(self, rig: &Running) -> Script {
        let mut script = self.device_as(rig, &rig.device, None);
        script.wait_for("ready").await;
        script
    }

    /// Starts the rig's device with the threaded SDK. Returns after it has connected and
    /// subscribed.
    pub(super) async fn threaded_device(self, rig: &Running) -> Script {
        let mut script = self.start("device_sync.py", &device_environment(rig, &rig.device));
        script.wait_for("ready").await;
        script
    }

    /// Starts a device with the given identity and an additional environment variable. Does not
    /// wait for its connection.
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

    /// Starts a service that uses the rig's hub.
    pub(super) async fn service(self, rig: &Running) -> Script {
        self.service_as(rig, &rig.hub().service_connection_string(), None).await
    }

    /// Starts a service with the given connection string and an additional environment variable.
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
        script.wait_for("ready").await;
        script
    }

    /// Starts a script whose devices register with the rig's Device Provisioning Service.
    pub(super) async fn registrant(self, rig: &Running) -> Script {
        let environment = [
            ("HUB_CA_FILE", rig.ca_file().to_str().unwrap().to_owned()),
            ("HUB_CONNECT_PORT", rig.connect_port().to_string()),
            ("PROVISIONING_IDSCOPE", rig.hub().provisioning().id_scope().to_string()),
        ];
        let mut script = self.start("provisioning.py", &environment);
        script.wait_for("ready").await;
        script
    }

    /// Starts a plain MQTT client for the rig's device, which has a certificate.
    pub(super) async fn plain_client(self, rig: &Running) -> Script {
        let environment = [
            ("HUB_CA_FILE", rig.ca_file().to_str().unwrap().to_owned()),
            ("HUB_MQTT_PORT", rig.hub().mqtt_port().to_string()),
            ("HUB_DEVICE", rig::DEVICE.to_owned()),
        ];
        let mut script = self.start("credentials.py", &environment);
        script.wait_for("ready").await;
        script
    }

    /// Starts the rig's device, which has a certificate, with MQTT 5 and paho-mqtt 2. The
    /// official SDK needs version 1, so version 2 has a folder of its own.
    pub(super) async fn device_with_mqtt5(self, rig: &Running) -> Script {
        let folder = exclusively("conformance-paho", PAHO_2, |folder| {
            let packages = folder.join("packages");
            fs::remove_dir_all(&packages).ok();
            let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
            let target = ["--no-deps", PAHO_2, "--target"];
            run(Command::new(self.python).args(pip).args(target).arg(packages)).map(drop)
        });
        let packages = folder.unwrap().join("packages").to_str().unwrap().to_owned();
        let mut environment = environment(rig).to_vec();
        environment.push(("PYTHONPATH", packages));
        let mut script = self.start("mqtt5.py", &environment);
        script.wait_for("ready").await;
        script
    }

    /// Starts a receiver of OTLP/HTTP, which decodes with the messages of OpenTelemetry, and
    /// returns its port. They need a version of protobuf of their own.
    pub(super) async fn otlp_receiver(self) -> (Script, u16) {
        let folder = exclusively("conformance-otlp", OTLP, |folder| {
            let packages = folder.join("packages");
            fs::remove_dir_all(&packages).ok();
            let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
            let target = [OTLP, "--target"];
            run(Command::new(self.python).args(pip).args(target).arg(packages)).map(drop)
        });
        let packages = folder.unwrap().join("packages").to_str().unwrap().to_owned();
        let mut script = self.start("otlp.py", &[("PYTHONPATH", packages)]);
        let ready = script.wait_for("ready").await;
        (script, ready["port"].as_u64().unwrap().try_into().unwrap())
    }

    fn start(self, script: &str, environment: &[(&str, String)]) -> Script {
        // Byte code is not written next to the sources.
        Script::start(self.python, &["-B", "-u"], &scripts().join(script), environment)
    }
}

fn device_environment(
    rig: &Running,
    identity: &DeviceConnectionString,
) -> Vec<(&'static str, String)> {
    // The SDK treats a port after the name as part of the name.
    let host = identity.host.name().parse().unwrap();
    let identity = DeviceConnectionString { host, ..identity.clone() };
    let mut environment = vec![
        ("IOTHUB_DEVICE_CONNECTION_STRING", identity.to_text_with_key()),
        ("HUB_CA_FILE", rig.ca_file().to_str().unwrap().to_owned()),
        ("HUB_CONNECT_PORT", rig.connect_port().to_string()),
    ];
    if identity.credential == DeviceCredential::X509 {
        let CertificateFiles { certificate, key, .. } = rig.certificate_files();
        environment.extend([
            ("HUB_CERTIFICATE_FILE", certificate.to_str().unwrap().to_owned()),
            ("HUB_KEY_FILE", key.to_str().unwrap().to_owned()),
        ]);
    }
    environment
}

/// Returns the Python interpreter of the virtual environment. Creates the environment unless
/// an earlier run has created it from the same requirements.
fn prepare() -> Result<PathBuf, String> {
    let version = run(Command::new("python3").arg("--version"))?;
    let directory = exclusively("conformance", &format!("{version}{REQUIREMENTS}"), |directory| {
        let venv = directory.join("venv");
        fs::remove_dir_all(&venv).ok();
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let requirements = scripts().join("requirements.txt");
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        let python = venv.join("bin/python");
        run(Command::new(python).args(pip).arg("--requirement").arg(requirements)).map(drop)
    })?;
    Ok(directory.join("venv/bin/python"))
}

/// Returns a directory below the target directory that `install` has filled. Calls it unless an
/// earlier run has filled the directory from the same `source`.
pub(super) fn exclusively(
    name: &str,
    source: &str,
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let marker = directory.join("made-from");
    fs::create_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    // A concurrent test run waits here and then finds the installation.
    let lock = File::create(directory.join("lock")).map_err(|e| format!("lock file: {e}"))?;
    lock.lock().map_err(|e| format!("lock file: {e}"))?;
    if fs::read_to_string(&marker).is_ok_and(|found| found == source) {
        return Ok(directory);
    }
    fs::remove_file(&marker).ok();
    install(&directory)?;
    fs::write(&marker, source).map_err(|e| format!("{}: {e}", marker.display()))?;
    Ok(directory)
}

/// Returns the folder of the scripts and their requirements.
pub(super) fn scripts() -> PathBuf {
    rig::workspace().join("tests/conformance")
}

/// Returns the output of a command or, if it fails, the reason in one line.
pub(super) fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{name}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    // The last line contains the reason. A compiler may have printed much more before it.
    let stderr = String::from_utf8_lossy(&output.stderr);
    let reason =
        stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason printed");
    Err(format!("{name} ended with {}: {reason}", output.status))
}
