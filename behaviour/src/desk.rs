//! A simulated device, which runs a plugin in memory without a network and records its
//! actions.
//!
//! A [`Desk`] holds the state before a call: the twin, the plugin's state, the kind of
//! time, and the state of the connection to the hub. Every [`Desk::call`] starts from this state, in
//! a fresh sandbox, and returns an [`Outcome`].
//!
//! Time is virtual by default. It starts at [`EPOCH`] and advances only while the plugin
//! waits. A wait of five minutes takes no real time, and times are exact to the
//! millisecond. For a plugin that computes without waiting, the deadline applies in real
//! time, as on a device.

mod clock;
mod export_call;
mod jobs;
mod load;
mod network;
mod power;
mod record;
mod state;
mod twin;

use std::sync::Arc;
use std::time::{Duration, Instant};

use plugin::{Answer, BootOutcome, Call, Clock, Lent, Plugin, SystemClock};
use protocol::twin::{PatchError, Section, Stamp};
use serde_json::{Map, Value};

use clock::VirtualClock;
pub use export_call::{CallFailure, ExportCall};
use jobs::Jobs;
pub use load::{DeskError, compile, engine, load, name};
use network::NoNetwork;
use power::SimulatedPower;
use record::Record;
pub(crate) use record::object;
pub use record::{Action, Event};
pub use record::{milliseconds, text};
use state::State;
pub use state::StateEntries;
use twin::Twin;

/// The start of virtual time, in RFC 3339.
pub const EPOCH: &str = "2026-01-01T00:00:00.000Z";

/// The device id that the interface `context` returns.
pub const DEVICE: &str = "desk";

/// A callback for each event as it happens.
pub type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// The kind of time in which a call runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Time {
    /// Time that starts at [`EPOCH`] and advances only while the plugin waits.
    #[default]
    Virtual,
    /// Real time, as on a device.
    Real,
}

/// The state of a simulated device before a call.
#[derive(Clone)]
pub struct Desk {
    /// The kind of time in which calls run.
    pub time: Time,
    /// `true` if the device is not connected to the hub.
    pub offline: bool,
    /// The plugin's state before the call.
    pub state: StateEntries,
    /// `true` to run the jobs that the call schedules once it has returned.
    pub run_jobs: bool,
    /// The callback for events, if any.
    pub observer: Option<Observer>,
    desired: Section,
    reported: Section,
}

/// The outcome of a call.
pub struct Outcome {
    /// The answer of a method, `None` for any other call that succeeded, or the failure.
    pub answer: Result<Option<Answer>, CallFailure>,
    /// The duration of the call in the device's kind of time, without its jobs.
    pub took: Duration,
    /// The duration of the call in real time, without its jobs.
    pub real_time: Duration,
    /// The actions of the plugin and its jobs, in order.
    pub events: Vec<Event>,
    /// The reported properties after the call and its jobs.
    pub reported: Map<String, Value>,
    /// The plugin's state after the call and its jobs.
    pub state: StateEntries,
}

impl Default for Desk {
    fn default() -> Desk {
        Desk {
            time: Time::default(),
            offline: false,
            state: StateEntries::new(),
            run_jobs: false,
            observer: None,
            desired: Section::new(Stamp::TimeAndVersion, EPOCH),
            reported: Section::new(Stamp::Time, EPOCH),
        }
    }
}

impl Desk {
    /// Sets the twin.
    ///
    /// # Errors
    ///
    /// Returns an error if the desired or the reported properties break the rules of IoT Hub.
    pub fn with_twin(
        mut self,
        desired: Map<String, Value>,
        reported: Map<String, Value>,
    ) -> Result<Desk, PatchError> {
        for (half, body) in [(&mut self.desired, desired), (&mut self.reported, reported)] {
            half.replace(body, EPOCH)?;
            half.version = 1;
        }
        Ok(self)
    }

    /// Applies a patch to the desired properties.
    ///
    /// # Errors
    ///
    /// Returns an error if the patch or its result breaks the rules of IoT Hub.
    pub fn with_change(mut self, patch: &Map<String, Value>) -> Result<Desk, PatchError> {
        self.desired.apply(patch, EPOCH)?;
        Ok(self)
    }

    /// Calls an export of a plugin. Blocks until the call has ended and, if
    /// [`run_jobs`](Desk::run_jobs) is set, its jobs have ended too.
    pub fn call(&self, plugin: &Plugin, export_call: &ExportCall<'_>) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(self.time == Time::Virtual)
            .build()
            .expect("a current-thread runtime needs only two file descriptors");
        runtime.block_on(self.call_in_time(plugin, export_call))
    }

    async fn call_in_time(&self, plugin: &Plugin, export_call: &ExportCall<'_>) -> Outcome {
        let wall = Instant::now();
        let device = Device::new(self);
        let call = Call {
            id: "call-1".into(),
            method: export_call.name(),
            payload: "null",
            lent: Arc::clone(&device.lent),
            attempt: 1,
            boot_outcome: BootOutcome::NotWaitedFor,
        };
        let answer = export_call.run(plugin, call, self.desired.version).await;
        let (took, real_time) = (device.record.now(), wall.elapsed());
        if self.run_jobs {
            device.jobs.run(plugin, &device.lent, &device.power).await;
        }
        Outcome {
            answer,
            took,
            real_time,
            events: device.record.take(),
            reported: device.twin.reported_body(),
            state: device.state.all(),
        }
    }
}

/// The simulated device that serves one call.
struct Device {
    record: Arc<Record>,
    twin: Arc<Twin>,
    state: Arc<State>,
    jobs: Arc<Jobs>,
    power: Arc<SimulatedPower>,
    lent: Arc<Lent>,
}

impl Device {
    /// Creates a device whose time starts now and follows the current runtime's clock.
    fn new(desk: &Desk) -> Device {
        let record = Arc::new(Record::new(desk.observer.clone()));
        let twin = Arc::new(Twin::new(desk, Arc::clone(&record)));
        let state = Arc::new(State::new(desk.state.clone(), Arc::clone(&record)));
        let jobs = Arc::new(Jobs::new(Arc::clone(&record)));
        let power = Arc::new(SimulatedPower::new(Arc::clone(&record)));
        let clock: Arc<dyn Clock> = match desk.time {
            Time::Virtual => Arc::new(VirtualClock::new()),
            Time::Real => Arc::new(SystemClock),
        };
        let lent = Arc::new(Lent {
            device_id: DEVICE.into(),
            clock,
            log: Arc::clone(&record) as _,
            twin: Arc::clone(&twin) as _,
            telemetry: Arc::clone(&record) as _,
            state: Arc::clone(&state) as _,
            jobs: Arc::clone(&jobs) as _,
            power: Arc::clone(&power) as _,
            http: Arc::new(NoNetwork),
        });
        Device { record, twin, state, jobs, power, lent }
    }
}
