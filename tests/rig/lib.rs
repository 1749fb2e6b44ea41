//! A whole house for one test: hub, host and service in this process, real TLS
//! between them, free ports, a directory of its own.
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
//! [`Rig::start`] returns when the device is connected and ready for methods. A
//! rig without a plugin has no host: its device is for another client to play.
//! Dropping what `start` gave stops everything.
//!
//! It panics where a test would `unwrap`, and asserts nothing by itself.

#![allow(clippy::unwrap_used, reason = "part of tests: it may stop at the first surprise")]

mod guest;
mod relay;
mod running;
mod settings;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

pub use guest::{real_reboot_component, reboot_component};
pub use running::{PATIENCE, Running, Service};
pub use settings::{Setting, Settings, config, deadline, set};

/// The device of every rig.
pub const DEVICE: &str = "device-1";

/// What is to be started: a hub and a device, and the plugins of its host.
#[derive(Debug)]
pub struct Rig {
    /// Where fixtures become files.
    guests: TempDir,
    plugins: Vec<Plugin>,
    host_names: Vec<String>,
    host_settings: Settings,
    token_grace: Option<Duration>,
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
    /// A hub with one device, and nobody who plays it.
    #[must_use]
    pub fn new() -> Rig {
        Rig {
            guests: tempfile::tempdir().unwrap(),
            plugins: Vec::new(),
            host_names: Vec::new(),
            host_settings: Settings::default(),
            token_grace: None,
        }
    }

    /// A plugin of `plugin/fixtures`. It is named for its file, and serves every
    /// method that no other plugin serves unless it is set to `methods`.
    #[must_use]
    pub fn plugin(self, fixture: &str, settings: impl Into<Settings>) -> Rig {
        let name = fixture.trim_end_matches(".wat").to_owned();
        let file = fixtures::write(fixture, self.guests.path());
        self.plugin_named(&name, file, settings)
    }

    /// A plugin under another name than its file's.
    #[must_use]
    pub fn plugin_named(mut self, name: &str, file: PathBuf, settings: impl Into<Settings>) -> Rig {
        self.plugins.push(Plugin { name: name.to_owned(), file, settings: settings.into() });
        self
    }

    /// The reboot guest, built from its sources once for all tests.
    #[must_use]
    pub fn reboot(self, settings: impl Into<Settings>) -> Rig {
        self.plugin_named("reboot", reboot_component().to_owned(), settings)
    }

    /// The reboot guest that may reboot the machine, and is set to.
    #[must_use]
    pub fn real_reboot(self, settings: impl Into<Settings>) -> Rig {
        let granted = [config("mode", "real"), set("capabilities", vec!["power"])];
        let settings = settings.into().and(granted);
        self.plugin_named("reboot", real_reboot_component().to_owned(), settings)
    }

    /// Settings of the host outside its plugins, `set("host.grace", "1s")`.
    #[must_use]
    pub fn host(mut self, settings: impl Into<Settings>) -> Rig {
        self.host_settings = settings.into();
        self
    }

    /// Another name under which the hub's certificate is good.
    #[must_use]
    pub fn hub_named(mut self, name: &str) -> Rig {
        self.host_names.push(name.to_owned());
        self
    }

    /// How long the hub lets a connection live after its token has expired.
    #[must_use]
    pub fn token_grace(mut self, grace: Duration) -> Rig {
        self.token_grace = Some(grace);
        self
    }

    /// Starts all of it, and waits until the device can be called.
    pub async fn start(self) -> Running {
        Running::start(self).await
    }

    /// The text of `host.toml`.
    fn host_toml(&self, mqtt_port: u16, ca_file: &Path) -> String {
        let mut text = settings::line("hub.port", &mqtt_port.into());
        text += &settings::line("hub.ca_file", &ca_file.to_str().unwrap().into());
        // In the rig's directory, with which they go.
        text += &settings::line("host.data", &"data".into());
        text += &settings::line("host.control_socket", &"control/host.sock".into());
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

/// The root of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
