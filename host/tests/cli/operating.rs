//! The operator's commands.

use std::path::Path;

use crate::rig::{Running, directory, hub, identity, plugin, program};

/// Runs an operator's command, and returns its exit code and output.
fn operate(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let done = program(directory, &[&["plugins"], arguments].concat(), None).output().unwrap();
    let output = if done.status.success() { done.stdout } else { done.stderr };
    (done.status.code(), String::from_utf8(output).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_lists_and_controls_the_plugins_of_a_running_host() {
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
    assert_eq!(done, "version 1 is active again, in place of 2\n");
    let (code, error) = operate(&directory, &["rollback", "p"]);
    assert_eq!((code, error.as_str()), (Some(1), "error: there is no previous version\n"));
    let (_, error) = operate(&directory, &["reload", "q", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert_eq!((&error["error"], &error["exit_code"]), (&"unknown-plugin".into(), &4.into()));
    let (code, error) = operate(&directory, &["reload", "q"]);
    assert_eq!((code, error.lines().next()), (Some(4), Some("error: the host has no plugin `q`")));
}

#[test]
fn a_disabled_plugin_stays_disabled_after_a_crash_until_it_is_enabled() {
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
    // A host that has worked before opens its socket before its plugins are loaded.
    let loaded = std::iter::repeat_with(state).take(1000).find(|state| state != "loading");
    assert_eq!(loaded.as_deref(), Some("active"));
}

#[test]
fn a_host_behind_a_link_with_relative_directories_is_reached_from_another_directory() {
    let toml = "[hub]\nport = 1\n[host]\ncontrol_socket = \"c/host.sock\"\ndata = \"kept\"\n";
    let toml = format!("{toml}{}", plugin("reply.wasm"));
    let change = |program: &mut std::process::Command| {
        let directory = program.get_current_dir().unwrap();
        std::os::unix::fs::symlink("host.toml", directory.join("link.toml")).unwrap();
        program.args(["--config", "link.toml"]);
    };
    let mut host = Running::start_with(&toml, &identity(), change);
    host.line_with("control socket open");
    let elsewhere = tempfile::tempdir().unwrap();
    for name in ["link.toml", "host.toml"] {
        let configuration = host.directory.path().join(name);
        let (code, list) =
            operate(elsewhere.path(), &["--config", configuration.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{name}: {list}");
        assert!(list.contains("active"), "{list}");
    }
}

#[test]
fn a_host_behind_a_link_in_another_directory_is_reached_by_the_file_itself() {
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("link.toml");
    let toml = "[hub]\nport = 1\n[host]\ncontrol_socket = \"c/host.sock\"\ndata = \"kept\"\n";
    let toml = format!("{toml}{}", plugin("reply.wasm"));
    let mut host = Running::start_with(&toml, &identity(), |program| {
        let directory = program.get_current_dir().unwrap();
        // The paths of the configuration are relative to the link.
        for (file, link) in
            [("host.toml", &link), ("reply.wasm", &elsewhere.path().join("reply.wasm"))]
        {
            std::os::unix::fs::symlink(directory.join(file), link).unwrap();
        }
        program.arg("--config").arg(&link);
    });
    host.line_with("control socket open");
    let there = host.directory.path().to_owned();
    for configuration in [there.join("host.toml"), link] {
        let (code, list) = operate(&there, &["--config", configuration.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{list}");
        assert!(list.contains("active"), "{list}");
    }
    let (code, done) = operate(&there, &["--config", "host.toml", "reload", "p"]);
    assert_eq!((code, done.as_str()), (Some(0), "version 1 of this file is already active\n"));
}

#[test]
fn a_missing_host_is_an_error_that_names_the_sockets_tried() {
    let directory = directory(&plugin("reply.wasm"));
    let (code, output) = operate(directory.path(), &["list"]);
    assert_eq!(code, Some(3), "{output}");
    let (error, hint) = output.split_once('\n').unwrap();
    let start = "error: no host is running with this configuration; looked for ";
    assert!(error.starts_with(start), "{error}");
    let runtime = directory.path().join("behaviour-host");
    assert!(error.contains(runtime.to_str().unwrap()), "{error}");
    let variable = format!("(XDG_RUNTIME_DIR={}, ", directory.path().display());
    assert!(error.contains(&variable), "{error}");
    let expected = "hint: start it with `behaviour-host run`, or name its configuration with \
                    --config; to reach a host of another user, run this command as that user or \
                    as root\n";
    assert_eq!(hint, expected);
}

#[test]
fn an_operator_in_another_session_reaches_the_host() {
    let toml = format!("[hub]\nport = 1\n[host]\ndata = \"data\"\n{}", plugin("reply.wasm"));
    let mut host = Running::start(&toml, &identity());
    host.line_with("control socket open");
    let directory = host.directory.path();
    let mut other = program(directory, &["plugins", "list"], None);
    let done = other.env_clear().output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_second_host_with_the_same_configuration_is_refused() {
    let toml = format!("[hub]\nport = 1\n{}", plugin("reply.wasm"));
    let mut host = Running::start(&toml, &identity());
    host.line_with("control socket open");
    let arguments = ["run", "--log", "warn"];
    let mut second = program(host.directory.path(), &arguments, Some(&identity()));
    // Another data directory, as if the second host ran another device.
    let run = second.env("XDG_DATA_HOME", host.directory.path().join("other")).output().unwrap();
    let output = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1), "{output}");
    assert!(output.starts_with("error: another host is listening on "), "{output}");
    assert!(output.contains("\nhint: stop the other host"), "{output}");
}

#[test]
fn a_pipe_in_place_of_a_file_is_refused_without_waiting_for_its_writer() {
    let toml = format!("[hub]\nport = 1\nca_file = \"ca.pem\"\n{}", plugin("reply.wasm"));
    for name in ["reply.wasm", "ca.pem", "host.toml"] {
        let folder = directory(&toml);
        let file = folder.path().join(name);
        let _removed = std::fs::remove_file(&file);
        let made = std::process::Command::new("mkfifo").arg(&file).status();
        assert!(made.unwrap().success());
        let check = program(folder.path(), &["check"], Some(&identity())).output().unwrap();
        let output = String::from_utf8(check.stderr).unwrap();
        assert_eq!(check.status.code(), Some(1), "{output}");
        assert!(output.contains(name) && output.contains("not a regular file"), "{output}");
    }
}

#[test]
fn completions_offer_the_plugins_of_a_configuration_without_a_running_host() {
    let folder = directory(&plugin("reply.wasm"));
    let words = ["--", "behaviour-host", "plugins", "disable", ""];
    let mut complete = program(folder.path(), &words, None);
    let done = complete.env("COMPLETE", "fish").output().unwrap();
    assert_eq!((done.status.code(), done.stderr.as_slice()), (Some(0), &b""[..]));
    let offered = String::from_utf8(done.stdout).unwrap();
    assert!(offered.lines().any(|line| line.split('\t').next() == Some("p")), "{offered}");
}

#[test]
fn the_printed_example_is_a_valid_configuration_once_its_plugin_is_there() {
    let folder = directory("");
    let example = program(folder.path(), &["example"], None).output().unwrap();
    std::fs::write(folder.path().join("example.toml"), &example.stdout).unwrap();
    let arguments = ["check", "--config", "example.toml", "--without-identity", "--json"];
    let checked = program(folder.path(), &arguments, None).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    let messages: Vec<_> = report["errors"].as_array().unwrap().iter().collect();
    assert!(
        messages.iter().all(|it| it["message"].as_str().unwrap().contains("reboot.wasm")),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_shows_the_connection_and_why_it_was_lost() {
    let (hub, _folder, toml) = hub().await;
    let identity = hub.create_device(&"d1".parse().unwrap()).unwrap().to_text_with_key();
    let mut host = Running::start(&toml, &identity);
    host.line_with("control socket open");
    host.line_with("connected");
    let directory = host.directory.path().to_owned();
    let status = || {
        let done = program(&directory, &["status", "--json"], None).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&done.stdout).unwrap()
    };

    let connected = status();
    assert_eq!((&connected["connected"], &connected["device"]), (&true.into(), &"d1".into()));
    assert_eq!(connected["plugins"]["active"], 1);
    assert!(connected["token_expires"].is_string() && connected["reason"].is_null(), "{connected}");
    assert!(connected["memory_limit_bytes"].as_u64().unwrap() > 0);
    let text = program(&directory, &["status"], None).output().unwrap();
    assert!(String::from_utf8(text.stdout).unwrap().contains("connection  connected since "));

    hub.stop().await;
    host.line_with("no connection");
    let lost = status();
    assert_eq!(lost["connected"], false);
    assert!(lost["reason"].is_string() && lost["since"].as_str() > connected["since"].as_str());
}
