//! A host on the desk: lends a plugin what a device would, in memory and
//! without a network, and keeps what the plugin does with it.
//!
//! A [`Desk`] says what there is before a call: the twin, the time, whether the
//! hub can be reached. Every [`Desk::ask`] begins from there, in a sandbox of
//! its own, and gives an [`Outcome`].
//!
//! Time is virtual unless asked otherwise: it begins at [`EPOCH`] and passes only
//! while the plugin waits, so that five minutes take no time and a test knows
//! the time to the millisecond. A plugin that loops does not wait: it is stopped
//! by the clock on the wall, as on a device.

mod asked;
mod clock;
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

pub use asked::{Asked, Failure};
use clock::VirtualClock;
use jobs::Jobs;
pub use load::{DeskError, compile, engine, load, name};
use network::NoNetwork;
use power::Switch;
use record::Record;
pub(crate) use record::object;
pub use record::{Happened, What};
pub use record::{milliseconds, text};
pub use state::Remembered;
use state::State;
use twin::Twin;

/// The start of virtual time.
pub const EPOCH: &str = "2026-01-01T00:00:00.000Z";

/// The device's id, as the interface `context` gives it.
pub const DEVICE: &str = "desk";

/// Told of each thing as it happens.
pub type Show = Arc<dyn Fn(&Happened) + Send + Sync>;

/// The kind of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Time {
    /// Begins at [`EPOCH`] and passes while the plugin waits.
    #[default]
    Virtual,
    /// As on a device.
    Real,
}

/// The state before a call.
#[derive(Clone)]
pub struct Desk {
    /// The kind of time.
    pub time: Time,
    /// The device has no connection to the hub.
    pub offline: bool,
    /// The plugin's state from earlier calls.
    pub state: Remembered,
    /// Run the jobs that the call has asked for, after it.
    pub run_jobs: bool,
    /// Told of each thing as it happens.
    pub show: Option<Show>,
    desired: Section,
    reported: Section,
}

/// The outcome of a call.
pub struct Outcome {
    /// The answer of a method, `None` of any other call, or the reason of a failure.
    pub answer: Result<Option<Answer>, Failure>,
    /// The duration of the call in its kind of time.
    pub took: Duration,
    /// The duration in real time.
    pub really: Duration,
    /// The plugin's actions, in order.
    pub happened: Vec<Happened>,
    /// The reported properties after it.
    pub reported: Map<String, Value>,
    /// The plugin's state after the call.
    pub state: Remembered,
}

impl Default for Desk {
    fn default() -> Desk {
        Desk {
            time: Time::default(),
            offline: false,
            state: Remembered::new(),
            run_jobs: false,
            show: None,
            desired: Section::new(Stamp::TimeAndVersion, EPOCH),
            reported: Section::new(Stamp::Time, EPOCH),
        }
    }
}

impl Desk {
    /// Puts a twin on the desk; each half keeps to the rules of IoT Hub.
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

    /// Lets the cloud change the desired properties, for a plugin to take note of.
    pub fn with_change(mut self, patch: &Map<String, Value>) -> Result<Desk, PatchError> {
        self.desired.apply(patch, EPOCH)?;
        Ok(self)
    }

    /// Asks something of a plugin. Blocks until it has ended, which in virtual
    /// time is soon.
    pub fn ask(&self, plugin: &Plugin, asked: &Asked<'_>) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(self.time == Time::Virtual)
            .build()
            .expect("a runtime of this thread needs two file descriptors and no more");
        runtime.block_on(self.ask_in_time(plugin, asked))
    }

    async fn ask_in_time(&self, plugin: &Plugin, asked: &Asked<'_>) -> Outcome {
        let wall = Instant::now();
        let device = Device::new(self);
        let call = Call {
            id: "call-1".into(),
            method: asked.name(),
            payload: "null",
            lent: Arc::clone(&device.lent),
            attempt: 1,
            boot_outcome: BootOutcome::NotWaitedFor,
        };
        let answer = asked.of(plugin, call, self.desired.version).await;
        let (took, really) = (device.record.now(), wall.elapsed());
        if self.run_jobs {
            device.jobs.run(plugin, &device.lent, &device.power).await;
        }
        Outcome {
            answer,
            took,
            really,
            happened: device.record.take(),
            reported: device.twin.reported_body(),
            state: device.state.all(),
        }
    }
}

/// All that one call may reach, begun afresh.
struct Device {
    record: Arc<Record>,
    twin: Arc<Twin>,
    state: Arc<State>,
    jobs: Arc<Jobs>,
    power: Arc<Switch>,
    lent: Arc<Lent>,
}

impl Device {
    /// Its time begins now, in the runtime that it runs in.
    fn new(desk: &Desk) -> Device {
        let record = Arc::new(Record::new(desk.show.clone()));
        let twin = Arc::new(Twin::new(desk, Arc::clone(&record)));
        let state = Arc::new(State::new(desk.state.clone(), Arc::clone(&record)));
        let jobs = Arc::new(Jobs::new(Arc::clone(&record)));
        let power = Arc::new(Switch::new(Arc::clone(&record)));
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
