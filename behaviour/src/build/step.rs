//! One outside command: started in a clean environment, awaited with its time
//! told, its output kept; ended with all that it has started when it takes too
//! long.

mod process_tree;

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use program::duration;

use super::{BuildError, Progress};

/// The interval between reminders of a command that still runs.
const EVERY: Duration = Duration::from_secs(10);

/// The default time limit of a command.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// The variable with another time limit.
const LIMIT_KEY: &str = "BEHAVIOUR_STEP_LIMIT";

/// The time to wait for a killed command.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The number of last lines kept of a failed command.
const LAST_LINES: usize = 20;

/// The exit status and output of a command.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A command that inherits nothing which a cargo around us has meant for itself.
pub(crate) fn command(program: impl Into<OsString>, dir: &Path) -> Command {
    let mut command = Command::new(program.into());
    command.current_dir(dir);
    for (key, _) in env::vars_os() {
        if key.to_str().is_some_and(disturbs) {
            command.env_remove(key);
        }
    }
    command
}

/// The cargo that runs us, or else the one on the path.
pub(crate) fn cargo(dir: &Path) -> Command {
    command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), dir)
}

/// A flag for the compiler that keeps the path of the user's registry, and so
/// the user's name, out of what is compiled.
pub(crate) fn registry_unnamed() -> Option<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))?;
    Some(format!("--remap-path-prefix={}=cargo", home.to_str()?))
}

/// Runs a command to its end, whatever that is. `doing` is told to `progress`
/// at once and again while it lasts; empty, it is a secret.
pub(crate) fn run(
    command: &mut Command,
    doing: &str,
    progress: Progress<'_>,
) -> Result<Ended, BuildError> {
    run_within(limit(env::var_os(LIMIT_KEY))?, command, doing, progress)
}

fn run_within(
    limit: Duration,
    command: &mut Command,
    doing: &str,
    progress: Progress<'_>,
) -> Result<Ended, BuildError> {
    let quiet = doing.is_empty();
    let said = said(command);
    let started = Instant::now();
    if !quiet {
        progress(doing);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let not_started = |source| BuildError::NotStarted { command: said.clone(), source };
    let child = command.spawn().map_err(not_started)?;
    let process = child.id();
    let end = await_end(child);
    loop {
        match end.recv_timeout(EVERY.min(limit.saturating_sub(started.elapsed()))) {
            Ok(output) => return output.map(Ended::from).map_err(not_started),
            Err(RecvTimeoutError::Timeout) if started.elapsed() >= limit => {
                process_tree::end(process);
                // Gone, as a rule, before what it leaves behind is discarded.
                let output = end.recv_timeout(LAST_WORDS).ok().and_then(Result::ok);
                let output = output.map(|output| Ended::from(output).stderr).unwrap_or_default();
                let doing = if quiet { "looking around" } else { doing }.to_owned();
                return Err(BuildError::TooLong { doing, command: said, limit, output });
            }
            Err(RecvTimeoutError::Timeout) if quiet => {}
            Err(RecvTimeoutError::Timeout) => {
                progress(&format!("{doing}: {} s", started.elapsed().as_secs()));
            }
            Err(RecvTimeoutError::Disconnected) => unreachable!("the thread sends before it ends"),
        }
    }
}

fn await_end(child: Child) -> Receiver<io::Result<Output>> {
    let (sender, receiver) = sync_channel(1);
    thread::spawn(move || sender.send(child.wait_with_output()));
    receiver
}

fn limit(chosen: Option<OsString>) -> Result<Duration, BuildError> {
    let Some(chosen) = chosen.filter(|chosen| !chosen.is_empty()) else { return Ok(LIMIT) };
    duration::parse(&chosen.to_string_lossy())
        .map_err(|source| BuildError::Limit { key: LIMIT_KEY, source })
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        Ended {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The same for a command that must succeed; gives its standard output.
pub(crate) fn must(
    command: &mut Command,
    doing: &str,
    progress: Progress<'_>,
) -> Result<String, BuildError> {
    let ended = run(command, doing, progress)?;
    if ended.status.success() {
        return Ok(ended.stdout);
    }
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let output = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
    let log = (lines.len() > LAST_LINES).then(|| keep(&said(command), &ended.stderr)).flatten();
    Err(BuildError::Command { command: said(command), status: ended.status, output, log })
}

/// Writes down all that a command has said, where there is more than one wants
/// to see. It helps to have it, but there may be no place for it.
fn keep(command: &str, output: &str) -> Option<PathBuf> {
    let name = format!("behaviour-{}-{}.log", std::process::id(), command.replace([' ', '/'], "-"));
    let path = env::temp_dir().join(name);
    // Only a file that nobody has put there to be written through.
    let mut file = File::options().write(true).create_new(true).open(&path).ok()?;
    file.write_all(output.as_bytes()).ok()?;
    Some(path)
}

/// A command as one would say it: the program's name and its first word.
fn said(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    // Options that every call carries would hide what this one is about.
    let mut words = command.get_args().map(|word| word.to_string_lossy());
    let word = words.find(|word| !word.starts_with('-') && !word.contains("::"));
    word.map_or_else(|| name.to_string(), |word| format!("{name} {word}"))
}

/// Returns whether a variable would change the build. A cargo that runs this
/// program sets such variables for its own build. Where crates come from, and how
/// output looks, is the user's choice and stays.
fn disturbs(key: &str) -> bool {
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
        // Cargo puts its own libraries there for the programs it runs.
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
    fn the_cargo_around_us_is_not_inherited_but_the_users_registry_is() {
        for key in ["CARGO", "CARGO_MANIFEST_DIR", "CARGO_PROFILE_RELEASE_LTO", "RUSTFLAGS"] {
            assert!(disturbs(key), "{key}");
        }
        for key in ["PATH", "HOME", "CARGO_HOME", "CARGO_REGISTRIES_MINE_INDEX", "RUSTUP_TOOLCHAIN"]
        {
            assert!(!disturbs(key), "{key}");
        }
    }

    #[test]
    fn a_failed_command_is_told_with_its_name_its_end_and_its_last_line() {
        let error = must(&mut sh("echo one >&2; echo two >&2; exit 3"), "", &|_| {}).unwrap_err();
        assert_eq!(error.output(), Some("one\ntwo"));
        let text = error.to_string();
        assert!(text.starts_with("`sh "), "{text}");
        assert!(text.ends_with("ended with exit status: 3: two"), "{text}");
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended_and_told_with_the_way_out() {
        let limit = Duration::from_millis(50);
        let mut long = sh("sleep 1000; :");
        let error = run_within(limit, &mut long, "compiling door", &|_| {}).err().unwrap();
        let text = error.to_string();
        assert!(text.starts_with("compiling door: `sh "), "{text}");
        assert!(text.ends_with("did not end within 50ms and was stopped"), "{text}");
        assert!(error.hint().unwrap().ends_with("BEHAVIOUR_STEP_LIMIT=60m"));
    }

    #[test]
    fn how_long_a_command_may_take_is_the_users_choice() {
        assert_eq!(limit(None).unwrap(), LIMIT);
        assert_eq!(limit(Some("".into())).unwrap(), LIMIT);
        assert_eq!(limit(Some("2m".into())).unwrap(), Duration::from_secs(120));
        assert_eq!(limit(Some("1h 30m".into())).unwrap(), Duration::from_secs(5400));
        let error = limit(Some("soon".into())).unwrap_err();
        let said = "BEHAVIOUR_STEP_LIMIT: `soon` is not a duration such as 20s, 500ms or 1h 30m";
        assert_eq!(program::chain(&error).to_string(), said);
    }

    #[test]
    fn a_command_that_is_not_there_is_named() {
        let error = must(&mut command("no-such-tool", Path::new("/")), "", &|_| {}).err().unwrap();
        assert_eq!(error.to_string(), "cannot start `no-such-tool`");
    }
}
