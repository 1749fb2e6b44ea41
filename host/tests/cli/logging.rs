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

/// Number of calls. Each writes up to 200 lines, more in total than a pipe and the host's
/// queue can hold.
const CALLS: usize = 40;

/// Timeout for an answer, and for the message about lost lines.
const PATIENCE: Duration = Duration::from_secs(60);

/// Host that is killed at the end of the test.
struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unread_log_does_not_block_calls_and_lost_lines_are_reported() {
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
    let loss = spawn_blocking(move || {
        let mut lines = log.lines().map_while(Result::ok);
        lines.find(|line| line.contains(" lines of log lost"))
    });
    assert!(timeout(PATIENCE, loss).await.unwrap().unwrap().is_some());
}

#[test]
fn a_log_filter_that_matches_no_event_is_reported() {
    let directory = directory("");
    let output = |filter: &str| {
        let run = program(directory.path(), &["run", "--log", filter], None).output().unwrap();
        (run.status.code(), String::from_utf8(run.stderr).unwrap())
    };
    for filter in ["loud", "warn,ping-home=debug"] {
        let (code, text) = output(filter);
        let target = if filter == "loud" { "loud" } else { "ping-home" };
        let warning = format!(
            "`{target}` in the log filter matches no event: it is neither a level nor a target of \
             this program hint=\"use error, warn, info, debug, trace or off, or a target: \
             plugin=debug\""
        );
        assert_eq!(text.matches(&warning).count(), 1, "{text}");
        assert_eq!(code, Some(1));
    }
    assert!(!output("plugin=debug").1.contains("matches no event"));
    let (code, text) = output("plugin=loud");
    assert_eq!(code, Some(2), "{text}");
}
