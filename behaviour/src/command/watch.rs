//! `behaviour watch`.

mod files;

use std::io::{self, IsTerminal, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use tokio::sync::oneshot;

use super::test::Test;
use super::{complain, say};
use files::Files;

const LONG: &str = "\
Build a plugin and run its cases, again whenever one of its files is saved, until Ctrl-C.

Looked at are the files in the plugin's folder and in the folder of the cases, but for hidden ones, `target` and `node_modules`. A \
build that fails is shown, and the next change waited for.";

const EXAMPLES: &str = "\
Examples:
  behaviour watch
  behaviour watch guest-reboot --filter delay
  behaviour watch --component reboot.wasm --cases cases";

/// Build a plugin and run its cases again at each change.
#[derive(clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Watch {
    /// The plugin's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The folder of the cases [default: `cases` in the plugin's folder].
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Test this component whenever it changes, and build nothing.
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Run only cases with this in their names.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

impl Watch {
    pub(crate) fn run(self) -> ExitCode {
        match self.until_signal() {
            Ok(code) => code,
            Err(error) => {
                complain(&error, None);
                ExitCode::FAILURE
            }
        }
    }

    /// Rounds in a thread of their own, until Ctrl-C or SIGTERM, which is how it
    /// is meant to end. A compiler that runs then was started by the same
    /// terminal, and hears of it too.
    fn until_signal(self) -> io::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let signal = signal()?;
            let (running, ended) = oneshot::channel::<()>();
            thread::Builder::new().spawn(move || {
                let _running = running;
                self.rounds();
            })?;
            tokio::select! {
                () = signal => Ok(ExitCode::SUCCESS),
                // Only a panic ends the rounds, and it has told why.
                _ = ended => Ok(ExitCode::FAILURE),
            }
        })
    }

    fn rounds(self) {
        let Watch { dir, cases, component, filter } = self;
        // Without a build, what lies beside the component is nobody's business.
        let sources = component.clone().unwrap_or_else(|| dir.clone());
        let test = Test::new(dir, cases, component, filter);
        let mut files = Files::new(vec![sources, test.cases_dir()]);
        for round in 1_u64.. {
            // Looked at before the build: what is saved meanwhile is the next round.
            let before = files.look();
            header(round);
            if let Err(error) = test.round() {
                error.complain();
            }
            say("waiting for a change; Ctrl-C ends");
            files.wait_for_change(&before);
        }
    }
}

fn header(round: u64) {
    if stdout().is_terminal() {
        // Clears the screen and what has scrolled out of it, and goes to its top.
        say("\x1b[2J\x1b[3J\x1b[H");
    }
    say(&format!("round {round}"));
}

/// Ctrl-C and SIGTERM: from now on they are waited for.
#[cfg(unix)]
fn signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}
