//! The parts of a simulated device and the handles that it lends to calls.

use std::sync::Arc;

use plugin::{BootOutcome, Call, CallError, Clock, Lent, Plugin, SystemClock};
use tokio::time::Instant;

use super::clock::VirtualClock;
use super::export_call::{CallFailure, ExportCall};
use super::jobs::{Jobs, Stopped};
use super::metrics::Metrics;
use super::network::SimulatedHttp;
use super::power::SimulatedPower;
use super::record::Record;
use super::state::State;
use super::twin::Twin;
use super::{DEVICE, Desk, Time};

/// The simulated device that serves the calls of a session.
pub(super) struct Device {
    pub(super) record: Arc<Record>,
    pub(super) twin: Arc<Twin>,
    pub(super) state: Arc<State>,
    pub(super) jobs: Arc<Jobs>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) power: Arc<SimulatedPower>,
    pub(super) http: Arc<SimulatedHttp>,
    pub(super) lent: Arc<Lent>,
    pub(super) trace_parent: Option<String>,
}

impl Device {
    /// Creates a device whose time starts now and follows the current runtime's clock.
    pub(super) fn new(desk: &Desk) -> Device {
        let clock: Arc<dyn Clock> = match desk.time {
            Time::Virtual => Arc::new(VirtualClock::new(desk.epoch)),
            Time::Real => Arc::new(SystemClock),
        };
        let record = Arc::new(Record::new(desk.observer.clone()));
        let twin = Arc::new(Twin::new(desk, Arc::clone(&record)));
        let state = Arc::new(State::new(desk.state.clone(), Arc::clone(&record)));
        let jobs = Arc::new(Jobs::new(desk, clock.now(), Arc::clone(&record)));
        let metrics = Arc::new(Metrics::new(Arc::clone(&record)));
        let power = Arc::new(SimulatedPower::new(Arc::clone(&record)));
        let http = Arc::new(SimulatedHttp::new(&desk.network, Arc::clone(&record)));
        let lent = Arc::new(Lent {
            device_id: DEVICE.into(),
            clock,
            log: Arc::clone(&record) as _,
            twin: Arc::clone(&twin) as _,
            telemetry: Arc::clone(&record) as _,
            state: Arc::clone(&state) as _,
            jobs: Arc::clone(&jobs) as _,
            metrics: Arc::clone(&metrics) as _,
            power: Arc::clone(&power) as _,
            http: Arc::clone(&http) as _,
        });
        let trace_parent = desk.trace_parent.clone();
        Device { record, twin, state, jobs, metrics, power, http, lent, trace_parent }
    }

    /// Returns a call with these names. [`ExportCall::run`] sets the payload and the attempt.
    pub(super) fn new_call<'a>(&self, id: String, method: &'a str) -> Call<'a> {
        Call {
            id: id.into(),
            method,
            payload: "null",
            lent: Arc::clone(&self.lent),
            attempt: 1,
            boot_outcome: BootOutcome::NotWaitedFor,
            trace_parent: self.trace_parent.clone(),
        }
    }

    /// Runs jobs and simulates requested reboots until no job is left or, if `until` is set,
    /// until that time. With `until`, the plugin is started after each simulated boot, as a
    /// host does.
    pub(super) async fn pass(
        &self,
        plugin: &Plugin,
        until: Option<Instant>,
    ) -> Result<(), CallFailure> {
        let (mut runs, mut started) = (0, Ok(()));
        loop {
            let boot = self.power.next_boot();
            match self.jobs.run(plugin, &self.lent, boot, until, &mut runs).await {
                Stopped::Ended => return started,
                Stopped::Boot => {
                    self.boot();
                    if until.is_some() {
                        started = started.and(self.start(plugin).await);
                    }
                }
            }
        }
    }

    /// Simulates a boot of the machine now.
    pub(super) fn boot(&self) {
        self.power.boot();
        self.jobs.booted();
    }

    /// Starts the plugin like a host that begins to run. A plugin without `lifecycle` needs no
    /// start.
    pub(super) async fn start(&self, plugin: &Plugin) -> Result<(), CallFailure> {
        if !plugin.exports().lifecycle {
            return Ok(());
        }
        let start = ExportCall::Start { previous_version: None };
        let call = self.new_call("start".to_owned(), start.name());
        start.run(plugin, call, self.twin.desired_version()).await.map(drop)
    }

    /// Stops the plugin like a host that ends. As on a host, a failure is only logged.
    pub(super) async fn stop(&self, plugin: &Plugin) -> Result<(), CallError> {
        if !plugin.exports().lifecycle {
            return Ok(());
        }
        plugin.stop(self.new_call("stop".to_owned(), "lifecycle.stop")).await
    }
}
