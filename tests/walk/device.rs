//! A device for one fault: a hub, a folder, and a host that is restarted whenever it ends.

use std::fs;
use std::io::{PipeReader, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hub::{Hub, HubConfig};
use parking_lot::Mutex;
use protocol::id::DeviceId;
use protocol::method::MethodRequest;
use serde_json::{Value, json};
use service::{Client, ClientSettings};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::faults::WalkFault;

/// Path of libfaketime on Debian.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Time for which the other plugin is called after a fault, and time limit of each call.
const OBSERVATION: Duration = Duration::from_secs(10);

/// Maximum number of starts of a host. A service manager also gives up eventually.
const MAX_STARTS: u32 = 6;

/// Interval between two calls, and delay before a restart.
const PAUSE: Duration = Duration::from_millis(100);

/// Capacity of a pipe, from pipe(7).
const PIPE_BYTES: usize = 64 * 1024;

/// Host name that resolves to a silent address first and then to the hub.
const HUB_NAME: &str = "walk.test";

/// Address of the hub behind the silent address. The system tries 127.0.0.1 first, because it
/// is also the source address.
const HUB_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The device for one fault.
pub(crate) struct Device {
    pub(crate) hub: Hub,
    pub(crate) client: Client,
    pub(crate) id: DeviceId,
    pub(crate) folder: TempDir,
    program: PathBuf,
    identity: String,
    /// `true` if the host's standard error is a full pipe.
    pub(crate) stderr_is_full: AtomicBool,
    /// Reading end of this pipe, which is never read.
    full_pipe: Mutex<Option<PipeReader>>,
    /// `true` if the hub's name resolves to a silent address first.
    silent_first: bool,
    starts: AtomicU32,
    process: Mutex<Option<u32>>,
    log: Mutex<Vec<String>>,
    ends: Mutex<Vec<String>>,
}

/// Causes a fault and observes the host program. Returns the cells of the table's row.
pub(crate) async fn walk(program: &Path, fault: &WalkFault) -> String {
    let device = Arc::new(Device::new(program, fault.silent_first).await);
    (fault.prepare)(&device);
    let supervised = tokio::spawn(supervise(Arc::clone(&device)));
    let started = Instant::now();
    let connected = tokio::time::timeout(OBSERVATION * 3, device.hub.connected(&device.id)).await;
    let connected = connected.map(|()| started.elapsed());
    let calling = Arc::new(Calling::default());
    let calls = tokio::spawn(call_always(Arc::clone(&device), Arc::clone(&calling)));
    device.until_called(&calling).await;
    calling.longest.lock().take();
    let seen = (fault.cause)(Arc::clone(&device)).await;
    tokio::time::sleep(OBSERVATION).await;
    let longest = calling.longest.lock();
    let longest = longest.map_or("never".into(), |time| format!("{} ms", time.as_millis()));
    calls.abort();
    supervised.abort();
    let ends = device.ends.lock().join(", ");
    let starts = device.starts.load(Relaxed);
    let log = device.last_of_log();
    let connected = connected
        .map_or("not connected".into(), |time| format!("connected after {} ms", time.as_millis()));
    let mut text = format!("{seen}; {connected}; {starts} starts");
    if !ends.is_empty() {
        text = format!("{text}, ended: {ends}");
    }
    if !log.is_empty() {
        text = format!("{text}; log: {log}");
    }
    format!("{} | {longest} | {}", text.replace('|', "/"), calling.lost.load(Relaxed))
}

#[derive(Default)]
struct Calling {
    /// Longest time until an answer.
    longest: Mutex<Option<Duration>>,
    /// Number of calls without an answer.
    lost: AtomicU32,
}

/// Calls the other plugin until the task is aborted. Calls overlap, so a slow one delays no
/// other.
async fn call_always(device: Arc<Device>, calling: Arc<Calling>) {
    let mut calls = JoinSet::new();
    loop {
        let (device, calling) = (Arc::clone(&device), Arc::clone(&calling));
        calls.spawn(async move {
            let started = Instant::now();
            match device.call("echo", json!("on")).await {
                Ok((200, _)) => {
                    let mut longest = calling.longest.lock();
                    *longest = (*longest).max(Some(started.elapsed()));
                }
                _ => drop(calling.lost.fetch_add(1, Relaxed)),
            }
        });
        tokio::time::sleep(PAUSE).await;
    }
}

/// Starts the host and restarts it whenever it ends.
async fn supervise(device: Arc<Device>) {
    while device.starts.fetch_add(1, Relaxed) < MAX_STARTS {
        let mut host = device.start();
        *device.process.lock() = host.id();
        let ended = host.wait().await.unwrap();
        device.ends.lock().push(ended.to_string());
        tokio::time::sleep(PAUSE).await;
    }
}

impl Device {
    async fn new(program: &Path, silent_first: bool) -> Device {
        let address = if silent_first { HUB_ADDRESS } else { Ipv4Addr::LOCALHOST };
        let host_names = vec![HUB_NAME.to_owned()];
        let config = HubConfig { address: address.into(), host_names, ..HubConfig::default() };
        let hub = Hub::start(config).await.unwrap();
        let id: DeviceId = "d1".parse().unwrap();
        let identity = hub.create_device(&id).unwrap().to_text_with_key();
        let settings =
            ClientSettings { ca_pem: Some(hub.ca_pem().to_owned()), ..Default::default() };
        let mut service = hub.service_connection_string();
        service.host = format!("{address}:{}", hub.https_port()).parse().unwrap();
        let client = Client::new(service, settings).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let device = Device {
            hub,
            client,
            id,
            folder,
            program: program.to_owned(),
            identity,
            stderr_is_full: AtomicBool::new(false),
            full_pipe: Mutex::new(None),
            silent_first,
            starts: AtomicU32::new(0),
            process: Mutex::new(None),
            log: Mutex::new(Vec::new()),
            ends: Mutex::new(Vec::new()),
        };
        device.write_files();
        device
    }

    fn write_files(&self) {
        let folder = self.folder.path();
        fs::write(folder.join("ca.pem"), self.hub.ca_pem()).unwrap();
        for guest in ["reply.wat", "swells.wat", "tells.wat", "boots.wat"] {
            let _component = fixtures::write(guest, folder);
        }
        self.swap("version-one.wat");
        self.set_clock(0);
        let command = format!("echo ran >> '{}'; kill -9 $PPID", self.file("ran").display());
        let toml = format!(
            "[hub]\nport = {}\nca_file = \"ca.pem\"\n\
             [host]\ndata = \"data\"\ncompile_cache = \"cache\"\n\
             reboot_command = [\"sh\", \"-c\", {command:?}]\n\
             [plugins.reply]\nfile = \"reply.wasm\"\nmethods = [\"echo\"]\n\
             [plugins.swells]\nfile = \"swells.wasm\"\nmethods = [\"controls\"]\n\
             [plugins.tells]\nfile = \"tells.wasm\"\nmethods = [\"tell\"]\n\
             [plugins.boots]\nfile = \"boots.wasm\"\nmethods = [\"reboot\"]\n\
             capabilities = [\"power\"]\n\
             [plugins.swaps]\nfile = \"swaps.wasm\"\nmethods = [\"ask\"]\n",
            self.hub.mqtt_port()
        );
        fs::write(folder.join("host.toml"), toml).unwrap();
    }

    fn start(self: &Arc<Device>) -> Child {
        let folder = self.folder.path();
        let mut command = match self.silent_first {
            false => Command::new(&self.program),
            true => {
                // Only this process sees the changed hosts file.
                let mut command = Command::new("unshare");
                command.args([
                    "-m",
                    "sh",
                    "-c",
                    "mount --bind hosts /etc/hosts && exec \"$0\" \"$@\"",
                ]);
                fs::write(
                    folder.join("hosts"),
                    format!("127.0.0.1 {HUB_NAME}\n{HUB_ADDRESS} {HUB_NAME}\n"),
                )
                .unwrap();
                command.arg(&self.program);
                command
            }
        };
        let identity = match self.silent_first {
            false => self.identity.clone(),
            true => self.identity.replacen("localhost", HUB_NAME, 1),
        };
        let log = if self.stderr_is_full.load(Relaxed) { "trace" } else { "warn" };
        command
            .args(["run", "--log", log])
            .current_dir(folder)
            .env("IOTHUB_DEVICE_CONNECTION_STRING", identity)
            .env("XDG_RUNTIME_DIR", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if self.stderr_is_full.load(Relaxed) {
            let (reader, mut writer) = std::io::pipe().unwrap();
            writer.write_all(&[b'\n'; PIPE_BYTES]).unwrap();
            command.stderr(writer);
            *self.full_pipe.lock() = Some(reader);
        }
        if Path::new(FAKETIME).exists() {
            command
                .env("LD_PRELOAD", FAKETIME)
                .env("FAKETIME_TIMESTAMP_FILE", folder.join("clock"))
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("NO_FAKE_STAT", "1");
        }
        let mut host = command.spawn().unwrap();
        if !self.stderr_is_full.load(Relaxed) {
            let mut lines = BufReader::new(host.stderr.take().unwrap()).lines();
            let device = Arc::clone(self);
            tokio::spawn(async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    device.log.lock().push(line);
                }
            });
        }
        host
    }

    pub(crate) async fn call(&self, method: &str, payload: Value) -> Result<(i32, Value), String> {
        let mut request = MethodRequest::new(method.parse().unwrap(), payload);
        request.connect_timeout = OBSERVATION;
        request.response_timeout = OBSERVATION;
        let answer = self.client.invoke(&self.id, &request).await.map_err(|e| e.to_string())?;
        Ok((answer.status, answer.payload.to_value()))
    }

    /// Returns the status of a call, or the reason why there is none.
    pub(crate) async fn status(&self, method: &str) -> String {
        match self.call(method, Value::Null).await {
            Ok((status, _)) => format!("status {status}"),
            Err(error) => error,
        }
    }

    async fn until_called(&self, calling: &Calling) {
        let called = async {
            while calling.longest.lock().is_none() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        // A host that never answers still gets a row.
        let _ = tokio::time::timeout(OBSERVATION * 3, called).await;
    }

    /// Kills the host and waits until the hub has noticed. A call on the old connection would
    /// get no answer.
    pub(crate) async fn kill(&self) {
        let process = self.process.lock().unwrap().to_string();
        let killed = std::process::Command::new("kill").args(["-9", &process]).status().unwrap();
        assert!(killed.success());
        while self.hub.is_connected(&self.id) {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the plugin `swaps`.
    pub(crate) fn swap(&self, fixture: &str) {
        fs::write(self.file("new"), fixtures::guest(fixture)).unwrap();
        fs::rename(self.file("new"), self.file("swaps.wasm")).unwrap();
    }

    pub(crate) fn set_clock(&self, seconds: i64) {
        fs::write(self.file("clock.new"), format!("{seconds:+}\n")).unwrap();
        fs::rename(self.file("clock.new"), self.file("clock")).unwrap();
    }

    /// Returns the last log line without its time.
    fn last_of_log(&self) -> String {
        let log = self.log.lock();
        let line = log.iter().rev().find(|line| !line.trim().is_empty());
        let line = line.map_or("", |line| line.split_once(' ').map_or(line.as_str(), |it| it.1));
        line.trim().chars().take(200).collect()
    }
}
