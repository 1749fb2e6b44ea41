//! A simulated device, which runs a plugin in memory without a network and records its
//! actions.
//!
//! A [`Desk`] holds the state before a call: the twin, the plugin's state, the kind of time, and
//! the state of the connection to the hub. Every [`Desk::call`] starts from this state, in a fresh
//! sandbox, and returns an [`Outcome`]. A [`Session`] makes several calls on one device, which
//! keeps its twin, state and jobs between them.
//!
//! Time is virtual by default. It starts at [`EPOCH`] and advances only while the plugin
//! waits. A wait of five minutes takes no real time, and times are exact to the
//! millisecond. For a plugin that computes without waiting, the deadline applies in real
//! time, as on a device.

mod clock;
mod device;
mod encoded;
mod export_call;
mod image;
mod jobs;
mod load;
mod metrics;
mod network;
mod power;
mod record;
mod session;
mod state;
mod twin;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plugin::{Answer, Plugin};
use protocol::twin::{PatchError, Section, Stamp};
use serde_json::{Map, Value};

pub use encoded::Base64;
pub use export_call::{CallFailure, ExportCall};
pub use image::{Image, InvalidImage, PendingJobImage, StateValue, TwinImage};
pub use load::{DeskError, compile, engine, http_settings, load, name};
pub use network::{CannedExchange, CannedRequest, CannedResponse, Network};
pub(crate) use record::object;
pub use record::{Action, Event};
pub use record::{milliseconds, text};
pub use session::{Restart, Session};
pub use state::StateEntries;

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
    /// The time at which virtual time starts: [`EPOCH`] by default.
    pub epoch: Timestamp,
    /// `true` if the device is not connected to the hub.
    pub offline: bool,
    /// The plugin's state before the call.
    pub state: StateEntries,
    /// `true` to run the jobs that the call schedules once it has returned.
    pub run_jobs: bool,
    /// The context of the trace to which the calls belong, as `traceparent` of W3C Trace Context.
    pub trace_parent: Option<String>,
    /// The network for the plugin's HTTP requests.
    pub network: Network,
    /// The callback for events, if any.
    pub observer: Option<Observer>,
    desired: Section,
    reported: Section,
    /// The jobs that are pending before the call.
    pending: Vec<PendingJobImage>,
    /// The number of jobs that were scheduled before the call.
    scheduled: u32,
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
    /// The expected HTTP requests that the plugin did not send.
    pub unsent: Vec<CannedRequest>,
    /// The reported properties after the call and its jobs.
    pub reported: Map<String, Value>,
    /// The plugin's state after the call and its jobs.
    pub state: StateEntries,
}

impl Default for Desk {
    fn default() -> Desk {
        Desk {
            time: Time::default(),
            epoch: EPOCH.parse().expect("the constant is RFC 3339"),
            offline: false,
            state: StateEntries::new(),
            run_jobs: false,
            trace_parent: None,
            network: Network::None,
            observer: None,
            desired: Section::new(Stamp::TimeAndVersion, EPOCH),
            reported: Section::new(Stamp::Time, EPOCH),
            pending: Vec::new(),
            scheduled: 0,
        }
    }
}

impl Desk {
    /// Replaces the halves of the twin that are `Some`. Their version is 1.
    ///
    /// # Errors
    ///
    /// Returns an error if the desired or the reported properties break the rules of IoT Hub.
    pub fn with_twin(
        mut self,
        desired: Option<Map<String, Value>>,
        reported: Option<Map<String, Value>>,
    ) -> Result<Desk, PatchError> {
        for (half, body) in [(&mut self.desired, desired), (&mut self.reported, reported)] {
            if let Some(body) = body {
                half.replace(body, EPOCH)?;
                half.version = 1;
            }
        }
        Ok(self)
    }

    /// Sets the versions of the twin.
    #[must_use]
    pub fn with_versions(mut self, desired: u64, reported: u64) -> Desk {
        (self.desired.version, self.reported.version) = (desired, reported);
        self
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
        self.call_and_save(plugin, export_call).0
    }

    /// Makes a call like [`call`](Desk::call), and returns the durable part of the device
    /// after it.
    pub fn call_and_save(&self, plugin: &Plugin, export_call: &ExportCall<'_>) -> (Outcome, Image) {
        let mut session = self.session(plugin);
        let mut outcome = session.call(export_call);
        if self.run_jobs {
            session.run_jobs(&mut outcome);
        }
        (outcome, session.image())
    }

    /// Returns a sequence of calls on one device, which begins in this state.
    ///
    /// # Panics
    ///
    /// Panics if the process has no file descriptors left.
    pub fn session<'a>(&self, plugin: &'a Plugin) -> Session<'a> {
        Session::new(self, plugin)
    }
}
