//! The command that reboots the machine.

use std::env;
use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Time that the command may take; it only has to request the reboot.
pub(super) const COMMAND_WAIT: Duration = Duration::from_secs(60);

/// Directories of programs, if the host itself has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables of the host's environment that the command gets, if they are set: those of
/// language and time zone, and the address at which `systemctl` reaches the system. All
/// others may be secret, such as the device's connection string.
const PASSED_ON: [&str; 5] = ["DBUS_SYSTEM_BUS_ADDRESS", "LANG", "LC_ALL", "PATH", "TZ"];

/// Runs the command until it has ended well. An error says why it has not.
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
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = plugin::readable(said.trim()).into_owned();
    Err(format!("{}: {said}", output.status))
}

fn environment(
    variable: impl Fn(&str) -> Option<OsString>,
) -> impl Iterator<Item = (&'static str, OsString)> {
    PASSED_ON.into_iter().filter_map(move |name| {
        let default = || (name == "PATH").then(|| DEFAULT_PATH.into());
        Some((name, variable(name).or_else(default)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gets_no_variable_but_those_of_the_list() {
        let all: Vec<_> = environment(|name| Some(name.into())).collect();
        assert_eq!(all.len(), PASSED_ON.len());
        let none: Vec<_> = environment(|_| None).collect();
        assert_eq!(none, [("PATH", DEFAULT_PATH.into())]);
    }

    #[tokio::test]
    async fn the_environment_of_the_host_is_not_that_of_the_command() {
        // Set by cargo for this test.
        assert!(env::var_os("CARGO_MANIFEST_DIR").is_some());
        let script = "test -z \"$CARGO_MANIFEST_DIR\" && test -n \"$PATH\" && exit 7";
        let said = run(&["sh", "-c", script].map(str::to_owned)).await.unwrap_err();
        assert_eq!(said, "exit status: 7: ");
    }
}
