//! The command `behaviour-service rollout status`.

use std::time::Duration;

use behaviour_service::Client;
use behaviour_service::rollout::{self, Rollout, WaveHealth};
use clap::Args;
use program::candidates;
use program::duration::parse_or_seconds;

use super::screen::Screen;
use crate::command_error::CommandError;
use crate::known_ids;

#[derive(Args)]
pub(crate) struct StatusArguments {
    /// The plugin; all by default
    #[arg(add = candidates(known_ids::of_rollouts))]
    plugin: Option<String>,
    /// Print a rollout again whenever it or the health of its devices has changed
    #[arg(long)]
    watch: bool,
    /// The time between two reads with --watch
    #[arg(long, default_value = "5s", value_parser = parse_or_seconds, value_name = "TIME")]
    poll: Duration,
}

/// A rollout with the health of its devices.
struct StatusReport {
    rollout: Rollout,
    health: WaveHealth,
    /// The devices that failed, each with the reason.
    failures: Vec<(String, String)>,
}

impl StatusReport {
    /// Returns `true` if a person would see no difference. The configuration of a rollout also
    /// counts its devices, and changes with them.
    fn is_like(&self, other: &StatusReport) -> bool {
        self.rollout.to_json() == other.rollout.to_json()
            && (&self.health, &self.failures) == (&other.health, &other.failures)
    }
}

impl StatusArguments {
    /// Prints the rollouts, and with `--watch` again after each change until the future is
    /// dropped.
    pub(super) async fn run(self, client: &Client, screen: &Screen) -> Result<(), CommandError> {
        let mut shown: Vec<StatusReport> = Vec::new();
        loop {
            let reports = self.read(client).await?;
            let is_new = |report: &&StatusReport| !shown.iter().any(|it| it.is_like(report));
            for StatusReport { rollout, health, failures } in reports.iter().filter(is_new) {
                screen.status(rollout, health, failures);
            }
            if !self.watch {
                return Ok(());
            }
            shown = reports;
            tokio::time::sleep(self.poll).await;
        }
    }

    async fn read(&self, client: &Client) -> Result<Vec<StatusReport>, CommandError> {
        let mut all = Rollout::all(client.configurations().await?);
        all.retain(|rollout| self.plugin.as_ref().is_none_or(|plugin| *plugin == rollout.plugin));
        let mut reports = Vec::new();
        for rollout in all {
            let health = rollout::measure(client, &rollout).await?;
            let failures = match health.failed {
                0 => Vec::new(),
                _ => rollout::failures(client, &rollout).await?,
            };
            reports.push(StatusReport { rollout, health, failures });
        }
        Ok(reports)
    }
}
