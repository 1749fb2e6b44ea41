//! A sequence of calls on one simulated device.

use std::time::Instant;

use plugin::{Answer, Plugin};
use protocol::twin::PatchError;
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::runtime::Runtime;

use super::device::Device;
use super::export_call::{CallFailure, ExportCall};
use super::record::{Action, readable_failure};
use super::{Desk, Image, Outcome, Time};

/// A simulated device during a sequence of calls, which share its twin, state, jobs and
/// time. Created by [`Desk::session`].
pub struct Session<'a> {
    runtime: Runtime,
    device: Device,
    plugin: &'a Plugin,
    calls: u32,
}

/// The extent of a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// The host ends and starts again.
    Host,
    /// The machine boots, and the host with it.
    Machine,
}

/// The times at which a step began.
struct Begun {
    time: Duration,
    wall: Instant,
}

impl<'a> Session<'a> {
    pub(super) fn new(desk: &Desk, plugin: &'a Plugin) -> Session<'a> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(desk.time == Time::Virtual)
            .build()
            .expect("a current-thread runtime needs only two file descriptors");
        // The device reads the time of the runtime.
        let device = runtime.block_on(async { Device::new(desk) });
        Session { runtime, device, plugin, calls: 0 }
    }

    /// Calls an export. Blocks until the call has ended. Jobs that the call schedules wait.
    pub fn call(&mut self, export_call: &ExportCall<'_>) -> Outcome {
        self.calls += 1;
        let id = format!("call-{}", self.calls);
        let Session { runtime, device, plugin, .. } = self;
        runtime.block_on(async {
            let begun = Begun::now(device);
            let call = device.new_call(id, export_call.name());
            let answer = export_call.run(plugin, call, device.twin.desired_version()).await;
            begun.outcome(device, answer)
        })
    }

    /// Applies a patch to the desired properties and notifies the plugin, if it exports
    /// `desired`.
    ///
    /// # Errors
    ///
    /// Returns an error if the patch or its result breaks the rules of IoT Hub.
    pub fn change(&mut self, patch: &Map<String, Value>) -> Result<Outcome, PatchError> {
        self.device.twin.change_desired(patch)?;
        if self.plugin.exports().desired {
            return Ok(self.call(&ExportCall::Changed { patch }));
        }
        let device = &self.device;
        Ok(self.runtime.block_on(async { Begun::now(device).outcome(device, Ok(None)) }))
    }

    /// Lets time pass and runs the jobs that become due until then, one at a time. Simulates a
    /// requested reboot if it becomes due. The outcome fails if the plugin does not start
    /// after that reboot.
    pub fn pass(&mut self, duration: Duration) -> Outcome {
        let Session { runtime, device, plugin, .. } = self;
        runtime.block_on(async {
            let begun = Begun::now(device);
            let until = tokio::time::Instant::now() + duration;
            let started = device.pass(plugin, Some(until)).await;
            begun.outcome(device, started.map(|()| None))
        })
    }

    /// Restarts the host or the machine. The twin, the plugin's state, its jobs and a requested
    /// reboot survive a restart of the host; the boot of the machine completes a requested
    /// reboot. A plugin that exports `lifecycle` is stopped and started. The outcome fails if
    /// the plugin does not start.
    pub fn restart(&mut self, restart: Restart) -> Outcome {
        let Session { runtime, device, plugin, .. } = self;
        runtime.block_on(async {
            let begun = Begun::now(device);
            if let Err(error) = device.stop(plugin).await {
                device.record.add(readable_failure("plugin did not stop cleanly", &error));
            }
            match restart {
                Restart::Host => {
                    device.jobs.host_restarted();
                    device.record.add(Action::HostRestarted);
                }
                Restart::Machine => device.boot(),
            }
            device.twin.host_restarted();
            let started = device.start(plugin).await;
            begun.outcome(device, started.map(|()| None))
        })
    }

    /// Connects the device to the hub or disconnects it.
    pub fn set_offline(&mut self, offline: bool) {
        self.device.twin.set_offline(offline);
    }

    /// Runs all jobs until none is left, and adds their actions to an outcome.
    pub(super) fn run_jobs(&mut self, outcome: &mut Outcome) {
        let Session { runtime, device, plugin, .. } = self;
        runtime.block_on(async {
            // Without a time limit, the plugin is not started after a simulated boot.
            let _started = device.pass(plugin, None).await;
        });
        device.metrics.report();
        outcome.events.extend(device.record.take());
        (outcome.reported, outcome.state) = (device.twin.reported_body(), device.state.all());
    }

    /// Returns everything on the device that is durable.
    #[must_use]
    pub fn image(&self) -> Image {
        let Device { twin, state, jobs, lent, .. } = &self.device;
        self.runtime.block_on(async {
            let time = lent.clock.now();
            let (jobs_scheduled, jobs) = jobs.pending(time);
            let (desired, reported) = twin.images();
            Image::new(time, state.all(), desired, reported, jobs_scheduled, jobs)
        })
    }
}

impl Begun {
    fn now(device: &Device) -> Begun {
        Begun { time: device.record.now(), wall: Instant::now() }
    }

    /// Returns the outcome of the step, which ends now.
    fn outcome(self, device: &Device, answer: Result<Option<Answer>, CallFailure>) -> Outcome {
        let real_time = self.wall.elapsed();
        device.metrics.report();
        Outcome {
            answer,
            took: device.record.now().saturating_sub(self.time),
            real_time,
            events: device.record.take(),
            unsent: device.http.unsent(),
            reported: device.twin.reported_body(),
            state: device.state.all(),
        }
    }
}
