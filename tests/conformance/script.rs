//! A Python script that plays one side, and the talk with it.
//!
//! [`Script::tell`] writes a command, [`Script::hear`] awaits an event; both are
//! a line of JSON. Secrets go in by the environment, not by arguments.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long an event may take. The slowest, a time-out of 5 s that a hub must
/// keep, takes a tenth of it; a busy machine may need the rest.
const PATIENCE: Duration = Duration::from_secs(60);

/// A script that runs. Dropped, it is killed.
pub(super) struct Script {
    commands: ChildStdin,
    events: mpsc::Receiver<Value>,
    unheard: VecDeque<Value>,
    complaints: File,
    child: Child,
}

impl Script {
    pub(super) fn start(python: &Path, script: &Path, environment: &[(&str, String)]) -> Script {
        let complaints = tempfile::tempfile().unwrap();
        let mut child = Command::new(python)
            // No byte code beside the sources, no proxy but the hub's own.
            .args(["-B", "-u"])
            .arg(script)
            .env("NO_PROXY", "localhost,127.0.0.1")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints.try_clone().unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let events = listen(child.stdout.take().unwrap());
        Script { commands, events, unheard: VecDeque::new(), complaints, child }
    }

    /// Gives a command: its name, and an object with the rest of it.
    pub(super) async fn tell(&mut self, command: &str, mut rest: Value) {
        rest["do"] = command.into();
        self.commands.write_all(format!("{rest}\n").as_bytes()).await.unwrap();
    }

    /// The next event of this name. Others are kept until they are asked for.
    pub(super) async fn hear(&mut self, event: &str) -> Value {
        self.hear_that(event, |_| true).await
    }

    /// The next event of this name of which something is true.
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

    /// Ends the input and waits until the script has ended by itself.
    pub(super) async fn stop(mut self) {
        drop(self.commands);
        let status = timeout(PATIENCE, self.child.wait()).await.expect("the script ends").unwrap();
        assert!(status.success(), "the script ended with {status}: {}", read(&mut self.complaints));
    }

    async fn next_event(&mut self, awaited: &str) -> Value {
        match timeout(PATIENCE, self.events.recv()).await {
            Ok(Some(said)) => said,
            Ok(None) => panic!("ended before `{awaited}`: {}", read(&mut self.complaints)),
            Err(_) => panic!(
                "no `{awaited}` within {PATIENCE:?}, but {:?}: {}",
                self.unheard,
                read(&mut self.complaints)
            ),
        }
    }
}

/// The events of a script. They are read whether the test listens or not: a
/// script that waits for its output to be read would not answer the hub.
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

fn read(complaints: &mut File) -> String {
    let mut text = String::new();
    complaints.rewind().unwrap();
    complaints.read_to_string(&mut text).unwrap();
    text
}
