//! External commands. Each runs in a clean environment with captured output and progress
//! messages. After a time limit, it is killed together with its descendants.

mod process_tree;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod traced;

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use program::duration;

use super::{BuildError, Progress};

/// The interval between reminders that a command is still running.
const REMINDER_INTERVAL: Duration = Duration::from_secs(10);

/// The default time limit of a command.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// The environment variable that overrides the time limit.
const LIMIT_KEY: &str = "BEHAVIOUR_STEP_LIMIT";

/// The time to wait for a killed command.
const KILL_WAIT: Duration = Duration::from_secs(2);

/// The number of lines that an error contains from the end of a command's output.
const LAST_LINES: usize = 20;

/// The exit status and output of a command.
pub(crate) struct StepOutput {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Returns a command without the variables that cargo sets for its own build if it runs
/// this program.
pub(crate) fn command(program: impl Into<OsString>, dir: &Path) -> Command {
    let mut command = Command::new(program.into());
    command.current_dir(dir);
    for (key, _) in env::vars_os() {
        if key.to_str().is_some_and(is_for_another_build) {
            command.env_remove(key);
        }
    }
    command
}

/// Returns a command for the cargo that runs this program or, if there is none, for the
/// cargo on the `PATH`.
pub(crate) fn cargo(dir: &Path) -> Command {
    command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), dir)
}

/// Returns a compiler flag that removes the path of cargo's home directory from the
/// output, since it contains the user's name.
pub(crate) fn remap_cargo_home() -> Option<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))?;
    Some(format!("--remap-path-prefix={}=cargo", home.to_str()?))
}

/// Runs a command and waits until it ends, whatever its exit status. Unless `step` is
/// empty, reports it to `progress` at the start and regularly afterwards.
pub(crate) fn run(
    command: &mut Command,
    step: &str,
    progress: Progress<'_>,
) -> Result<StepOutput, BuildError> {
    run_within(limit(env::var_os(LIMIT_KEY))?, command, step, progress)
}

/// Runs a command like [`run`], but so that the same input gives the same output: the
/// command sees a constant clock, constant random numbers and uniform metadata of files.
/// Reports it to `progress` if this machine does not permit that.
pub(crate) fn run_reproducibly(
    mut command: Command,
    step: &str,
    progress: Progress<'_>,
) -> Result<StepOutput, BuildError> {
    let limit = limit(env::var_os(LIMIT_KEY))?;
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    if let Err(error) = traced::available() {
        progress(&format!("two builds may differ: tracing a process is not permitted: {error}"));
    } else {
        let name = describe(&command);
        capture_output(&mut command);
        let not_started = |source| BuildError::NotStarted { command: name.clone(), source };
        report_start(step, progress);
        let running = traced::start(command).map_err(not_started)?;
        return running.wait(limit, &name, step, progress);
    }
    run_within(limit, &mut command, step, progress)
}

fn run_within(
    limit: Duration,
    command: &mut Command,
    step: &str,
    progress: Progress<'_>,
) -> Result<StepOutput, BuildError> {
    let name = describe(command);
    capture_output(command);
    report_start(step, progress);
    let spawned = command.spawn();
    let child =
        spawned.map_err(|source| BuildError::NotStarted { command: name.clone(), source })?;
    let (sender, end) = sync_channel(1);
    let running = Running { process: child.id(), end };
    thread::spawn(move || sender.send(child.wait_with_output()));
    running.wait(limit, &name, step, progress)
}

fn capture_output(command: &mut Command) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
}

fn report_start(step: &str, progress: Progress<'_>) {
    if !step.is_empty() {
        progress(step);
    }
}

/// A command that has started.
struct Running {
    process: u32,
    /// Receives the output when the command ends.
    end: Receiver<io::Result<Output>>,
}

impl Running {
    /// Waits for the end of the command, and kills it when `limit` has passed.
    fn wait(
        self,
        limit: Duration,
        name: &str,
        step: &str,
        progress: Progress<'_>,
    ) -> Result<StepOutput, BuildError> {
        let quiet = step.is_empty();
        let started = Instant::now();
        let not_started = |source| BuildError::NotStarted { command: name.to_owned(), source };
        loop {
            let rest = limit.saturating_sub(started.elapsed());
            match self.end.recv_timeout(REMINDER_INTERVAL.min(rest)) {
                Ok(output) => return output.map(StepOutput::from).map_err(not_started),
                Err(RecvTimeoutError::Timeout) if started.elapsed() >= limit => {
                    process_tree::kill(self.process);
                    // The caller may remove the command's files, so the command should have ended.
                    let output = self.end.recv_timeout(KILL_WAIT).ok().and_then(Result::ok);
                    let output =
                        output.map(|output| StepOutput::from(output).stderr).unwrap_or_default();
                    let step = if quiet { "preparing" } else { step }.to_owned();
                    return Err(BuildError::TooLong {
                        step,
                        command: name.to_owned(),
                        limit,
                        output,
                    });
                }
                Err(RecvTimeoutError::Timeout) if quiet => {}
                Err(RecvTimeoutError::Timeout) => {
                    progress(&format!("{step}: {} s", started.elapsed().as_secs()));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    unreachable!("the thread sends before it ends")
                }
            }
        }
    }
}

fn limit(chosen: Option<OsString>) -> Result<Duration, BuildError> {
    let Some(chosen) = chosen.filter(|chosen| !chosen.is_empty()) else { return Ok(LIMIT) };
    duration::parse(&chosen.to_string_lossy())
        .map_err(|source| BuildError::Limit { key: LIMIT_KEY, source })
}

impl From<Output> for StepOutput {
    fn from(output: Output) -> StepOutput {
        StepOutput {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a command like [`run`] and returns its standard output. An exit code other than 0
/// is an error.
pub(crate) fn run_checked(
    command: &mut Command,
    step: &str,
    progress: Progress<'_>,
) -> Result<String, BuildError> {
    let ended = run(command, step, progress)?;
    if ended.status.success() {
        return Ok(ended.stdout);
    }
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let output = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
    let log =
        (lines.len() > LAST_LINES).then(|| write_log(&describe(command), &ended.stderr)).flatten();
    Err(BuildError::Command { command: describe(command), status: ended.status, output, log })
}

/// Writes the complete output of a command to a file. Returns `None` if that fails.
fn write_log(command: &str, output: &str) -> Option<PathBuf> {
    let name = format!("behaviour-{}-{}.log", std::process::id(), command.replace([' ', '/'], "-"));
    let path = env::temp_dir().join(name);
    // `create_new` fails if the path exists, since another user may have created a file or
    // link there.
    let mut file = File::options().write(true).create_new(true).open(&path).ok()?;
    file.write_all(output.as_bytes()).ok()?;
    Some(path)
}

/// Returns a short form of a command: the program's name and its first argument.
fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    // Many commands share options. The first other argument distinguishes them.
    let mut arguments = command.get_args().map(|argument| argument.to_string_lossy());
    let first = arguments.find(|first| !first.starts_with('-') && !first.contains("::"));
    first.map_or_else(|| name.to_string(), |first| format!("{name} {first}"))
}

/// Returns `true` if a variable would change the build. A cargo that runs this program
/// sets such variables for its own build. The user's variables for registries and for the
/// output format are kept.
fn is_for_another_build(key: &str) -> bool {
    const KEPT: [&str; 7] = [
        "CARGO_BUILD_JOBS",
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    match key {
        "CARGO"
        | "RUSTC"
        | "RUSTDOC"
        | "RUSTFLAGS"
        | "RUSTDOCFLAGS"
        | "RUSTC_BOOTSTRAP"
        | "RUSTC_WRAPPER"
        | "RUSTC_WORKSPACE_WRAPPER" => true,
        // Cargo adds its libraries to these variables for the programs that it runs.
        "LD_LIBRARY_PATH" | "DYLD_FALLBACK_LIBRARY_PATH" => env::var_os("CARGO").is_some(),
        _ => key.starts_with("CARGO_") && !KEPT.iter().any(|kept| key.starts_with(kept)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut sh = command("sh", Path::new("/"));
        sh.args(["-c", script]);
        sh
    }

    #[test]
    fn variables_of_an_outer_cargo_are_removed_but_registry_variables_are_kept() {
        for key in ["CARGO", "CARGO_MANIFEST_DIR", "CARGO_PROFILE_RELEASE_LTO", "RUSTFLAGS"] {
            assert!(is_for_another_build(key), "{key}");
        }
        for key in ["PATH", "HOME", "CARGO_HOME", "CARGO_REGISTRIES_MINE_INDEX", "RUSTUP_TOOLCHAIN"]
        {
            assert!(!is_for_another_build(key), "{key}");
        }
    }

    #[test]
    fn a_failed_command_is_reported_with_its_name_status_and_last_line() {
        let error =
            run_checked(&mut sh("echo one >&2; echo two >&2; exit 3"), "", &|_| {}).unwrap_err();
        assert_eq!(error.output(), Some("one\ntwo"));
        let text = error.to_string();
        assert!(text.starts_with("`sh "), "{text}");
        assert!(text.ends_with("ended with exit status: 3: two"), "{text}");
    }

    #[test]
    fn a_command_that_takes_too_long_is_killed_and_reported_with_a_hint() {
        let limit = Duration::from_millis(50);
        let mut long = sh("sleep 1000; :");
        let error = run_within(limit, &mut long, "compiling door", &|_| {}).err().unwrap();
        let text = error.to_string();
        assert!(text.starts_with("compiling door: `sh "), "{text}");
        assert!(text.ends_with("did not end within 50ms and was stopped"), "{text}");
        assert!(error.hint().unwrap().ends_with("BEHAVIOUR_STEP_LIMIT=60m"));
    }

    #[test]
    fn the_user_can_choose_the_time_limit_of_a_command() {
        assert_eq!(limit(None).unwrap(), LIMIT);
        assert_eq!(limit(Some("".into())).unwrap(), LIMIT);
        assert_eq!(limit(Some("2m".into())).unwrap(), Duration::from_secs(120));
        assert_eq!(limit(Some("1h 30m".into())).unwrap(), Duration::from_secs(5400));
        let error = limit(Some("soon".into())).unwrap_err();
        let expected = "BEHAVIOUR_STEP_LIMIT: invalid duration `soon`: \
                    expected a value such as 20s, 500ms or 1h 30m";
        assert_eq!(program::chain(&error).to_string(), expected);
    }

    #[test]
    fn a_missing_command_is_named() {
        let error =
            run_checked(&mut command("no-such-tool", Path::new("/")), "", &|_| {}).err().unwrap();
        assert_eq!(error.to_string(), "cannot start `no-such-tool`");
    }
}
