//! The log of a running host.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use protocol::id::DeviceId;
use protocol::method::MethodRequest;
use service::{Client, ClientSettings};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::rig::{directory, hub, program};

/// Calls that write more than a pipe and the host's queue hold: each may write 200 lines.
const CALLS: usize = 40;

/// The longest wait for an answer, or for the loss to be told.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host that is killed at the end of the test.
struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_stops_no_call_and_its_loss_is_told() {
    let (hub, _folder, toml) = hub().await;
    let device: DeviceId = "d1".parse().unwrap();
    let identity = hub.create_device(&device).unwrap().to_text_with_key();
    let directory = directory(&toml.replace("reply.wasm", "talks.wasm"));
    let _component = fixtures::write("talks.wat", directory.path());
    let mut program = program(directory.path(), &["run"], Some(&identity));
    let mut host = Host(program.stderr(Stdio::piped()).spawn().unwrap());
    let settings = ClientSettings { ca_pem: Some(hub.ca_pem().to_owned()), ..Default::default() };
    let client = Client::new(hub.service_connection_string(), settings).unwrap();

    let mut request = MethodRequest::new("many".parse().unwrap(), serde_json::Value::Null);
    request.connect_timeout = PATIENCE;
    for call in 0..CALLS {
        let answer = timeout(PATIENCE, client.invoke(&device, &request)).await;
        let answer = answer.unwrap_or_else(|_| panic!("call {call} has no answer")).unwrap();
        assert_eq!(answer.status, 200, "call {call}");
    }

    let log = BufReader::new(host.0.stderr.take().unwrap());
    let told = spawn_blocking(move || {
        let mut lines = log.lines().map_while(Result::ok);
        lines.find(|line| line.contains(" lines of log lost"))
    });
    assert!(timeout(PATIENCE, told).await.unwrap().unwrap().is_some());
}
