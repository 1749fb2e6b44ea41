//! The official Node SDKs and the scripts that use them.
//!
//! The first test that needs the SDKs installs them from npm below the target directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use protocol::connection_string::{DeviceConnectionString, ServiceConnectionString};
use rig::Running;

use super::mqtt5::environment;
use super::script::Script;
use super::sdk::{available, exclusively, run, scripts};

const MANIFEST: &str = include_str!("node/package.json");
const LOCK: &str = include_str!("node/package-lock.json");
const DEVICE_SCRIPT: &str = "device.js";
const PROVISIONING: &str = "provisioning.js";
const MQTT5: &str = "mqtt5.js";
const BROKER5: &str = "broker5.js";
const FLEET: &str = "fleet.js";

/// The installed SDKs.
#[derive(Clone, Copy)]
pub(super) struct NodeSdk {
    folder: &'static Path,
}

/// Returns the SDKs. If they are not available, prints that the test is skipped and returns
/// `None`.
///
/// # Panics
///
/// Panics if the SDKs are not available and `CI` is set.
pub(super) fn node_sdk() -> Option<NodeSdk> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    available(FOLDER.get_or_init(prepare)).map(|folder| NodeSdk { folder })
}

impl NodeSdk {
    /// Starts a script with devices and a service of the rig's hub.
    pub(super) async fn provisioning(self, rig: &Running) -> Script {
        let hub = rig.hub();
        let provisioning = hub.provisioning();
        // The SDK treats a port after the name as part of the name.
        let identity = provisioning.connection_string();
        let host = identity.host.name().parse().unwrap();
        let identity = ServiceConnectionString { host, ..identity };
        let environment = [
            ("NODE_EXTRA_CA_CERTS", rig.ca_file().to_str().unwrap().to_owned()),
            ("PROVISIONING_HOST", provisioning.host().to_string()),
            ("PROVISIONING_IDSCOPE", provisioning.id_scope().to_string()),
            ("PROVISIONING_HTTPS_PORT", hub.https_port().to_string()),
            ("PROVISIONING_CONNECTION_STRING", identity.to_text_with_key()),
        ];
        self.start(PROVISIONING, &environment).await
    }

    /// Starts the rig's device, which has a certificate, with MQTT 5 and MQTT.js, on which the
    /// SDKs are based.
    pub(super) async fn device_with_mqtt5(self, rig: &Running) -> Script {
        self.start(MQTT5, &environment(rig)).await
    }

    /// Starts a broker of MQTT 5 with the certificate in `folder`.
    pub(super) async fn broker5(self, folder: &Path) -> Script {
        let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let environment =
            [("BROKER_CERTIFICATE", file("broker.pem")), ("BROKER_KEY", file("broker-key.pem"))];
        self.start(BROKER5, &environment).await
    }

    /// Starts a script with a service that manages the fleet of the rig's hub.
    pub(super) async fn fleet(self, rig: &Running) -> Script {
        let hub = rig.hub();
        let identity = hub.service_connection_string();
        let host = identity.host.name().parse().unwrap();
        let identity = ServiceConnectionString { host, ..identity };
        let environment = [
            ("NODE_EXTRA_CA_CERTS", rig.ca_file().to_str().unwrap().to_owned()),
            ("HUB_HTTPS_PORT", hub.https_port().to_string()),
            ("IOTHUB_CONNECTION_STRING", identity.to_text_with_key()),
        ];
        self.start(FLEET, &environment).await
    }

    /// Starts a device or a module, whose first event is `ready` or `refused`.
    pub(super) fn device(self, rig: &Running, identity: &DeviceConnectionString) -> Script {
        let environment = [
            ("NODE_EXTRA_CA_CERTS", rig.ca_file().to_str().unwrap().to_owned()),
            ("IOTHUB_DEVICE_CONNECTION_STRING", identity.to_text_with_key()),
        ];
        self.script(DEVICE_SCRIPT, &environment)
    }

    async fn start(self, script: &str, environment: &[(&str, String)]) -> Script {
        let mut script = self.script(script, environment);
        script.wait_for("ready").await;
        script
    }

    fn script(self, script: &str, environment: &[(&str, String)]) -> Script {
        Script::start(Path::new("node"), &[], &self.folder.join(script), environment)
    }
}

/// Returns the folder with the scripts and the installed packages, because Node looks for
/// packages next to a script. Installs the packages unless an earlier run has installed the same
/// ones.
fn prepare() -> Result<PathBuf, String> {
    let version = run(Command::new("node").arg("--version"))?;
    let folder = exclusively("conformance-node", &format!("{version}{LOCK}"), |folder| {
        for (file, text) in [("package.json", MANIFEST), ("package-lock.json", LOCK)] {
            fs::write(folder.join(file), text).map_err(|e| format!("{file}: {e}"))?;
        }
        let arguments = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"];
        run(Command::new("npm").args(arguments).current_dir(folder)).map(drop)
    })?;
    for script in [DEVICE_SCRIPT, PROVISIONING, MQTT5, BROKER5, FLEET] {
        let source = scripts().join("node").join(script);
        fs::copy(source, folder.join(script)).map_err(|e| format!("{script}: {e}"))?;
    }
    Ok(folder)
}
