//! A running host with a hub, systemd, signals and a second host.

use std::process::Command;
use std::time::{Duration, Instant};

use hub::{Hub, HubConfig};
use protocol::connection_string::{DeviceConnectionString, DeviceCredential};

use crate::rig::{KEY, Running, hub, identity, plugin, program};

#[test]
fn a_host_that_cannot_reach_its_hub_logs_the_cause_and_a_hint() {
    // The port was bound and released, so nothing listens on it.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let toml = format!("[hub]\nport = {port}\n{}", plugin("reply.wasm"));
    let mut host = Running::start(&toml, &identity());
    let line = host.line_with("no connection");
    assert!(line.contains("WARN"), "{line}");
    assert!(line.contains(&format!("hub=localhost:{port}")), "{line}");
    assert!(line.contains("connection refused"), "{line}");
    assert!(line.contains("check HostName"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_and_an_unknown_device_are_reported_in_one_line() {
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
async fn an_untrusted_hub_is_reported_with_the_setting_to_change() {
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
async fn a_second_host_of_one_device_is_refused_with_the_directory_in_use() {
    let (hub, _folder, toml) = hub().await;
    let device = "d1".parse().unwrap();
    let identity = hub.create_device(&device).unwrap().to_text_with_key();
    let mut host = Running::start(&toml, &identity);
    host.line_with("connected");

    let directory = host.directory.path();
    let second = program(directory, &["run", "--log", "warn"], Some(&identity)).output().unwrap();

    let output = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{output}");
    let data = directory.join("data/behaviour-host/d1");
    let error = format!("error: data directory {}: another host uses it", data.display());
    assert!(output.starts_with(&error), "{output}");
    assert!(output.contains("hint: stop the other host, or set `data` under [host]"), "{output}");
    assert!(hub.is_connected(&device));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_stops_a_host_with_success_and_leaves_nothing_behind() {
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
async fn systemd_is_notified_when_the_host_is_ready_connected_alive_and_stopping() {
    let (hub, folder, toml) = hub().await;
    let identity = hub.create_device(&"d1".parse().unwrap()).unwrap().to_text_with_key();
    let path = folder.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // Waits for a datagram that contains `wanted`, and skips others.
    let until = |wanted: &str| {
        let begun = Instant::now();
        let mut buffer = [0; 256];
        loop {
            let length = socket.recv(&mut buffer).unwrap();
            if String::from_utf8_lossy(&buffer[..length]).contains(wanted) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "no `{wanted}`");
        }
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
