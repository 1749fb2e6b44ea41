//! The data of a device that survive a restart: the journal, and the handles built on it.

use std::path::PathBuf;
use std::sync::Arc;

use plugin::{JobQueue, Nothing, StateStore};
use tokio_util::task::AbortOnDropHandle;

use super::clock::MachineClock;
use super::jobs::{Jobs, Runner};
use super::power::Power;
use super::power::boot::{Boot, Machine};
use super::state::State;
use crate::config::HostSection;
use crate::identity::Identity;
use crate::journal::{self, Journal, JournalError};
use crate::supervision::Supervisor;

/// The journal of a device, and the handles built on it.
pub(crate) struct Durable {
    pub(crate) journal: Arc<Journal>,
    pub(crate) state: Arc<State>,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) power: Arc<Power>,
    /// The data directory, which no other host uses.
    pub(crate) directory: PathBuf,
}

/// The handles for state, jobs and reboots of plugins.
pub(crate) type DurableHandles = (Arc<dyn StateStore>, Arc<dyn JobQueue>, Arc<dyn plugin::Power>);

/// Returns the handles that are lent to plugins. Without persisted data, they refuse every request.
pub(crate) fn handles(durable: Option<&Durable>) -> DurableHandles {
    match durable {
        Some(Durable { state, jobs, power, .. }) => {
            (Arc::clone(state) as _, Arc::clone(jobs) as _, Arc::clone(power) as _)
        }
        None => (Arc::new(Nothing), Arc::new(Nothing), Arc::new(Nothing)),
    }
}

impl Durable {
    /// Opens the device's journal, on a thread for blocking work.
    pub(crate) async fn open(
        section: &HostSection,
        identity: &Identity,
        machine: &Machine,
    ) -> Result<Durable, JournalError> {
        let name = identity.data_name();
        let directory = match &section.data {
            Some(directory) => directory.clone(),
            None => journal::default_directory(&name)?,
        };
        let (data, commits) = (directory.clone(), section.commits);
        let opening =
            tokio::task::spawn_blocking(move || Journal::open(&directory, &name, commits));
        let journal = opening.await.expect("opening does not panic and is not cancelled")?;
        let journal = Arc::new(journal);
        let boot = Boot::of(machine);
        let jobs = Jobs::new(Arc::clone(&journal), Arc::new(MachineClock), boot.clone());
        let reboot = (section.reboot.clone(), section.reboot_limits);
        let power = Power::open(reboot, machine.clone(), boot, Arc::clone(&journal)).await;
        Ok(Durable {
            power: Arc::new(power),
            state: Arc::new(State::new(Arc::clone(&journal))),
            jobs: Arc::new(jobs),
            journal,
            directory: data,
        })
    }

    /// Runs jobs until the returned handle is dropped.
    pub(crate) fn run_jobs(
        &self,
        runner: Arc<dyn Runner>,
        supervisor: &Supervisor,
    ) -> AbortOnDropHandle<()> {
        let jobs = Arc::clone(&self.jobs).run(runner);
        AbortOnDropHandle::new(tokio::spawn(supervisor.watch("jobs", jobs)))
    }

    /// Reboots the machine for the pending request. The task ends if the machine does not
    /// reboot.
    pub(crate) fn reboot(&self) -> AbortOnDropHandle<()> {
        let power = Arc::clone(&self.power);
        AbortOnDropHandle::new(tokio::spawn(async move { power.reboot().await }))
    }
}
