//! Output of the program when something is wrong: one line that names the subject, and
//! one with the way out.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use hub::{Hub, HubConfig};
use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use protocol::sas;
use tempfile::TempDir;

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn identity() -> String {
    format!("HostName=localhost;DeviceId=d1;SharedAccessKey={KEY}")
}

/// A directory with a plugin that answers, and a configuration.
fn directory(host_toml: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for fixture in ["reply.wat", "reboots.wat"] {
        let _path = fixtures::write(fixture, directory.path());
    }
    std::fs::write(directory.path().join("text.wasm"), "hello").unwrap();
    std::fs::write(directory.path().join("host.toml"), host_toml).unwrap();
    directory
}

fn plugin(file: &str) -> String {
    format!("[plugins.p]\nfile = \"{file}\"\nmethods = [\"*\"]\n")
}

fn program(directory: &Path, arguments: &[&str], identity: Option<&str>) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_behaviour-host"));
    program.current_dir(directory).args(arguments);
    program.env_remove("IOTHUB_DEVICE_CONNECTION_STRING").env_remove("IOTHUB_CA_FILE");
    program.env_remove("BEHAVIOUR_LOG").env("NO_COLOR", "1").env("XDG_RUNTIME_DIR", directory);
    program.env_remove("STATE_DIRECTORY").env("XDG_DATA_HOME", directory.join("data"));
    if let Some(identity) = identity {
        program.env("IOTHUB_DEVICE_CONNECTION_STRING", identity);
    }
    program
}

/// `run` ends with exit code 1 and prints these two lines and no others that
/// are not of the log.
fn check(host_toml: &str, identity: Option<&str>, error: &str, hint: &str) {
    let directory = directory(host_toml);
    let run = program(directory.path(), &["run", "--log", "warn"], identity).output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert_eq!(said, format!("error: {error}\nhint: {hint}\n"));
    assert!(!said.contains(KEY), "{said}");
}

#[test]
fn a_bad_configuration_is_named_with_file_and_line() {
    check(
        "[hub]\nprot = 1\n",
        Some(&identity()),
        "host.toml: line 2: unknown field `prot`, expected one of `port`, `ca_file`, \
         `connection_string_file`, `keep_alive`, `token_lifetime`",
        "host.example.toml shows all keys",
    );
    check(
        "",
        Some(&identity()),
        "host.toml: no [plugins.NAME]: every method would be unknown",
        "host.example.toml shows all keys",
    );
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let run = program(directory.path(), &["run"], Some(&identity())).output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1));
    let expected = "error: host.toml: No such file or directory (os error 2)\n\
                    hint: name the file with --config; host.example.toml shows all keys\n";
    assert_eq!(said, expected);
}

#[test]
fn a_connection_string_that_is_missing_or_wrong_is_told_without_its_key() {
    check(
        &plugin("reply.wasm"),
        None,
        "connection string of the device is missing",
        "set IOTHUB_DEVICE_CONNECTION_STRING, or `connection_string_file` under [hub]; \
         behaviour-hub and the Azure portal show the device's connection string",
    );
    let directory = directory(&plugin("reply.wasm"));
    let wrong = format!("HostName=localhost;SharedAccessKey={KEY}");
    let run = program(directory.path(), &["run"], Some(&wrong)).output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    let expected = "error: IOTHUB_DEVICE_CONNECTION_STRING: connection string has no `DeviceId`\n\
                    hint: copy it whole: behaviour-hub and the Azure portal show it\n";
    assert_eq!(said, expected);
}

#[test]
fn a_plugin_that_cannot_be_loaded_is_named_with_what_to_do() {
    let identity = identity();
    check(
        &plugin("nowhere.wasm"),
        Some(&identity),
        "plugin `p`: nowhere.wasm: No such file or directory (os error 2)",
        "set `file` under [plugins.p] to the component, or make it with `behaviour build`",
    );
    check(
        &plugin("text.wasm"),
        Some(&identity),
        "plugin `p`: not WebAssembly: starts with \"hello\"",
        "make a component with `behaviour build`, and name its file",
    );
    check(
        &plugin("reboots.wasm"),
        Some(&identity),
        "plugin `p`: imports `device:behaviour/power@0.1.0`, which is not granted",
        "add \"power\" to `capabilities` under [plugins.p], if it may",
    );
}

#[test]
fn a_token_that_has_expired_is_told_before_the_first_connection() {
    let token = sas::sign("localhost/devices/d1", None, &KEY.parse().unwrap(), 1_700_000_000);
    let identity = format!("HostName=localhost;DeviceId=d1;SharedAccessSignature={token}");
    let directory = directory(&plugin("reply.wasm"));
    let run = program(directory.path(), &["run"], Some(&identity)).output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    // The age of the token is the only part that varies.
    let said = said.replace(|c: char| c.is_ascii_digit(), "");
    let expected = "error: the token of the connection string expired  s ago\n\
         hint: make a new token, or use SharedAccessKey, from which the host makes its own\n";
    assert_eq!(said, expected);
}

#[test]
fn a_ca_file_that_is_none_is_named() {
    check(
        &format!("[hub]\nca_file = \"text.wasm\"\n{}", plugin("reply.wasm")),
        Some(&identity()),
        "CA file text.wasm: no certificate found",
        "set `ca_file` under [hub], or IOTHUB_CA_FILE, to a PEM file of certificates",
    );
}

#[test]
fn check_says_what_is_loaded_and_needs_no_identity() {
    let directory = directory(&plugin("reply.wasm"));
    let done = program(directory.path(), &["check"], None).output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.ends_with("host.toml: all right\n"), "{said}");
    assert!(said.contains("  methods: all others\n  imports: none\n"), "{said}");
}

/// A host that runs; it is killed at the end of the test.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStderr>>,
    directory: TempDir,
}

impl Running {
    fn start(host_toml: &str, identity: &str) -> Running {
        Running::start_with(host_toml, identity, |_| {})
    }

    fn start_with(host_toml: &str, identity: &str, change: impl Fn(&mut Command)) -> Running {
        let directory = directory(host_toml);
        let mut program = program(directory.path(), &["run"], Some(identity));
        change(&mut program);
        let (child, lines) = Running::spawn(program);
        Running { child, lines, directory }
    }

    fn spawn(mut program: Command) -> (Child, std::io::Lines<BufReader<ChildStderr>>) {
        let mut child = program.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        (child, lines)
    }

    /// Kills it and starts it again where it was.
    fn crash_and_start(&mut self, identity: &str) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let program = program(self.directory.path(), &["run"], Some(identity));
        (self.child, self.lines) = Running::spawn(program);
    }

    /// The next line that has this in it.
    fn line_with(&mut self, text: &str) -> String {
        let found = self.lines.find(|line| line.as_ref().unwrap().contains(text));
        found.expect("the program says more").unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_host_that_cannot_reach_its_hub_says_so_and_what_to_check() {
    // Bound and closed again: nothing listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let toml = format!("[hub]\nport = {port}\n{}", plugin("reply.wasm"));
    let mut host = Running::start(&toml, &identity());
    let line = host.line_with("no connection");
    assert!(line.contains("WARN"), "{line}");
    assert!(line.contains(&format!("hub=localhost:{port}")), "{line}");
    assert!(line.contains("connection refused"), "{line}");
    assert!(line.contains("check HostName"), "{line}");
}

/// A hub, the port where it takes devices, and its CA in a file.
async fn hub() -> (Hub, TempDir, String) {
    let hub = Hub::start(HubConfig::default()).await.unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_and_an_unknown_device_are_refused_in_one_line() {
    let (hub, _folder, toml) = hub().await;
    let right = hub.create_device(&"d1".parse().unwrap()).unwrap();
    let wrong_key = DeviceCredential::Key(KEY.parse().unwrap());
    let unknown = DeviceConnectionString { device: "d2".parse().unwrap(), ..right.clone() };
    let wrong_key = DeviceConnectionString { credential: wrong_key, ..right };

    for identity in [wrong_key, unknown] {
        let mut host = Running::start(&toml, &identity.to_text_with_key());
        let line = host.line_with("refused by the hub");
        assert!(line.contains("ERROR"), "{line}");
        assert!(line.contains("wrong key, expired token, or a device that is unknown"), "{line}");
        assert!(line.contains(&format!("device={}", identity.device)), "{line}");
        assert!(line.contains("check the device's connection string"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_not_trusted_is_told_with_the_setting_that_helps() {
    let (hub, _folder, toml) = hub().await;
    let identity = hub.create_device(&"d1".parse().unwrap()).unwrap().to_text_with_key();
    let other = Hub::start(HubConfig::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let strange = folder.path().join("other.pem");
    std::fs::write(&strange, other.ca_pem()).unwrap();
    let begin = toml.find("ca_file = ").unwrap();
    let end = begin + toml[begin..].find('\n').unwrap();
    let toml = format!("{}ca_file = {strange:?}{}", &toml[..begin], &toml[end..]);

    let mut host = Running::start(&toml, &identity);

    let line = host.line_with("no connection");
    assert!(line.contains("is not signed by a trusted authority"), "{line}");
    assert!(line.contains("ca_file"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_of_one_device_is_refused_with_the_directory_that_is_in_use() {
    let (hub, _folder, toml) = hub().await;
    let device = "d1".parse().unwrap();
    let identity = hub.create_device(&device).unwrap().to_text_with_key();
    let mut host = Running::start(&toml, &identity);
    host.line_with("connected");

    let directory = host.directory.path();
    let second = program(directory, &["run", "--log", "warn"], Some(&identity)).output().unwrap();

    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{said}");
    let data = directory.join("data/behaviour-host/d1");
    let error = format!("error: data directory {}: another host uses it", data.display());
    assert!(said.starts_with(&error), "{said}");
    assert!(said.contains("hint: stop the other host, or set `data` under [host]"), "{said}");
    assert!(hub.is_connected(&device));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_a_running_host_with_success_and_nothing_left_behind() {
    let (hub, folder, toml) = hub().await;
    let device = "d1".parse().unwrap();
    let identity = hub.create_device(&device).unwrap().to_text_with_key();
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let mut host = Running::start_with(&toml, &identity, |program| {
        program.env_remove("XDG_RUNTIME_DIR").env("TMPDIR", &temporary);
    });
    let socket = host.line_with("control socket open");
    assert!(socket.contains("/tmp/behaviour-host-"), "{socket}");
    hub.connected(&device).await;
    host.line_with("connected");

    let pid = host.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());

    host.line_with("draining");
    host.line_with("stopped");
    assert_eq!(host.child.wait().unwrap().code(), Some(0));
    assert!(!hub.is_connected(&device));
    assert_eq!(std::fs::read_dir(temporary).unwrap().count(), 0);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_that_the_host_is_ready_alive_connected_and_stopping() {
    let (hub, folder, toml) = hub().await;
    let identity = hub.create_device(&"d1".parse().unwrap()).unwrap().to_text_with_key();
    let path = folder.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    // What comes until it has come; that it comes at all is asserted by the read.
    let until = |wanted: &str| {
        let mut buffer = [0; 256];
        while !{
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).contains(wanted)
        } {}
    };
    let mut host = Running::start_with(&toml, &identity, |program| {
        program.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000");
    });

    until("READY=1");
    until("STATUS=connected");
    until("WATCHDOG=1");
    until("WATCHDOG=1");
    let pid = host.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    until("STOPPING=1");
    host.line_with("stopped");
}

#[test]
fn a_fleet_that_cannot_be_read_says_how_to_make_one_and_shows_no_key() {
    let directory = directory(&plugin("reply.wasm"));
    let check = |file: &str, error: &str, hint: &str| {
        let arguments = ["simulate", "--identities", file];
        let run = program(directory.path(), &arguments, None).output().unwrap();
        let said = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(1), "{said}");
        assert_eq!(said, format!("error: {error}\nhint: {hint}\n"));
        assert!(!said.contains(KEY), "{said}");
    };
    check(
        "none.txt",
        "none.txt: No such file or directory (os error 2)",
        "make the file with `behaviour-service devices create --prefix sim- --count N`",
    );
    std::fs::write(directory.path().join("twice.txt"), format!("{0}\n{0}\n", identity())).unwrap();
    check(
        "twice.txt",
        "twice.txt: lines 1 and 2 are both the device `d1`",
        "a device has one connection at a time: remove one line",
    );
    std::fs::write(directory.path().join("odd.txt"), format!("{KEY}\n")).unwrap();
    check(
        "odd.txt",
        "odd.txt: line 1: part 1 of the connection string does not begin with the name of a part \
         of a device connection string",
        "a line is one device connection string, whole; behaviour-hub and the Azure portal show it",
    );
}

/// Returns the output of an operator's command, and its exit code.
fn operate(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let done = program(directory, &[&["plugins"], arguments].concat(), None).output().unwrap();
    let said = if done.status.success() { done.stdout } else { done.stderr };
    (done.status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_and_steers_the_plugins_of_a_running_host() {
    let (hub, _folder, toml) = hub().await;
    let identity = hub.create_device(&"d1".parse().unwrap()).unwrap().to_text_with_key();
    let mut host = Running::start(&toml, &identity);
    host.line_with("control socket open");
    let directory = host.directory.path().to_owned();

    let (code, list) = operate(&directory, &[]);
    assert_eq!(code, Some(0), "{list}");
    let lines: Vec<_> =
        list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0][..3], ["NAME", "VERSION", "STATE"], "{list}");
    assert_eq!((lines.len(), &lines[1][..3]), (2, &["p", "1", "active"][..]), "{list}");

    assert_eq!(operate(&directory, &["disable", "p"]).1, "disabled until it is enabled\n");
    let (_, json) = operate(&directory, &["list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(list["plugins"][0]["state"], "off");
    assert_eq!(list["plugins"][0]["counters"]["answered"], 0);
    assert_eq!(operate(&directory, &["enable", "p"]).0, Some(0));

    std::fs::write(directory.join("reply.wasm"), fixtures::guest("version-one.wat")).unwrap();
    host.line_with("plugin swapped");
    let (_, done) = operate(&directory, &["rollback", "p"]);
    assert_eq!(done, "version 1 takes the calls again, 2 does not\n");
    let (code, error) = operate(&directory, &["rollback", "p"]);
    assert_eq!((code, error.as_str()), (Some(1), "error: there is no version before this one\n"));
    let (code, error) = operate(&directory, &["reload", "q"]);
    assert_eq!((code, error.lines().next()), (Some(4), Some("error: the host has no plugin `q`")));
}

#[test]
fn a_plugin_that_an_operator_disabled_is_off_after_a_crash_until_it_is_enabled() {
    let toml = format!("[hub]\nport = 1\n{}", plugin("reply.wasm"));
    let mut host = Running::start(&toml, &identity());
    host.line_with("control socket open");
    let directory = host.directory.path().to_owned();
    let state = || {
        let (_, json) = operate(&directory, &["list", "--json"]);
        let list: serde_json::Value = serde_json::from_str(&json).unwrap();
        list["plugins"][0]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(operate(&directory, &["disable", "p"]).1, "disabled until it is enabled\n");

    host.crash_and_start(&identity());
    host.line_with("switched off by the device's operator");
    assert_eq!(state(), "off");

    assert_eq!(operate(&directory, &["enable", "p"]).1, "enabled\n");
    host.crash_and_start(&identity());
    host.line_with("control socket open");
    assert_eq!(state(), "active");
}

#[test]
fn an_operator_without_a_host_is_told_so() {
    let directory = directory(&plugin("reply.wasm"));
    let (code, said) = operate(directory.path(), &["list"]);
    assert_eq!(code, Some(3), "{said}");
    let expected = "error: no host is running with this configuration\n\
                    hint: start it with `behaviour-host run`, or name its configuration with \
                    --config\n";
    assert_eq!(said, expected);
}

#[test]
fn a_second_host_with_the_same_configuration_is_refused() {
    let toml = format!("[hub]\nport = 1\n{}", plugin("reply.wasm"));
    let mut host = Running::start(&toml, &identity());
    host.line_with("control socket open");
    let arguments = ["run", "--log", "warn"];
    let mut second = program(host.directory.path(), &arguments, Some(&identity()));
    // As for another device, whose data are elsewhere.
    let run = second.env("XDG_DATA_HOME", host.directory.path().join("other")).output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: another host is listening on "), "{said}");
    assert!(said.contains("\nhint: stop that one first"), "{said}");
}
