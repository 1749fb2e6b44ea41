//! A hub with its Device Provisioning Service, and hosts that register with it.

use std::time::Duration;

use host::{Config, Registration, RunError};
use hub::Hub;
use protocol::id::DeviceId;
use protocol::method::MethodRequest;
use protocol::provisioning::enrollment::{Attestation, Enrollment};
use protocol::sas::Key;
use rig::{CertificateFiles, Rig, Running, SignedBy, within};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Returns a key of 32 bytes, in base64.
pub(super) fn key(byte: u8) -> String {
    Key::from_bytes(&[byte; 32]).unwrap().to_base64()
}

pub(super) struct Site {
    rig: Running,
    folder: TempDir,
}

/// A host that runs in a task. Dropping it requests a stop without waiting.
pub(super) struct Host {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), RunError>>,
}

impl Host {
    pub(super) async fn stop(self) -> Result<(), RunError> {
        self.stop.send(()).ok();
        within("the host stops", self.ended).await.unwrap()
    }
}

impl Site {
    /// Starts a hub without devices, and without a host.
    pub(super) async fn new() -> Site {
        Site::of(Rig::new()).await
    }

    /// Starts a hub that has verified an authority of devices.
    pub(super) async fn with_authority() -> Site {
        Site::of(Rig::new().certificate(SignedBy::Authority)).await
    }

    /// Starts a hub that issues certificates with this lifetime.
    pub(super) async fn issuing(lifetime: Duration) -> Site {
        let site = Site::of(Rig::new().certificate_lifetime(lifetime)).await;
        let group = Enrollment {
            enrollment_group_id: Some("fleet".to_owned()),
            attestation: Attestation::symmetric_key(Some(key(1)), None),
            credential_policy_name: Some("default".to_owned()),
            ..Enrollment::default()
        };
        site.hub().provisioning().create_group(group).unwrap();
        site
    }

    async fn of(rig: Rig) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let _plugin = fixtures::write("reply.wat", folder.path());
        Site { rig: rig.start().await, folder }
    }

    /// Returns the certificate of [`rig::DEVICE`], which the verified authority has signed.
    pub(super) fn certificate_of_authority(&self) -> CertificateFiles {
        self.rig.certificate_files()
    }

    /// Returns the directory of the settings.
    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(super) fn hub(&self) -> &Hub {
        self.rig.hub()
    }

    pub(super) fn client(&self) -> &service::Client {
        &self.rig.service.client
    }

    /// Creates a group whose devices derive their keys from `key(1)`.
    pub(super) fn create_group(&self) {
        self.create_group_of(Attestation::symmetric_key(Some(key(1)), None));
    }

    pub(super) fn create_group_of(&self, attestation: Attestation) {
        let id = Some("fleet".to_owned());
        let group = Enrollment { enrollment_group_id: id, attestation, ..Enrollment::default() };
        self.hub().provisioning().create_group(group).unwrap();
    }

    pub(super) fn enroll(&self, enrollment: Enrollment) {
        self.hub().provisioning().create_enrollment(enrollment).unwrap();
    }

    /// Returns the settings of a host, with `more` lines under `[provisioning]`. The port of the
    /// hub is part of the assignment.
    pub(super) fn settings(&self, more: &str) -> Config {
        self.settings_with(self.hub(), more)
    }

    /// Returns the settings for the service of another hub, with the same data.
    pub(super) fn settings_at(&self, other: &Site) -> Config {
        self.settings_with(other.hub(), "")
    }

    fn settings_with(&self, hub: &Hub, more: &str) -> Config {
        let toml = format!(
            "hub.ca_file = {:?}\n\
             host.data = \"data\"\nhost.control_socket = \"c/s\"\nhost.compile_cache = \"compiled\"\n\
             plugins.reply = {{ file = \"reply.wasm\", methods = [\"*\"] }}\n\
             [provisioning]\nendpoint = \"localhost:{}\"\nid_scope = \"{}\"\n{more}",
            self.rig.ca_file(),
            hub.mqtt_port(),
            hub.provisioning().id_scope(),
        );
        Config::parse(&toml, self.folder.path()).unwrap()
    }

    /// Trusts the authority of another hub.
    pub(super) fn trust(&self, other: &Site) {
        let both = self.hub().ca_pem().to_owned() + other.hub().ca_pem();
        std::fs::write(self.rig.ca_file(), both).unwrap();
    }

    pub(super) fn with_group_key(&self, id: &str) -> Registration {
        Registration::with_group_key(id.parse().unwrap(), &key(1).parse().unwrap()).unwrap()
    }

    pub(super) fn with_key(&self, id: &str, key: &str) -> Registration {
        Registration::with_key(id.parse().unwrap(), key.parse().unwrap()).unwrap()
    }

    /// Starts a host, which may not connect.
    pub(super) fn start(&self, settings: &Config, registration: Registration) -> Host {
        let (stop, stopped) = oneshot::channel();
        let identity = host::Identity::Registration(registration);
        let stopped = async { drop(stopped.await) };
        let ended = tokio::spawn(host::run(settings.clone(), identity, stopped));
        Host { stop, ended }
    }

    /// Creates a self-signed certificate in a directory of its own.
    pub(super) fn certificate(&self, name: &str) -> CertificateFiles {
        let directory = tempfile::tempdir_in(self.folder.path()).unwrap().keep();
        let files = CertificateFiles::in_directory(&directory);
        files.write(name, SignedBy::Itself, 2100);
        files
    }

    /// Returns the kind of the device's sign-in at the hub.
    pub(super) async fn kind_of_sign_in(&self, device: &DeviceId) -> String {
        self.client().device(device).await.unwrap().authentication.unwrap().kind
    }

    /// Returns the end of the certificate's validity that a device has reported.
    pub(super) async fn reported_end(&self, device: &DeviceId) -> Option<String> {
        let twin = self.client().twin(device).await.unwrap();
        let reported = Value::from(twin.properties.reported);
        reported.pointer("/certificate/validUntil")?.as_str().map(str::to_owned)
    }

    /// Calls a method that returns its argument, the id of the device.
    pub(super) async fn echo(&self, device: &DeviceId) -> Value {
        let request = MethodRequest::new("echo".parse().unwrap(), json!(device.as_str()));
        let answer = self.client().invoke(device, &request).await.unwrap();
        assert_eq!(answer.status, 200);
        answer.payload.to_value()
    }

    /// Returns the thumbprint with which the hub knows a device.
    pub(super) async fn thumbprint(&self, device: &DeviceId) -> Option<String> {
        let identity = self.client().device(device).await.unwrap();
        identity.authentication?.thumbprints?.primary_thumbprint
    }
}
