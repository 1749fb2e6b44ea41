//! The host's files and the plugins of the run.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hub::Hub;
use protocol::connection_string::DeviceConnectionString;
use protocol::provisioning::enrollment::{Attestation, Enrollment};
use protocol::sas::Key;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The way in which the device signs in.
pub(crate) enum SignIn {
    /// A key, whose tokens have this lifetime as in host.toml.
    Key { identity: DeviceConnectionString, token_lifetime: String },
    /// Certificates that the hub issues, after a registration with a key.
    Issued { id_scope: String, key: Key },
}

/// A folder with a configuration and its plugins: `tells` carries the load, `swaps` alternates
/// between two versions, and `swells` sends more than fits in a packet.
pub(crate) struct Site {
    folder: PathBuf,
    sign_in: SignIn,
    /// The text of the configuration.
    toml: String,
    program: PathBuf,
    log: String,
    /// Path of libfaketime, if it is installed.
    faketime: Option<PathBuf>,
}

/// A running host program, with counts of its log lines.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) log: Arc<LogCounts>,
}

/// Counts of log lines.
#[derive(Default)]
pub(crate) struct LogCounts {
    /// Messages dropped because the hub disconnected on each attempt.
    pub(crate) dropped_messages: AtomicU64,
    /// Reports dropped for the same reason.
    pub(crate) dropped_reports: AtomicU64,
    /// Corrupt files that the host detected.
    pub(crate) corrupt: AtomicU64,
    /// Renewals of the token or of the certificate.
    pub(crate) renewals: AtomicU64,
}

impl SignIn {
    /// Registers the device at the hub, with a key.
    pub(crate) fn with_key(hub: &Hub, token_lifetime: &str) -> SignIn {
        let identity = hub.create_device(&rig::DEVICE.parse().unwrap()).unwrap();
        SignIn::Key { identity, token_lifetime: token_lifetime.to_owned() }
    }

    /// Enrolls the device, to which the hub then issues certificates.
    pub(crate) fn with_issued_certificates(hub: &Hub) -> SignIn {
        let key = Key::from_bytes(&[7; 32]).unwrap();
        let enrollment = Enrollment {
            registration_id: Some(rig::DEVICE.to_owned()),
            attestation: Attestation::symmetric_key(Some(key.to_base64()), None),
            credential_policy_name: Some("default".to_owned()),
            ..Enrollment::default()
        };
        hub.provisioning().create_enrollment(enrollment).unwrap();
        SignIn::Issued { id_scope: hub.provisioning().id_scope().to_string(), key }
    }

    /// Returns the settings of the connection. Those of `[hub]` come last.
    fn settings(&self, port: u16) -> String {
        match self {
            SignIn::Key { token_lifetime, .. } => {
                format!("[hub]\nport = {port}\ntoken_lifetime = \"{token_lifetime}\"\n")
            }
            // The port of the hub is part of the assignment.
            SignIn::Issued { id_scope, .. } => format!(
                "[provisioning]\nendpoint = \"localhost:{port}\"\nid_scope = \"{id_scope}\"\n\
                 registration_id = \"{}\"\n[provisioning.issued_certificate]\n[hub]\n",
                rig::DEVICE
            ),
        }
    }

    /// Returns the environment variable with the secret.
    fn variable(&self) -> (&'static str, String) {
        match self {
            SignIn::Key { identity, .. } => {
                ("IOTHUB_DEVICE_CONNECTION_STRING", identity.to_text_with_key())
            }
            SignIn::Issued { key, .. } => ("IOTHUB_PROVISIONING_KEY", key.to_base64()),
        }
    }
}

impl Site {
    /// Writes the files.
    pub(crate) fn new(
        folder: &Path,
        hub: &Hub,
        sign_in: SignIn,
        program: PathBuf,
        log: String,
        faketime: Option<PathBuf>,
    ) -> Site {
        let tells = fixtures::write("tells.wat", folder);
        let swells = fixtures::write("swells.wat", folder);
        let toml = format!(
            "{}ca_file = \"ca.pem\"\nkeep_alive = \"4s\"\n\
             [host]\ndata = \"data\"\ncompile_cache = \"cache\"\n\
             commits_per_minute = 100_000\nplugin_commits_per_minute = 100_000\n\
             [host.telemetry]\nwhen_full = \"refuse\"\n\
             [plugins.tells]\nfile = {tells:?}\nmethods = [\"tell\"]\n\
             limits.calls_at_once = 1000\nlimits.jobs = 1000\n\
             [plugins.swells]\nfile = {swells:?}\nmethods = [\"answer\", \"message\", \"report\"]\n\
             [plugins.swaps]\nfile = \"swaps.wasm\"\nmethods = [\"ask\"]\n",
            sign_in.settings(hub.mqtt_port()),
        );
        let site = Site { folder: folder.to_owned(), sign_in, toml, program, log, faketime };
        fs::write(folder.join("ca.pem"), hub.ca_pem()).unwrap();
        fs::write(site.host_toml(), &site.toml).unwrap();
        site.swap("version-one.wat");
        site.set_clock(0);
        site
    }

    /// Copies the journal and the compile cache into another folder and damages the copies.
    pub(crate) fn damaged_copy(&self, folder: &Path, hub: &Hub, random: u64) -> Site {
        let sign_in = SignIn::with_key(hub, "1h");
        let copy = Site::new(folder, hub, sign_in, self.program.clone(), "warn".into(), None);
        for name in ["data", "cache"] {
            fs::DirBuilder::new().mode(0o700).create(folder.join(name)).unwrap();
        }
        let mut journal = fs::read(self.folder.join("data/journal.redb")).unwrap();
        let pages = u64::try_from(journal.len() / PAGE).unwrap();
        // The first page is the header, which is not damaged.
        let at = usize::try_from(1 + random % (pages - 1)).unwrap() * PAGE;
        journal[at..at + PAGE].fill(0xA5);
        write_private(&folder.join("data/journal.redb"), &journal).unwrap();
        for (name, code) in self.compiled() {
            write_private(&folder.join("cache").join(name), &flipped(code)).unwrap();
        }
        copy
    }

    /// Starts the host.
    pub(crate) fn start(&self) -> Running {
        let (variable, secret) = self.sign_in.variable();
        let mut command = Command::new(&self.program);
        command
            .args(["run", "--json-logs", "--log", &self.log, "--config", "host.toml"])
            .current_dir(&self.folder)
            .env(variable, secret)
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(library) = &self.faketime {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", self.folder.join("clock"))
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("NO_FAKE_STAT", "1");
        }
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let log = Arc::new(LogCounts::default());
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let counts = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                counts.read(&line);
            }
        });
        Running { child, log }
    }

    /// Replaces the plugin `swaps` atomically.
    pub(crate) fn swap(&self, fixture: &str) {
        let new = self.folder.join("new");
        fs::write(&new, fixtures::guest(fixture)).unwrap();
        fs::rename(new, self.folder.join("swaps.wasm")).unwrap();
    }

    /// Overwrites the plugin `swaps` with the first half of a fixture, like an interrupted
    /// copy.
    pub(crate) fn cut(&self, fixture: &str) {
        let whole = fixtures::guest(fixture);
        fs::write(self.folder.join("swaps.wasm"), &whole[..whole.len() / 2]).unwrap();
    }

    /// Flips a bit in each file of the compile cache.
    pub(crate) fn flip_cache(&self) {
        for (name, code) in self.compiled() {
            // The host has mapped the old file, so the damaged copy must be a new file.
            let new = self.folder.join("cache/new");
            write_private(&new, &flipped(code)).unwrap();
            fs::rename(new, self.folder.join("cache").join(name)).unwrap();
        }
    }

    fn compiled(&self) -> Vec<(String, Vec<u8>)> {
        let files = fs::read_dir(self.folder.join("cache")).unwrap();
        let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let compiled = files.filter(|name| name.ends_with(".compiled"));
        // The host may delete a file after it was listed.
        compiled
            .filter_map(|name| {
                fs::read(self.folder.join("cache").join(&name)).ok().map(|c| (name, c))
            })
            .collect()
    }

    /// Writes the configuration. If `whole` is `false`, writes only the first half.
    pub(crate) fn configure(&self, whole: bool) {
        let toml = if whole { &self.toml[..] } else { &self.toml[..self.toml.len() / 2 + 3] };
        fs::write(self.host_toml(), toml).unwrap();
    }

    /// Sets the difference between the host's clock and the machine's clock.
    pub(crate) fn set_clock(&self, seconds: i64) {
        let new = self.folder.join("clock.new");
        fs::write(&new, format!("{seconds:+}\n")).unwrap();
        fs::rename(new, self.folder.join("clock")).unwrap();
    }

    pub(crate) fn has_clock(&self) -> bool {
        self.faketime.is_some()
    }

    fn host_toml(&self) -> PathBuf {
        self.folder.join("host.toml")
    }
}

impl LogCounts {
    fn read(&self, line: &str) {
        let value = serde_json::from_str::<serde_json::Value>(line).unwrap_or_default();
        let message = value["message"].as_str().unwrap_or_default();
        let count = if message.starts_with("message dropped: the hub does not accept") {
            &self.dropped_messages
        } else if message.starts_with("report dropped: the hub closed") {
            &self.dropped_reports
        } else if message.starts_with("journal is damaged")
            || message.starts_with("cached code rejected")
        {
            &self.corrupt
        } else if message == "certificate renewed" || message == "token renewed" {
            &self.renewals
        } else {
            return println!("host: {line}");
        };
        count.fetch_add(1, Relaxed);
    }
}

/// The size of a page of the journal, in bytes.
const PAGE: usize = 4096;

fn flipped(mut code: Vec<u8>) -> Vec<u8> {
    let middle = code.len() / 2;
    code[middle] ^= 1;
    code
}

/// Writes a file that only its owner can read, as the host does.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, bytes)
}
