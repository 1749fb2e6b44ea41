//! `reboot_command` and `dry_run_reboot` under `[host]`.

/// Command that reboots the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebootCommand {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// `true` if the command is only logged.
    pub dry_run: bool,
}
