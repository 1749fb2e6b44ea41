//! `behaviour-host logs --follow`: the end of a log.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hub::Hub;
use protocol::method::MethodRequest;
use service::{Client, ClientSettings};
use tempfile::TempDir;

use crate::rig::{Running, hub, program};

/// A host with the plugins `p` and `talks`, whose log has a line, and a command that follows it.
struct Followed {
    host: Running,
    command: Child,
    _hub: (Hub, TempDir),
}

impl Followed {
    async fn start() -> Followed {
        let (hub, folder, toml) = hub().await;
        let device = "d1".parse().unwrap();
        let identity = hub.create_device(&device).unwrap().to_text_with_key();
        let _path = fixtures::write("talks.wat", folder.path());
        let talks = folder.path().join("talks.wasm");
        let toml = format!("{toml}[plugins.talks]\nfile = {talks:?}\nmethods = [\"once\"]\n");
        let mut host = Running::start(&toml, &identity);
        host.line_with("connected");

        let ca_pem = Some(hub.ca_pem().to_owned());
        let settings = ClientSettings { ca_pem, ..ClientSettings::default() };
        let client = Client::new(hub.service_connection_string(), settings).unwrap();
        let mut request = MethodRequest::new("once".parse().unwrap(), serde_json::Value::Null);
        request.connect_timeout = Duration::from_secs(60);
        assert_eq!(client.invoke(&device, &request).await.unwrap().status, 200);

        let mut command = program(host.directory.path(), &["logs", "talks", "--follow"], None);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut command = command.spawn().unwrap();
        let mut line = String::new();
        let output = command.stdout.as_mut().unwrap();
        BufReader::with_capacity(1, output).read_line(&mut line).unwrap();
        assert!(line.contains("one"), "{line}");
        Followed { host, command, _hub: (hub, folder) }
    }

    /// Waits for the end of the command, and returns its exit code and the first line of its error.
    fn end(mut self) -> (Option<i32>, String) {
        let mut errors = String::new();
        self.command.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        let code = self.command.wait().unwrap().code();
        (code, errors.lines().next().unwrap_or_default().to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_log_ends_when_its_plugin_leaves_the_host() {
    let mut followed = Followed::start().await;
    let file = followed.host.directory.path().join("host.toml");
    let text = fs::read_to_string(&file).unwrap();
    let (without, _) = text.split_once("[plugins.talks]").unwrap();
    fs::write(file, without).unwrap();
    followed.host.line_with("configuration changed");
    assert_eq!(followed.end(), (Some(4), "error: the host has no plugin `talks`".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_log_ends_when_the_host_stops() {
    let followed = Followed::start().await;
    let id = followed.host.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(followed.end(), (Some(3), "error: the host has stopped".to_owned()));
}
