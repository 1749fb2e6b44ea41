//! `reboot_command` and `dry_run_reboot` under `[host]`.

/// How the machine is rebooted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebootCommand {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Only say what would be run.
    pub dry_run: bool,
}
