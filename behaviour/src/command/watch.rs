//! The command `behaviour watch`.

mod files;

use std::io::{IsTerminal, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use program::Signals;
use tokio::sync::oneshot;

use super::error::CommandError;
use super::print_line;
use super::test::Test;
use files::Files;

const LONG: &str = "\
Build a plugin and run its cases, and again after each change of its files, until Ctrl-C.

Watches the files in the plugin's folder and in the folder of the cases, except hidden ones, `target` and `node_modules`. Links \
are followed. After a failed build it waits for the next change.";

const EXAMPLES: &str = "\
Examples:
  behaviour watch
  behaviour watch guest-reboot --filter delay
  behaviour watch --component reboot.wasm --cases cases";

/// Build a plugin and run its cases after each change.
#[derive(clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Watch {
    /// The plugin's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The folder of the cases [default: `cases` in the plugin's folder].
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Test this component instead of building one, and again whenever it changes.
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Run only the cases whose names contain TEXT.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

impl Watch {
    /// Builds and tests in rounds until a signal arrives. The rounds run in a separate
    /// thread. A running compiler needs no extra handling, since the terminal sends Ctrl-C
    /// to it as well.
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut signals = Signals::new()?;
            let (running, ended) = oneshot::channel::<()>();
            thread::Builder::new().spawn(move || {
                let _running = running;
                self.test_forever();
            })?;
            tokio::select! {
                () = signals.next() => Ok(ExitCode::SUCCESS),
                // The thread ends only if it panics, and the panic message is already printed.
                _ = ended => Ok(ExitCode::FAILURE),
            }
        })
    }

    fn test_forever(self) {
        let Watch { dir, cases, component, filter } = self;
        // With `--component` nothing is built, so the sources are not watched.
        let sources = component.clone().unwrap_or_else(|| dir.clone());
        let test = Test::new(dir, cases, component, filter);
        let mut files = Files::new(vec![sources, test.cases_dir()]);
        for round in 1_u64.. {
            // Read before the build, so that a change during the build starts another round.
            let before = files.read();
            print_header(round);
            if let Err(error) = test.run_once() {
                // The exit code of a failed round is ignored, since only a signal ends the command.
                let _ = error.report();
            }
            print_line("waiting for a change; press Ctrl-C to stop");
            files.wait_for_change(&before);
        }
    }
}

fn print_header(round: u64) {
    if stdout().is_terminal() {
        // Clears the screen and its history, and moves the cursor to the top.
        print_line("\x1b[2J\x1b[3J\x1b[H");
    }
    print_line(&format!("round {round}"));
}
