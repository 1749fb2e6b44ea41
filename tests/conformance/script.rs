//! A Python script that is one side of a conversation.
//!
//! [`Script::tell`] writes a command, [`Script::hear`] waits for an event; each is one
//! line of JSON. Secrets are passed in the environment, not as arguments.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::Stdio;

use rig::{PATIENCE, within};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A running script. Dropping it kills the process.
pub(super) struct Script {
    commands: ChildStdin,
    events: mpsc::Receiver<Value>,
    unheard: VecDeque<Value>,
    stderr: File,
    child: Child,
}

impl Script {
    pub(super) fn start(python: &Path, script: &Path, environment: &[(&str, String)]) -> Script {
        let stderr = tempfile::tempfile().unwrap();
        let mut child = Command::new(python)
            // No byte code next to the sources, and no proxy but the rig's.
            .args(["-B", "-u"])
            .arg(script)
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
        Script { commands, events, unheard: VecDeque::new(), stderr, child }
    }

    /// Sends a command: its name, and an object with its arguments.
    pub(super) async fn tell(&mut self, command: &str, mut arguments: Value) {
        arguments["do"] = command.into();
        self.commands.write_all(format!("{arguments}\n").as_bytes()).await.unwrap();
    }

    /// Waits for the next event of this name. Other events are kept for later calls.
    pub(super) async fn hear(&mut self, event: &str) -> Value {
        self.hear_that(event, |_| true).await
    }

    /// Waits for the next event of this name that fulfils a condition.
    pub(super) async fn hear_that(&mut self, event: &str, is: impl Fn(&Value) -> bool) -> Value {
        let wanted = |said: &Value| said["event"] == event && is(said);
        if let Some(at) = self.unheard.iter().position(wanted) {
            return self.unheard.remove(at).unwrap();
        }
        loop {
            let said = self.next_event(event).await;
            if wanted(&said) {
                return said;
            }
            assert_ne!(said["event"], "failed", "while waiting for `{event}`: {said}");
            self.unheard.push_back(said);
        }
    }

    /// Closes the input and waits until the script has ended by itself.
    pub(super) async fn stop(mut self) {
        drop(self.commands);
        let status = within("the script ends", self.child.wait()).await.unwrap();
        assert!(status.success(), "the script ended with {status}: {}", read(&mut self.stderr));
    }

    async fn next_event(&mut self, awaited: &str) -> Value {
        // The limit is long for a busy machine: the slowest event, a time-out of 5 s that
        // the hub must keep, takes a tenth of it.
        match timeout(PATIENCE, self.events.recv()).await {
            Ok(Some(said)) => said,
            Ok(None) => panic!("the script ended before `{awaited}`: {}", read(&mut self.stderr)),
            Err(_) => panic!(
                "no `{awaited}` within {PATIENCE:?}, but {:?}: {}",
                self.unheard,
                read(&mut self.stderr)
            ),
        }
    }
}

/// Returns the events of a script. A task reads them even if the test does not wait for
/// any: a script that is blocked on its output would not answer the hub.
fn listen(stdout: ChildStdout) -> mpsc::Receiver<Value> {
    let (said, events) = mpsc::channel(1000);
    tokio::spawn(async move {
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            let event = serde_json::from_str(&line).unwrap_or_else(|_| json!({ "event": line }));
            if said.send(event).await.is_err() {
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
