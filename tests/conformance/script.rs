//! A Python or Node script that a test controls.
//!
//! [`Script::send`] writes a command, and [`Script::wait_for`] waits for an event. Both are
//! lines of JSON. Secrets are passed in the environment, not as arguments.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::Stdio;

use rig::{TIMEOUT, within};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// A running script. Dropping it kills the process.
pub(super) struct Script {
    commands: ChildStdin,
    events: mpsc::Receiver<Value>,
    unclaimed: VecDeque<Value>,
    stderr: File,
    child: Child,
}

impl Script {
    /// Starts `script` with an interpreter and its options.
    pub(super) fn start(
        interpreter: &Path,
        options: &[&str],
        script: &Path,
        environment: &[(&str, String)],
    ) -> Script {
        let stderr = tempfile::tempfile().unwrap();
        let mut child = Command::new(interpreter)
            .args(options)
            .arg(script)
            // Only the rig's proxy is used.
            .env("NO_PROXY", "localhost,127.0.0.1")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr.try_clone().unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let events = listen(child.stdout.take().unwrap());
        Script { commands, events, unclaimed: VecDeque::new(), stderr, child }
    }

    /// Sends a command with an object that contains its arguments.
    pub(super) async fn send(&mut self, command: &str, mut arguments: Value) {
        arguments["do"] = command.into();
        self.commands.write_all(format!("{arguments}\n").as_bytes()).await.unwrap();
    }

    /// Waits for the next event with this name. Keeps all other events for later calls.
    pub(super) async fn wait_for(&mut self, event: &str) -> Value {
        self.wait_for_matching(event, |_| true).await
    }

    /// Waits for the next event with one of these names.
    pub(super) async fn wait_for_any(&mut self, events: &[&str]) -> Value {
        let is_one = |found: &Value| events.iter().any(|event| found["event"] == *event);
        self.wait(&events.join("` or `"), is_one).await
    }

    /// Waits for the next event with this name that satisfies a condition.
    pub(super) async fn wait_for_matching(
        &mut self,
        event: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Value {
        self.wait(event, |found| found["event"] == event && is(found)).await
    }

    async fn wait(&mut self, event: &str, matches: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.unclaimed.iter().position(&matches) {
            return self.unclaimed.remove(at).unwrap();
        }
        // A script may go on with other events for ever.
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let found = self.next_event(event, deadline).await;
            if matches(&found) {
                return found;
            }
            assert_ne!(found["event"], "failed", "while waiting for `{event}`: {found}");
            self.unclaimed.push_back(found);
        }
    }

    /// Closes the script's input and waits until the script has ended.
    pub(super) async fn stop(mut self) {
        drop(self.commands);
        let status = within("the script ends", self.child.wait()).await.unwrap();
        assert!(status.success(), "the script ended with {status}: {}", read(&mut self.stderr));
    }

    async fn next_event(&mut self, awaited: &str, deadline: Instant) -> Value {
        // The limit allows for a busy machine. It is ten times the slowest event, a timeout of
        // 5 s that the hub must enforce.
        match timeout_at(deadline, self.events.recv()).await {
            Ok(Some(event)) => event,
            Ok(None) => panic!("the script ended before `{awaited}`: {}", read(&mut self.stderr)),
            Err(_) => panic!(
                "no `{awaited}` within {TIMEOUT:?}, but {:?}: {}",
                self.unclaimed,
                read(&mut self.stderr)
            ),
        }
    }
}

/// Returns the events of a script. A task reads them even while the test does not wait for
/// any, since a script that is blocked on its output would not answer the hub.
fn listen(stdout: ChildStdout) -> mpsc::Receiver<Value> {
    let (sender, events) = mpsc::channel(1000);
    tokio::spawn(async move {
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            let event = serde_json::from_str(&line).unwrap_or_else(|_| json!({ "event": line }));
            if sender.send(event).await.is_err() {
                return;
            }
        }
    });
    events
}

fn read(stderr: &mut File) -> String {
    let mut text = String::new();
    stderr.rewind().unwrap();
    stderr.read_to_string(&mut text).unwrap();
    text
}
