//! Tests of `behaviour watch`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use crate::program::rig::Rig;

/// The running program and the lines that it prints.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn start(rig: &Rig, arguments: &[&str]) -> Watching {
        let mut command = rig.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = sync_channel(100);
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Watching { child, lines }
    }

    /// Waits for a line with this prefix, and returns all lines up to it.
    fn until(&self, prefix: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(120));
            lines.push(line.unwrap_or_else(|error| panic!("{error} after {lines:?}")));
            if lines.last().is_some_and(|line| line.starts_with(prefix)) {
                return lines;
            }
        }
    }
}

impl Watching {
    /// Ends the program with a signal, and returns its exit code and standard error.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        let code = self.child.wait().unwrap().code();
        let stderr = std::io::read_to_string(self.child.stderr.take().unwrap()).unwrap();
        (code, stderr)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // The program may already have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn cases_run_again_after_each_change_until_a_signal_arrives() {
    let rig = Rig::with(&["sleeps.wat"]);
    rig.write("cases/sleeps.json", r#"{"method": "once", "expect": {"took_ms": 20000}}"#);
    let watching = Watching::start(&rig, &["watch", "--component", "sleeps.wasm"]);

    assert_eq!(watching.until("waiting")[..2], ["round 1", "ok      sleeps  20.000 s, 197 KB"]);
    rig.write("cases/sleeps.json", r#"{"method": "once", "expect": {"took_ms": 5}}"#);
    assert_eq!(watching.until("waiting")[..2], ["round 2", "FAILED  sleeps"]);
    rig.write("sleeps.wasm", "no component any more");
    assert_eq!(
        watching.until("waiting"),
        ["round 3", "waiting for a change; press Ctrl-C to stop"]
    );
    let _ = fixtures::write("sleeps.wat", rig.path());
    assert_eq!(watching.until("waiting")[..2], ["round 4", "FAILED  sleeps"]);

    let (code, stderr) = watching.end("-INT");
    assert!(stderr.starts_with("error: `sleeps.wasm`: not WebAssembly: "), "{stderr}");
    assert_eq!(code, Some(0));
}

#[test]
fn a_failed_build_is_reported_and_the_next_change_starts_another_round() {
    let rig = Rig::with(&[]);
    rig.write("door/cases/opens.json", r#"{"method": "open"}"#);
    let watching = Watching::start(&rig, &["watch", "door"]);

    assert_eq!(
        watching.until("waiting"),
        ["round 1", "waiting for a change; press Ctrl-C to stop"]
    );
    rig.write("door/notes.txt", "still nothing to build");
    assert_eq!(watching.until("waiting")[0], "round 2");
    let (code, stderr) = watching.end("-TERM");
    assert!(stderr.starts_with("error: "), "{stderr}");
    assert_eq!(code, Some(0));
}
