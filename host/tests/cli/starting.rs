//! Errors before the first connection, and starts with the last working configuration.

use std::path::Path;
use std::time::{Duration, Instant};

use protocol::sas;
use sha2::{Digest, Sha256};

use crate::rig::{KEY, Running, directory, identity, plugin, program};

/// Checks that `run` ends with exit code 1 and prints only this error and this hint.
fn check(host_toml: &str, identity: Option<&str>, error: &str, hint: &str) {
    let directory = directory(host_toml);
    let run = program(directory.path(), &["run", "--log", "warn"], identity).output().unwrap();
    let output = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1), "{output}");
    assert_eq!(output, format!("error: {error}\nhint: {hint}\n"));
    assert!(!output.contains(KEY), "{output}");
}

#[test]
fn a_bad_configuration_is_named_with_file_and_line() {
    check(
        "[hub]\nprot = 1\n",
        Some(&identity()),
        "host.toml: line 2: unknown key `hub.prot`, expected one of `port`, `ca_file`, \
         `connection_string_file`, `keep_alive`, `token_lifetime`, `profile`, `telemetry_topic`, \
         `messages`, `identity`",
        "`behaviour-host example` prints a file with all keys",
    );
    check(
        "",
        Some(&identity()),
        "host.toml: no [plugins.NAME]: every method would be unknown",
        "`behaviour-host example` prints a file with all keys",
    );
    let plugin = |name: &str| format!("[plugins.{name}]\nfile = \"f\"\nmethods = [\"m\"]\n");
    check(
        &format!("{}{}", plugin("a"), plugin("b")),
        Some(&identity()),
        "host.toml: both `a` and `b` serve `m`; a method has one plugin",
        "remove the method from `methods` of one of them; `[\"*\"]` serves all methods that no \
         plugin names",
    );
}

#[test]
fn a_missing_configuration_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let run = program(directory.path(), &["run"], Some(&identity())).output().unwrap();
    let output = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1));
    let expected = "error: host.toml: No such file or directory (os error 2)\n\
                    hint: name the file with --config; `behaviour-host example` prints one with all keys\n";
    assert_eq!(output, expected);
}

#[test]
fn a_missing_or_invalid_connection_string_is_reported_without_its_key() {
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
    let output = String::from_utf8(run.stderr).unwrap();
    let expected = "error: IOTHUB_DEVICE_CONNECTION_STRING: connection string has no `DeviceId`\n\
                    hint: copy the complete string: behaviour-hub and the Azure portal show it\n";
    assert_eq!(output, expected);

    let service = format!("HostName=localhost;SharedAccessKeyName=service;SharedAccessKey={KEY}");
    let run = program(directory.path(), &["run"], Some(&service)).output().unwrap();
    let output = String::from_utf8(run.stderr).unwrap();
    let expected = "error: IOTHUB_DEVICE_CONNECTION_STRING: connection string belongs to a \
        service, not to a device\n\
        hint: this is a service's connection string; `behaviour-service devices \
        connection-string ID` and the device's page in the Azure portal show the device's\n";
    assert_eq!(output, expected);
}

#[test]
fn a_plugin_that_does_not_load_is_reported_with_a_hint() {
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
        "build a component with `behaviour build` and use its file",
    );
    check(
        &plugin("reboots.wasm"),
        Some(&identity),
        "plugin `p`: imports `device:behaviour/power@0.1.2`, which is not granted",
        "add \"power\" to `capabilities` under [plugins.p] to grant it",
    );
}

#[test]
fn an_expired_token_is_reported_before_the_first_connection() {
    let token = sas::sign("localhost/devices/d1", None, &KEY.parse().unwrap(), 1_700_000_000);
    let identity = format!("HostName=localhost;DeviceId=d1;SharedAccessSignature={token}");
    let directory = directory(&plugin("reply.wasm"));
    let run = program(directory.path(), &["run"], Some(&identity)).output().unwrap();
    let output = String::from_utf8(run.stderr).unwrap();
    // The age of the token is the only part that varies.
    let output = output.replace(|c: char| c.is_ascii_digit(), "");
    let expected = "error: the token of the connection string expired  s ago\n\
         hint: create a new token, or use SharedAccessKey, with which the host creates tokens itself\n";
    assert_eq!(output, expected);
}

#[test]
fn a_ca_file_without_certificates_is_named() {
    check(
        &format!("[hub]\nca_file = \"text.wasm\"\n{}", plugin("reply.wasm")),
        Some(&identity()),
        "CA file text.wasm: no certificate found",
        "set `ca_file` under [hub], or IOTHUB_CA_FILE, to a PEM file of certificates",
    );
}

#[test]
fn check_lists_the_plugins_and_leaves_nothing_behind() {
    let directory = directory(&format!("host.data = \"d\"\n{}", plugin("reply.wasm")));
    let before = std::fs::read_dir(directory.path()).unwrap().count();
    for (arguments, identity) in
        [(&["check"][..], Some(identity())), (&["check", "--without-identity"], None)]
    {
        let done = program(directory.path(), arguments, identity.as_deref()).output().unwrap();
        let output = String::from_utf8(done.stdout).unwrap();
        assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(output.ends_with("host.toml: valid\n"), "{output}");
        assert!(output.contains("  methods: all others\n  imports: none\n"), "{output}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), before);
}

/// Valid configuration in which every file and directory causes an error.
const ALL_WRONG: &str = r#"
[hub]
ca_file = "text.wasm"
connection_string_file = "nowhere"
[host]
compile_cache = "text.wasm/cache"
control_socket = "text.wasm/host.sock"
data = "text.wasm/data"
[plugins.a]
file = "nowhere.wasm"
methods = ["a"]
[plugins.b]
file = "reboots.wasm"
methods = ["b"]
[plugins.c]
file = "reply.wasm"
methods = ["c"]
capabilities = ["http"]
http = { hosts = ["a.example.com"], ca_file = "nowhere.pem" }
"#;

#[test]
fn check_reports_all_errors_that_would_prevent_a_start() {
    let directory = directory(ALL_WRONG);
    let wanted = [
        "connection string file nowhere: No such file",
        "CA file text.wasm: no certificate found",
        "data directory text.wasm/data: ",
        "control socket text.wasm/host.sock: ",
        "plugin `c`: CA file nowhere.pem: ",
        "plugins: compile cache text.wasm/cache: ",
        "plugin `a`: nowhere.wasm: No such file",
        "plugin `b`: imports `device:behaviour/power@0.1.2`, which is not granted",
    ];

    let done = program(directory.path(), &["check"], None).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    let output = String::from_utf8(done.stderr).unwrap();
    let errors: Vec<_> = output.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), wanted.len(), "{output}");
    for (error, wanted) in errors.iter().zip(wanted) {
        assert!(error.starts_with(&format!("error: {wanted}")), "{output}");
    }

    let done = program(directory.path(), &["check", "--json"], None).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    let found: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    let errors = found["errors"].as_array().unwrap();
    assert_eq!(errors.len(), wanted.len(), "{found}");
    assert!(errors[7]["hint"].as_str().unwrap().contains("add \"power\""), "{found}");
    assert_eq!(found["plugins"][0]["name"], "c");
}

#[test]
fn a_file_with_another_digest_than_the_configured_one_prevents_a_first_start() {
    let digest = Sha256::digest(fixtures::guest("reply.wat"));
    let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let pinned = |digest: &str| format!("{}sha256 = \"{digest}\"\n", plugin("reply.wasm"));
    let other = "0".repeat(64);
    let error = format!(
        "plugin `p`: the SHA-256 digest of reply.wasm is {found}, not {other} as in `sha256`"
    );
    let hint = "install the file that `sha256` under [plugins.p] names, or correct `sha256`";
    check(&pinned(&other), Some(&identity()), &error, hint);

    let directory = directory(&pinned(&other));
    let check = || {
        let arguments = ["check", "--without-identity"];
        let done = program(directory.path(), &arguments, None).output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    assert_eq!(check(), (Some(1), format!("error: {error}\nhint: {hint}\n")));
    std::fs::write(directory.path().join("host.toml"), pinned(&found)).unwrap();
    assert_eq!(check(), (Some(0), String::new()));

    std::fs::write(directory.path().join("host.toml"), pinned("abc")).unwrap();
    let expected = "[plugins.p]: `sha256` is `abc`, not 64 hexadecimal digits";
    assert!(check().1.contains(expected), "{}", check().1);
}

#[test]
fn an_invalid_fleet_is_reported_with_a_hint_and_without_its_keys() {
    let directory = directory(&plugin("reply.wasm"));
    let check = |file: &str, error: &str, hint: &str| {
        let arguments = ["simulate", "--identities", file];
        let run = program(directory.path(), &arguments, None).output().unwrap();
        let output = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(1), "{output}");
        assert_eq!(output, format!("error: {error}\nhint: {hint}\n"));
        assert!(!output.contains(KEY), "{output}");
    };
    check(
        "none.txt",
        "none.txt: No such file or directory (os error 2)",
        "create the file with `behaviour-service devices create --prefix sim- --count N`",
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
        "odd.txt: line 1: part 1 of the connection string has no name that is valid for a device",
        "each line is one complete device connection string; behaviour-hub and the Azure portal \
         show it",
    );
}

/// Waits until a host has persisted its working configuration.
fn wait_until_kept(directory: &Path) {
    let record = directory.join("data/behaviour-host/d1/known-good/record.json");
    let until = Instant::now() + Duration::from_secs(60);
    while !std::fs::read_to_string(&record).is_ok_and(|text| text.contains("host.toml")) {
        assert!(Instant::now() < until, "{} names no configuration", record.display());
        std::thread::yield_now();
    }
}

#[test]
fn an_invalid_configuration_is_replaced_by_the_last_working_one() {
    let toml = format!("[hub]\nport = 1\n{}", plugin("reply.wasm"));
    let mut host = Running::start(&toml, &identity());
    let file = host.directory.path().join("host.toml");
    wait_until_kept(host.directory.path());
    for (broken, error) in [
        (format!("{toml}mistake = 1\n"), "line 6: unknown key `plugins."),
        (String::new(), "no [plugins.NAME]"),
        (toml.replace("port = 1", "ca_file = \"text.wasm\""), "no certificate found"),
    ] {
        std::fs::write(&file, &broken).unwrap();
        host.crash_and_start(&identity());
        let line = host.line_with("the last working one is in force");
        assert!(line.contains("ERROR") && line.contains(error), "{line}");
        host.line_with("no connection");
        // `check` reports the error that the host works around.
        let check = program(host.directory.path(), &["check"], Some(&identity())).output().unwrap();
        assert_eq!(check.status.code(), Some(1), "{broken}");
    }
}

#[test]
fn an_invalid_configuration_that_never_worked_prevents_a_start() {
    let toml = format!("[hub]\nport = 1\n{}", plugin("reply.wasm"));
    let mut host = Running::start(&toml, &identity());
    wait_until_kept(host.directory.path());
    let other = host.directory.path().join("other.toml");
    std::fs::write(other, "[hub]\nprot = 1\n").unwrap();
    host.child.kill().unwrap();
    host.child.wait().unwrap();

    let arguments = ["run", "--config", "other.toml"];
    let run = program(host.directory.path(), &arguments, Some(&identity())).output().unwrap();

    assert_eq!(run.status.code(), Some(1));
    let output = String::from_utf8(run.stderr).unwrap();
    assert!(output.contains("error: other.toml: line 2: unknown key `hub.prot`"), "{output}");
}
