//! Misbehaviour on demand: what networks and hubs do to devices, when asked for.
//!
//! [`Faults::set`] says at which [`Step`] of the protocol which [`Effect`] is to
//! happen, to whom, how often and until when; every fault ends by itself. The
//! rest of the hub asks at each step whether there is one. What was done is
//! said in the hub's log.
//!
//! Nothing happens here: a session drops its own connection. docs/hub.md is
//! the guide.

mod control;
mod injection;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::id::DeviceId;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

pub(crate) use control::{Wanted, Words};
pub(crate) use injection::Injection;

/// Path of the REST API at which faults are set, listed and cleared. Azure IoT
/// Hub has no such path.
pub(crate) const CONTROL_PATH: &str = "/$faults";

/// How long a fault waits for its step, unless told.
const LASTING: Duration = Duration::from_secs(60);

/// Faults that may be set at once.
const MOST_FAULTS: usize = 256;

/// A point of the protocol at which something can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// A device's CONNECT and the CONNACK to it.
    Connect,
    /// The SUBACK to a subscription.
    Subscribe,
    /// The PUBACK to whatever a device has published at QoS 1.
    Acknowledge,
    /// A method on its way to the device.
    Method,
    /// A device's answer to a method.
    Answer,
    /// The twin on its way to the device that has asked for it.
    TwinGet,
    /// The hub's answer to reported properties, which it has kept by then.
    TwinReport,
    /// A change of desired properties on its way to the device.
    Desired,
    /// A device's telemetry.
    Message,
    /// A request to the REST API.
    Request,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The connection ends, and the packet is neither sent nor taken.
    DropBefore,
    /// The packet is sent or taken, and the connection ends.
    DropAfter,
    /// The packet is lost, and nothing else happens.
    Lose,
    /// The packet comes late, and so does what is behind it.
    Delay(Duration),
    /// The packet comes late, and others overtake it.
    Reorder(Duration),
    /// The packet comes twice.
    Duplicate,
    /// The hub neither reads nor writes any more, and closes nothing, for so
    /// long. Then it drops the connection.
    HalfOpen(Duration),
    /// The request is answered that there were too many: 429.
    Throttle,
    /// The CONNACK refuses: 1 protocol, 2 client id, 3 unavailable, 4 password,
    /// 5 not authorised.
    Refuse(Refused),
}

/// A CONNACK that says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// 1: another level of the protocol.
    Protocol = 1,
    /// 2: another client id.
    ClientId = 2,
    /// 3: try again later.
    Unavailable = 3,
    /// 4: user name or password.
    Password = 4,
    /// 5: not authorised.
    NotAuthorized = 5,
}

/// A fault to be set: [`Fault::new`], and what differs from once within a minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub step: Step,
    /// What.
    pub effect: Effect,
    /// To which device; `None` is every one.
    pub device: Option<DeviceId>,
    /// Steps that go well before the first that does not.
    pub after: u32,
    /// Steps that do not go well.
    pub times: u32,
    /// After this the fault is forgotten, whether it has happened or not.
    pub lasting: Duration,
}

/// Why a fault cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// An effect that this step cannot have.
    #[error("`{effect:?}` cannot happen at the step `{step:?}`")]
    Nonsense {
        /// The step.
        step: Step,
        /// The effect.
        effect: Effect,
    },
    /// A fault that would never happen.
    #[error("a fault that happens no times is none")]
    Never,
    /// More faults than are kept.
    #[error("{MOST_FAULTS} faults are set already")]
    TooMany,
}

/// What a hub forgets when it restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forget {
    /// Nothing: devices are subscribed to what they were.
    #[default]
    Nothing,
    /// The sessions: nobody is subscribed to anything.
    Sessions,
    /// Sessions and twins: these are as those of new devices, which keep their keys.
    Twins,
}

impl Fault {
    /// This effect at the next such step of any device, if it comes within a minute.
    #[must_use]
    pub fn new(step: Step, effect: Effect) -> Fault {
        Fault { step, effect, device: None, after: 0, times: 1, lasting: LASTING }
    }

    /// Only to this device.
    #[must_use]
    pub fn of(self, device: &DeviceId) -> Fault {
        Fault { device: Some(device.clone()), ..self }
    }

    /// Only after so many such steps that go well.
    #[must_use]
    pub fn after(self, after: u32) -> Fault {
        Fault { after, ..self }
    }

    /// At so many such steps.
    #[must_use]
    pub fn times(self, times: u32) -> Fault {
        Fault { times, ..self }
    }

    /// Not after so long.
    #[must_use]
    pub fn lasting(self, lasting: Duration) -> Fault {
        Fault { lasting, ..self }
    }

    fn check(&self) -> Result<(), FaultError> {
        use Effect::{Delay, DropAfter, DropBefore, Duplicate, HalfOpen, Lose, Refuse, Reorder};
        let possible = match self.step {
            Step::Connect => {
                matches!(self.effect, DropBefore | DropAfter | Delay(_) | HalfOpen(_) | Refuse(_))
            }
            Step::Answer | Step::Message => {
                matches!(self.effect, DropBefore | DropAfter | Lose | Delay(_) | HalfOpen(_))
            }
            Step::Request => matches!(self.effect, Delay(_) | Effect::Throttle),
            step => match self.effect {
                Refuse(_) => false,
                Effect::Throttle => matches!(step, Step::TwinGet | Step::TwinReport),
                Duplicate | Reorder(_) | DropBefore | DropAfter | Lose | Delay(_) | HalfOpen(_) => {
                    true
                }
            },
        };
        match possible {
            false => Err(FaultError::Nonsense { step: self.step, effect: self.effect }),
            true if self.times == 0 => Err(FaultError::Never),
            true => Ok(()),
        }
    }
}

/// The faults of one hub.
#[derive(Debug)]
pub struct Faults {
    set: Mutex<Set>,
    /// How many are set: a hub that behaves asks no lock.
    count: AtomicUsize,
    happened: watch::Sender<u64>,
    /// When the hub is back, from the last time that it was told to be away.
    outage: watch::Sender<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Set {
    faults: Vec<Active>,
    /// Devices whose tokens up to this expiry are good no more, and until when.
    expired: HashMap<DeviceId, (u64, Instant)>,
}

#[derive(Debug)]
struct Active {
    fault: Fault,
    until: Instant,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults {
            set: Mutex::default(),
            count: AtomicUsize::new(0),
            happened: watch::Sender::new(0),
            outage: watch::Sender::new(None),
        }
    }
}

impl Faults {
    /// From now on the hub misbehaves so. Of several faults of one step the one
    /// that was set first comes first.
    pub fn set(&self, fault: Fault) -> Result<(), FaultError> {
        fault.check()?;
        let mut set = self.lock();
        set.forget_old();
        if set.faults.len() >= MOST_FAULTS {
            return Err(FaultError::TooMany);
        }
        warn!(?fault, "fault set: this hub will misbehave");
        let until = Instant::now() + fault.lasting;
        set.faults.push(Active { fault, until });
        self.count_anew(&set);
        Ok(())
    }

    /// Forgets all faults: the hub behaves.
    pub fn clear(&self) {
        let mut set = self.lock();
        set.faults.clear();
        set.expired.clear();
        self.count_anew(&set);
    }

    /// How often a fault has happened since the hub was started.
    #[must_use]
    pub fn happened(&self) -> u64 {
        *self.happened.borrow()
    }

    /// Waits until faults have happened this often since the hub was started.
    pub async fn until_happened(&self, times: u64) {
        let mut happened = self.happened.subscribe();
        // The sender is ours, and lives as long.
        let _ = happened.wait_for(|count| *count >= times).await;
    }

    /// What is still to happen.
    #[must_use]
    pub fn waiting(&self) -> Vec<Fault> {
        let mut set = self.lock();
        set.forget_old();
        self.count_anew(&set);
        set.faults.iter().map(|active| active.fault.clone()).collect()
    }

    /// What is to go wrong at this step of this device, now.
    pub(crate) fn at(&self, step: Step, device: Option<&DeviceId>) -> Option<Effect> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut set = self.lock();
        set.forget_old();
        let index = set.faults.iter().position(|Active { fault, .. }| {
            let meant = fault.device.is_none() || fault.device.as_ref() == device;
            fault.step == step && meant
        });
        let fault = &mut set.faults[index?].fault;
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        fault.times -= 1;
        let effect = fault.effect;
        if fault.times == 0 {
            set.faults.remove(index?);
        }
        self.count_anew(&set);
        drop(set);
        let device = device.map_or("any", DeviceId::as_str);
        warn!(device, ?step, ?effect, "fault: misbehaving as told");
        self.happened.send_modify(|count| *count += 1);
        Some(effect)
    }

    /// From now on tokens of the device that expire no later than this are
    /// refused, as if their time had come.
    pub(crate) fn expire(&self, device: &DeviceId, expiry_unix: u64) {
        let mut set = self.lock();
        warn!(%device, "fault: its token has expired before its time");
        set.expired.insert(device.clone(), (expiry_unix, Instant::now() + LASTING));
        self.count_anew(&set);
        drop(set);
        self.happened.send_modify(|count| *count += 1);
    }

    /// Whether a token was said to have expired. One that is newer ends that.
    pub(crate) fn has_expired(&self, device: &DeviceId, expiry_unix: u64) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut set = self.lock();
        let Some((until_expiry, _)) = set.expired.get(device) else { return false };
        let expired = expiry_unix <= *until_expiry;
        if !expired {
            set.expired.remove(device);
        }
        set.forget_old();
        self.count_anew(&set);
        expired && set.expired.contains_key(device)
    }

    /// Ends every connection that is open, and every one that comes before the
    /// time is over, which begins when it is known.
    pub(crate) fn away(&self, down: Option<Duration>) {
        match down {
            None => warn!("fault: the hub acts as if it were restarted"),
            Some(_) => self.happened.send_modify(|count| *count += 1),
        }
        self.outage.send_replace(Some(Instant::now() + down.unwrap_or(LASTING)));
    }

    /// For one connection: the word to end, if it may begin at all.
    pub(crate) fn outages(&self) -> Option<watch::Receiver<Option<Instant>>> {
        let outages = self.outage.subscribe();
        let away = outages.borrow().is_some_and(|until| until > Instant::now());
        (!away).then_some(outages)
    }

    fn count_anew(&self, set: &Set) {
        self.count.store(set.faults.len() + set.expired.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Set> {
        // A fault is whole whatever panicked elsewhere.
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Set {
    fn forget_old(&mut self) {
        let now = Instant::now();
        self.faults.retain(|active| active.until > now);
        self.expired.retain(|_, (_, until)| *until > now);
    }
}
