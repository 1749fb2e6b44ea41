//! The command that reboots the machine.

use std::env;
use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// The time limit of the command, which only has to request the reboot.
pub(super) const COMMAND_WAIT: Duration = Duration::from_secs(60);

/// The command's PATH if the host has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The environment variables that the command inherits: PATH, language, time zone, and the
/// address of the D-Bus for `systemctl`. All others can be secret, such as the device's
/// connection string.
const INHERITED: [&str; 5] = ["DBUS_SYSTEM_BUS_ADDRESS", "LANG", "LC_ALL", "PATH", "TZ"];

/// Runs the command and waits for its end. Returns the reason if it failed.
pub(super) async fn run(command: &[String]) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment(|name| env::var_os(name)));
    command.kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let ended = timeout(COMMAND_WAIT, command.output()).await;
    let output = ended
        .map_err(|_| format!("the command is not done after {COMMAND_WAIT:?}"))?
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stderr = plugin::readable(stderr.trim());
    Err(format!("{}: {stderr}", output.status))
}

/// Returns the environment of the command. `variable` looks up a variable of the host.
fn environment(
    variable: impl Fn(&str) -> Option<OsString>,
) -> impl Iterator<Item = (&'static str, OsString)> {
    INHERITED.into_iter().filter_map(move |name| {
        let default = || (name == "PATH").then(|| DEFAULT_PATH.into());
        Some((name, variable(name).or_else(default)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_inherits_only_the_listed_variables() {
        let all: Vec<_> = environment(|name| Some(name.into())).collect();
        assert_eq!(all.len(), INHERITED.len());
        let none: Vec<_> = environment(|_| None).collect();
        assert_eq!(none, [("PATH", DEFAULT_PATH.into())]);
    }

    #[tokio::test]
    async fn a_command_does_not_inherit_the_environment_of_the_host() {
        // Cargo sets this variable for the test.
        assert!(env::var_os("CARGO_MANIFEST_DIR").is_some());
        let script = "test -z \"$CARGO_MANIFEST_DIR\" && test -n \"$PATH\" && exit 7";
        let error = run(&["sh", "-c", script].map(str::to_owned)).await.unwrap_err();
        assert_eq!(error, "exit status: 7: ");
    }
}
