//! The live sessions, by device, and the methods that wait for their answers.
//!
//! The REST side calls a method or pushes a change here; the session of the
//! device writes it. Answers are matched by device, not by connection: a device
//! that reconnects while it works may answer on the new one.
//!
//! It knows no sockets: a session is a queue of packets and a way to end it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use protocol::error::{ErrorCode, HubError};
use protocol::id::{DeviceId, RequestId};
use protocol::method::{MethodRequest, MethodResult};
use protocol::topic::{Filter, HubTopic};
use protocol::twin::DesiredPatch;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

use crate::faults::{Effect, Faults, Step};
use crate::mqtt::Outbound;

/// Packets that may wait for one device's socket.
pub(crate) const QUEUE_PACKETS: usize = 1024;

/// Methods of one device that may wait for their answers. IoT Hub has such a
/// ceiling and does not publish it; this one only bounds memory.
const MAX_IN_FLIGHT: usize = 20_000;

/// Connections of one id within [`BUSY_WINDOW`] that are answered at once.
const CALM_CONNECTS: usize = 5;
const BUSY_WINDOW: Duration = Duration::from_secs(1);

type Answer = Result<MethodResult, HubError>;

/// All devices that are or were connected since the hub started.
pub(crate) struct Sessions {
    devices: Mutex<HashMap<DeviceId, Device>>,
    next: AtomicU64,
    /// What is to go wrong.
    pub(crate) faults: Faults,
}

struct Device {
    live: Option<Live>,
    /// Whether methods reach it: connected and subscribed.
    ready: watch::Sender<bool>,
    pending: HashMap<RequestId, oneshot::Sender<Answer>>,
    /// When it last connected, newest last.
    connects: Vec<Instant>,
}

struct Live {
    serial: u64,
    queue: mpsc::Sender<Bytes>,
    filters: Vec<Filter>,
    end: oneshot::Sender<Ending>,
    silence: Silence,
    expiry_unix: u64,
}

/// The word to a session and to the writer of its packets that they are to do
/// nothing more until then.
pub(crate) type Silence = watch::Sender<Option<Instant>>;

/// Why the hub ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Another connection came with the same id.
    TakenOver,
    /// The device was disabled or deleted.
    Revoked,
    /// It does not read what it is sent.
    Stalled,
    /// A test asked for it.
    Dropped,
    /// A fault: as if the token's time had come.
    Expired,
    /// The hub stops.
    Stopping,
}

/// What a new session gets: its number, and the word to end.
pub(crate) struct Opened {
    pub(crate) serial: u64,
    pub(crate) ended: oneshot::Receiver<Ending>,
}

impl Sessions {
    pub(crate) fn new() -> Arc<Sessions> {
        // Not from 1: an answer to a hub that was restarted must not meet another
        // call's id. Without random bytes the time differs as well.
        let start = getrandom::u32().unwrap_or_else(|_| jiff::Timestamp::now().as_second() as u32);
        let next = AtomicU64::new(u64::from(start) << 20);
        Arc::new(Sessions { devices: Mutex::default(), next, faults: Faults::default() })
    }

    /// How long a connection of this id should wait for its CONNACK. An id that
    /// comes back many times a second is slowed down, never refused: some
    /// clients do not try again after a refusal.
    pub(crate) fn calm(&self, id: &DeviceId) -> Duration {
        self.with(id, |device| {
            let now = Instant::now();
            device.connects.retain(|at| now.duration_since(*at) < BUSY_WINDOW);
            device.connects.push(now);
            if device.connects.len() > CALM_CONNECTS { BUSY_WINDOW } else { Duration::ZERO }
        })
    }

    /// Puts a new session in the place of the one before.
    pub(crate) fn open(
        &self,
        id: &DeviceId,
        queue: mpsc::Sender<Bytes>,
        filters: Vec<Filter>,
        silence: Silence,
        expiry_unix: u64,
    ) -> Opened {
        let serial = self.next.fetch_add(1, Ordering::Relaxed);
        let (end, ended) = oneshot::channel();
        let live = Live { serial, queue, filters, end, silence, expiry_unix };
        self.with(id, |device| {
            if let Some(before) = device.live.replace(live) {
                // It may have ended by itself a moment ago.
                let _ = before.end.send(Ending::TakenOver);
            }
            device.say_whether_ready();
        });
        Opened { serial, ended }
    }

    /// Notes what a session is subscribed to now.
    pub(crate) fn subscribed(&self, id: &DeviceId, serial: u64, filters: Vec<Filter>) {
        self.with(id, |device| {
            if let Some(live) = device.live.as_mut().filter(|live| live.serial == serial) {
                live.filters = filters;
            }
            device.say_whether_ready();
        });
    }

    /// Forgets a session; says whether it was still the device's own.
    pub(crate) fn close(&self, id: &DeviceId, serial: u64) -> bool {
        self.with(id, |device| {
            let own = device.live.as_ref().is_some_and(|live| live.serial == serial);
            if own {
                device.live = None;
                device.say_whether_ready();
            }
            own
        })
    }

    /// Ends the device's session, if it has one.
    pub(crate) fn end(&self, id: &DeviceId, ending: Ending) -> bool {
        self.with(id, |device| device.end(ending))
    }

    /// Ends this session, unless it is over.
    pub(crate) fn end_one(&self, id: &DeviceId, serial: u64) {
        self.with(id, |device| {
            if device.live.as_ref().is_some_and(|live| live.serial == serial) {
                device.end(Ending::Dropped);
            }
        });
    }

    /// Lets the device's session, if it has one, go silent for so long.
    pub(crate) fn silence(&self, id: &DeviceId, lasting: Duration) -> bool {
        self.with(id, |device| {
            let Some(live) = &device.live else { return false };
            live.silence.send_replace(Some(Instant::now() + lasting));
            true
        })
    }

    /// Ends the device's session, if it has one, and every token that is not
    /// newer than the one it signed in with.
    pub(crate) fn expire_token(&self, id: &DeviceId) -> bool {
        self.with(id, |device| {
            let Some(live) = &device.live else { return false };
            self.faults.expire(id, live.expiry_unix);
            device.end(Ending::Expired)
        })
    }

    /// Ends the session of a device that was disabled or deleted.
    pub(crate) fn disconnect(&self, id: &DeviceId) {
        self.end(id, Ending::Revoked);
    }

    /// Ends every connection, forgets, and takes no new one for so long.
    pub(crate) fn restart<T>(&self, down: Duration, forget: impl FnOnce() -> T) -> T {
        self.faults.away(None);
        self.end_all();
        let forgotten = forget();
        self.faults.away(Some(down));
        forgotten
    }

    /// Ends all sessions.
    pub(crate) fn end_all(&self) {
        for device in self.lock().values_mut() {
            device.end(Ending::Stopping);
        }
    }

    /// Whether the device has a session.
    pub(crate) fn is_connected(&self, id: &DeviceId) -> bool {
        self.lock().get(id).is_some_and(|device| device.live.is_some())
    }

    /// Waits until methods reach the device.
    pub(crate) async fn ready(&self, id: &DeviceId) {
        let mut ready = self.with(id, |device| device.ready.subscribe());
        // The sender stays in the map as long as the hub lives.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    /// Tells the device of changed desired properties, if it listens.
    pub(crate) fn push_desired(&self, id: &DeviceId, patch: &DesiredPatch) {
        let topic = HubTopic::Desired { version: patch.version };
        let body = patch.to_json().to_string();
        let text = topic.to_string();
        let packet = Outbound::Publish { topic: &text, payload: body.as_bytes() }.encode();
        self.with(id, |device| {
            let listens = |live: &&Live| live.filters.iter().any(|filter| filter.covers(&topic));
            let Some(live) = device.live.as_ref().filter(listens) else { return };
            let queue = live.queue.clone();
            if let Some(effect) = self.faults.at(Step::Desired, Some(id)) {
                let sending = Sending { queue, packet, silence: live.silence.clone() };
                // Late, it is late by itself: nothing else of the hub waits.
                if let Some(late) = device.misdeliver(effect, sending) {
                    tokio::spawn(late);
                }
            } else if queue.try_send(packet).is_err() {
                warn!(device = %id, "does not read what it is sent");
                device.end(Ending::Stalled);
            }
        });
    }

    /// Calls a method: waits for the device as long as the request says, then
    /// for the answer.
    pub(crate) async fn invoke(&self, id: &DeviceId, request: &MethodRequest) -> Answer {
        let body = request.payload.to_string();
        let patience = Instant::now() + request.connect_timeout;
        let (waiting, answer, sending) = loop {
            let mut ready = match self.begin(id, request, &body)? {
                Begun::Sent(waiting, answer, sending) => break (waiting, answer, sending),
                Begun::NotReady(ready) => ready,
            };
            let came = timeout_at(patience, ready.wait_for(|ready| *ready)).await;
            if came.is_err() {
                return Err(offline(request.connect_timeout));
            }
        };
        let answered = timeout(request.response_timeout, async {
            // A full queue is waited for; a session that ends meanwhile leaves
            // the call to the device's next one, or to the time-out.
            match self.faults.at(Step::Method, Some(id)) {
                None => {
                    // Not held while the answer is waited for: a session that
                    // ends waits for everyone who may still send.
                    let Sending { queue, packet, .. } = sending;
                    drop(queue.send(packet).await);
                }
                Some(effect) => {
                    let late = self.with(id, |device| device.misdeliver(effect, sending));
                    if let Some(late) = late {
                        late.await;
                    }
                }
            }
            answer.await
        });
        let answered = answered.await;
        drop(waiting);
        match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(no_answer(request.response_timeout)),
        }
    }

    fn begin<'a>(
        &'a self,
        id: &'a DeviceId,
        request: &MethodRequest,
        body: &str,
    ) -> Result<Begun<'a>, HubError> {
        self.with(id, |device| {
            let Some(live) = device.live.as_ref().filter(|live| live.takes_methods()) else {
                return Ok(Begun::NotReady(device.ready.subscribe()));
            };
            if device.pending.len() >= MAX_IN_FLIGHT {
                let text = format!("{MAX_IN_FLIGHT} methods wait for this device's answers");
                return Err(HubError::new(ErrorCode::DeviceMaximumInflightMethodExceeded, text));
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let rid: RequestId = number.to_string().parse().expect("digits are a request id");
            let topic = HubTopic::Method { name: request.name.clone(), rid: rid.clone() };
            let topic = topic.to_string();
            let packet = Outbound::Publish { topic: &topic, payload: body.as_bytes() }.encode();
            let (sender, answer) = oneshot::channel();
            let sending =
                Sending { queue: live.queue.clone(), packet, silence: live.silence.clone() };
            device.pending.insert(rid.clone(), sender);
            let waiting = Waiting { sessions: self, id, rid };
            Ok(Begun::Sent(waiting, answer, sending))
        })
    }

    /// Gives an answer to whoever waits for it; too late, it is lost.
    pub(crate) fn answer(&self, id: &DeviceId, rid: &RequestId, answer: Answer) {
        let waiting = self.with(id, |device| device.pending.remove(rid));
        if let Some(waiting) = waiting {
            // The caller may have gone this moment.
            let _ = waiting.send(answer);
        }
    }

    fn with<T>(&self, id: &DeviceId, work: impl FnOnce(&mut Device) -> T) -> T {
        let mut devices = self.lock();
        match devices.get_mut(id) {
            Some(device) => work(device),
            None => work(devices.entry(id.clone()).or_insert_with(Device::new)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, Device>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Begun<'a> {
    Sent(Waiting<'a>, oneshot::Receiver<Answer>, Sending),
    NotReady(watch::Receiver<bool>),
}

/// A packet that is about to go to one session.
struct Sending {
    queue: mpsc::Sender<Bytes>,
    packet: Bytes,
    silence: Silence,
}

/// A call that waits for its answer. Whatever ends the wait, nothing is left
/// behind.
struct Waiting<'a> {
    sessions: &'a Sessions,
    id: &'a DeviceId,
    rid: RequestId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.sessions.with(self.id, |device| device.pending.remove(&self.rid));
    }
}

impl Device {
    fn new() -> Device {
        Device {
            live: None,
            ready: watch::Sender::new(false),
            pending: HashMap::new(),
            connects: Vec::new(),
        }
    }

    fn end(&mut self, ending: Ending) -> bool {
        let Some(live) = self.live.take() else { return false };
        let _ = live.end.send(ending);
        self.say_whether_ready();
        true
    }

    /// Sends a packet as a fault has it; what is to come late is given back.
    fn misdeliver(
        &mut self,
        effect: Effect,
        Sending { queue, packet, silence }: Sending,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let mut late = None;
        // A full queue loses the packet, which is a fault as good as any.
        let now = |packet: &Bytes| drop(queue.try_send(packet.clone()));
        match effect {
            Effect::DropBefore => drop(self.end(Ending::Dropped)),
            Effect::DropAfter => {
                now(&packet);
                self.end(Ending::Dropped);
            }
            Effect::Duplicate => {
                now(&packet);
                now(&packet);
            }
            Effect::HalfOpen(lasting) => {
                now(&packet);
                silence.send_replace(Some(Instant::now() + lasting));
            }
            // What comes from services has no order among itself but its own:
            // to be late and to be overtaken are one.
            Effect::Delay(time) | Effect::Reorder(time) => late = Some(time),
            Effect::Lose | Effect::Throttle | Effect::Refuse(_) => {}
        }
        late.map(|time| async move {
            tokio::time::sleep(time).await;
            // Its session may be over.
            let _ = queue.send(packet).await;
        })
    }

    fn say_whether_ready(&self) {
        let ready = self.live.as_ref().is_some_and(Live::takes_methods);
        self.ready.send_if_modified(|before| std::mem::replace(before, ready) != ready);
    }
}

impl Live {
    fn takes_methods(&self) -> bool {
        self.filters.contains(&Filter::Methods)
    }
}

fn offline(waited: Duration) -> HubError {
    HubError::new(ErrorCode::DeviceNotOnline, "Timed out waiting for device to connect.")
        .with_info("timeout", clock(waited))
}

fn no_answer(waited: Duration) -> HubError {
    HubError::new(ErrorCode::GatewayTimeout, "Timed out waiting for the response from device.")
        .with_info("timeout", clock(waited))
}

/// `hh:mm:ss`
fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests;
