//! Runs the program in a directory with a configuration and plugins.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use hub::{Hub, HubConfig};
use tempfile::TempDir;

/// Timeout for a line of the log, long enough for a loaded machine.
const LINE_WAIT: Duration = Duration::from_secs(60);

pub(crate) const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

pub(crate) fn identity() -> String {
    format!("HostName=localhost;DeviceId=d1;SharedAccessKey={KEY}")
}

/// Creates a directory with plugins and a configuration.
pub(crate) fn directory(host_toml: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for fixture in ["reply.wat", "reboots.wat"] {
        let _path = fixtures::write(fixture, directory.path());
    }
    std::fs::write(directory.path().join("text.wasm"), "hello").unwrap();
    std::fs::write(directory.path().join("host.toml"), host_toml).unwrap();
    directory
}

pub(crate) fn plugin(file: &str) -> String {
    format!("[plugins.p]\nfile = \"{file}\"\nmethods = [\"*\"]\n")
}

pub(crate) fn program(directory: &Path, arguments: &[&str], identity: Option<&str>) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_behaviour-host"));
    program.current_dir(directory).args(arguments);
    program.env_remove("IOTHUB_DEVICE_CONNECTION_STRING").env_remove("IOTHUB_CA_FILE");
    program.env_remove("IOTHUB_PROVISIONING_KEY").env_remove("IOTHUB_PROVISIONING_GROUP_KEY");
    program.env_remove("BEHAVIOUR_LOG").env("NO_COLOR", "1").env("XDG_RUNTIME_DIR", directory);
    program.env_remove("STATE_DIRECTORY").env("XDG_DATA_HOME", directory.join("data"));
    if let Some(identity) = identity {
        program.env("IOTHUB_DEVICE_CONNECTION_STRING", identity);
    }
    program
}

/// Running host, which is killed at the end of the test.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: Receiver<String>,
    pub(crate) directory: TempDir,
}

impl Running {
    pub(crate) fn start(host_toml: &str, identity: &str) -> Running {
        Running::start_with(host_toml, identity, |_| {})
    }

    pub(crate) fn start_with(
        host_toml: &str,
        identity: &str,
        change: impl Fn(&mut Command),
    ) -> Running {
        let directory = directory(host_toml);
        let mut program = program(directory.path(), &["run"], Some(identity));
        change(&mut program);
        let (child, lines) = Running::spawn(program);
        Running { child, lines, directory }
    }

    fn spawn(mut program: Command) -> (Child, Receiver<String>) {
        let mut child = program.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, receiver) = mpsc::sync_channel(64);
        // Lines are read on a thread, because reads have no timeout. The thread ends with the
        // host.
        std::thread::spawn(move || {
            lines.map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        (child, receiver)
    }

    /// Kills the host and restarts it in the same directory.
    pub(crate) fn crash_and_start(&mut self, identity: &str) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let program = program(self.directory.path(), &["run"], Some(identity));
        (self.child, self.lines) = Running::spawn(program);
    }

    /// Waits for the next line that contains `text`, and returns it.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        self.lines_until(text).pop().unwrap()
    }

    /// Waits for the next line that contains `text`, and returns all lines up to it.
    pub(crate) fn lines_until(&mut self, text: &str) -> Vec<String> {
        let until = Instant::now() + LINE_WAIT;
        let mut lines = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => lines.push(line),
                Err(error) => panic!("no line with `{text}`: {error}: {lines:#?}"),
            }
            if lines.last().unwrap().contains(text) {
                return lines;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Starts a hub. Returns it with the directory of its CA file and the configuration of a
/// host.
pub(crate) async fn hub() -> (Hub, TempDir, String) {
    hub_with(HubConfig::default()).await
}

/// Starts a hub with this configuration, as [`hub`] does.
pub(crate) async fn hub_with(config: HubConfig) -> (Hub, TempDir, String) {
    let hub = Hub::start(config).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, hub.ca_pem()).unwrap();
    let toml = format!(
        "[hub]\nport = {}\nca_file = {ca_file:?}\n{}",
        hub.mqtt_port(),
        plugin("reply.wasm")
    );
    (hub, folder, toml)
}
