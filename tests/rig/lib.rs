//! The hub, the host and the service for one test. They run in the test's process on free
//! ports and in a temporary directory, with real TLS between them.
//!
//! ```no_run
//! # async fn example() {
//! # use rig::{Rig, deadline};
//! # use serde_json::json;
//! let rig = Rig::new().plugin("misbehaves.wat", deadline("50ms")).start().await;
//! let answer = rig.service.call("spin", json!(null)).await.unwrap();
//! assert_eq!(answer.status, 504);
//! # }
//! ```
//!
//! [`Rig::start`] resolves once the device is connected and ready for methods. A rig without
//! a plugin has no host, so that another client can be its device. Dropping the [`Running`]
//! rig stops everything.
//!
//! The rig panics if an operation fails, and makes no other assertions. [`until`] and
//! [`within`] wait with a time limit.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

mod certificate;
mod guest;
mod program;
mod relay;
mod running;
mod settings;
mod wait;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

pub use certificate::{CertificateFiles, SignedBy};
pub use guest::{real_reboot_component, reboot_component};
pub use program::host_program;
pub use running::{Running, Service};
pub use settings::{Setting, Settings, config, deadline, set};
pub use wait::{TIMEOUT, until, within};

/// The device id of every rig.
pub const DEVICE: &str = "device-1";

/// A builder for a hub, a device and the plugins of its host.
#[derive(Debug)]
pub struct Rig {
    /// The directory for the files of fixtures.
    guests: TempDir,
    plugins: Vec<Plugin>,
    host_names: Vec<String>,
    host_settings: Settings,
    token_grace: Option<Duration>,
    certificate: Option<SignedBy>,
    certificate_lifetime: Option<Duration>,
}

#[derive(Debug)]
struct Plugin {
    name: String,
    file: PathBuf,
    settings: Settings,
}

impl Default for Rig {
    fn default() -> Rig {
        Rig::new()
    }
}

impl Rig {
    /// Creates a rig with a hub and a device, but without a host.
    #[must_use]
    pub fn new() -> Rig {
        Rig {
            guests: tempfile::tempdir().unwrap(),
            plugins: Vec::new(),
            host_names: Vec::new(),
            host_settings: Settings::default(),
            token_grace: None,
            certificate: None,
            certificate_lifetime: None,
        }
    }

    /// Adds a plugin from `plugin/fixtures`, named after its file.
    ///
    /// The plugin serves every method that no other plugin serves, unless `settings` contain
    /// `methods`.
    #[must_use]
    pub fn plugin(self, fixture: &str, settings: impl Into<Settings>) -> Rig {
        let name = fixture.trim_end_matches(".wat").to_owned();
        let file = fixtures::write(fixture, self.guests.path());
        self.plugin_named(&name, file, settings)
    }

    /// Adds a plugin with the given name.
    #[must_use]
    pub fn plugin_named(mut self, name: &str, file: PathBuf, settings: impl Into<Settings>) -> Rig {
        self.plugins.push(Plugin { name: name.to_owned(), file, settings: settings.into() });
        self
    }

    /// Adds the reboot guest, which is built from its sources once for all tests.
    #[must_use]
    pub fn reboot(self, settings: impl Into<Settings>) -> Rig {
        self.plugin_named("reboot", reboot_component().to_owned(), settings)
    }

    /// Adds the reboot guest that can reboot the machine, and enables that mode.
    #[must_use]
    pub fn real_reboot(self, settings: impl Into<Settings>) -> Rig {
        let granted = [config("mode", "real"), set("capabilities", vec!["power"])];
        let settings = settings.into().and(granted);
        self.plugin_named("reboot", real_reboot_component().to_owned(), settings)
    }

    /// Replaces the host's settings outside its plugins, such as `set("host.grace", "1s")`.
    #[must_use]
    pub fn host(mut self, settings: impl Into<Settings>) -> Rig {
        self.host_settings = settings.into();
        self
    }

    /// Adds a host name to the hub's certificate.
    #[must_use]
    pub fn hub_named(mut self, name: &str) -> Rig {
        self.host_names.push(name.to_owned());
        self
    }

    /// Sets the time for which the hub keeps a connection after its token has expired.
    #[must_use]
    pub fn token_grace(mut self, grace: Duration) -> Rig {
        self.token_grace = Some(grace);
        self
    }

    /// Lets the device sign in with a certificate, which is valid until the start of 2100.
    #[must_use]
    pub fn certificate(mut self, by: SignedBy) -> Rig {
        self.certificate = Some(by);
        self
    }

    /// Sets the lifetime of the certificates that the hub issues.
    #[must_use]
    pub fn certificate_lifetime(mut self, lifetime: Duration) -> Rig {
        self.certificate_lifetime = Some(lifetime);
        self
    }

    /// Starts everything and waits until the device is ready for methods.
    pub async fn start(self) -> Running {
        Running::start(self).await
    }

    /// Returns the text of `host.toml`.
    fn host_toml(&self, mqtt_port: u16, ca_file: &Path) -> String {
        let mut text = settings::line("hub.port", &mqtt_port.into());
        text += &settings::line("hub.ca_file", &ca_file.to_str().unwrap().into());
        // The paths are relative to the rig's directory.
        text += &settings::line("host.data", &"data".into());
        text += &settings::line("host.control_socket", &"control/host.sock".into());
        if self.certificate.is_some() {
            text += &settings::line("hub.identity.certificate_file", &"device.pem".into());
            text += &settings::line("hub.identity.key_file", &"device-key.pem".into());
        }
        // The simulated machine of a rig has always just booted.
        text += &settings::line("host.reboot_min_uptime", &"0s".into());
        text += &self.host_settings.to_toml();
        for Plugin { name, file, settings } in &self.plugins {
            text += &format!("\n[plugins.{name}]\n");
            text += &settings::line("file", &file.to_str().unwrap().into());
            if !settings.has("methods") {
                text += &settings::line("methods", &["*"].as_slice().into());
            }
            text += &settings.to_toml();
        }
        text
    }
}

/// Returns the root of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
