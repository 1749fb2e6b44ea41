//! The MQTT session: the protocol on each connection after signing in, and the state that
//! survives from one connection to the next.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use protocol::id::RequestId;
use protocol::mqtt5::ConnectionProfile;
use rumqttc::{Packet, PubAck};
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::answers::Answers;
use super::failure::ConnectionFailure;
use super::incoming::Incoming;
use super::options::Dial;
use super::receipts::{Receipt, Receipts};
use super::renewal::{self, Renewal};
use super::window::{SetAside, Window};
use super::wire::Wire;
use super::{ConnectionHistory, Outgoing, OutgoingRequest, TakenMessage};
use crate::supervision::Pulse;
use sending::GOODBYE_WAIT;

mod sending;
mod taking;

/// The time limit from SUBSCRIBE to SUBACK.
const GRANT_WAIT: Duration = Duration::from_secs(30);

/// The duration of a yield in [`Session::yield_to_answers`] above which the guests count as
/// busy. A yield usually takes microseconds.
const MAX_YIELD: Duration = Duration::from_millis(1);

/// The time without yields after one that took longer than [`MAX_YIELD`].
const YIELD_PAUSE: Duration = Duration::from_millis(100);

/// The host's end of the MQTT session, across all connections.
pub(super) struct Session {
    /// The heartbeat of the driver, which is sent while the session waits for events, and before
    /// each step with a time limit.
    pub(super) pulse: Pulse,
    pub(super) to_device: mpsc::Sender<Incoming>,
    /// Messages that are sent again until the hub has acknowledged them.
    pub(super) messages: mpsc::Receiver<Outgoing>,
    /// Requests that are sent once, and that the hub answers.
    pub(super) requests: mpsc::Receiver<OutgoingRequest>,
    /// Cloud-to-device messages that the device has taken, for their acknowledgement.
    pub(super) taken: mpsc::Receiver<TakenMessage>,
    /// Set to `true` while messages can be sent.
    pub(super) online: watch::Sender<bool>,
    /// The state of the connection, for the operator.
    pub(super) history: Arc<ConnectionHistory>,
    pub(super) receipts: Arc<Receipts>,
    pub(super) answers: Answers,
    pub(super) closing: CancellationToken,
    pub(super) window: Window,
    /// The number of the current connection, from 1.
    pub(super) connection: u64,
    /// The request id of the change of the twin that was sent on this connection and is not
    /// answered. The hub may close the connection because of it.
    pub(super) change: Option<RequestId>,
    /// The part of a packet in the end of the last connection. The driver resets it.
    pub(super) suspicion: Suspicion,
}

/// The part of a packet in the end of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// No packet was in flight, so the end has another cause.
    #[default]
    None,
    /// A packet was in flight, and the hub may have closed the connection because of it.
    InFlight,
    /// The packet in flight was set aside, so the next connection is without it.
    SetAside,
}

/// The outcome of a connection.
pub(super) enum Ended {
    /// A close that the host requested.
    Closed,
    /// A replacement by a connection with a fresh token or another certificate.
    Renewed(Wire),
    /// A failure, or a close by the hub.
    Lost(ConnectionFailure),
}

/// The phase of a connection.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// The phase before the SUBACK.
    Opening,
    Open,
    /// The phase in which the last packets and the DISCONNECT are sent.
    Leaving,
}

/// The state of one connection.
struct ConnectionState {
    wire: Wire,
    phase: Phase,
    /// The time limit of the phase, if it has one.
    until: Option<Instant>,
    /// `true` if the hub has sent anything since the last ping.
    heard: bool,
    /// The time limit for the hub to accept each packet.
    send_timeout: Duration,
    /// The time until which [`Session::yield_to_answers`] does not yield.
    no_yield_until: Instant,
}

impl Session {
    /// Runs one connection to its end and returns how it ended.
    pub(super) async fn run(&mut self, wire: Wire, dial: &Arc<Dial>) -> Ended {
        self.connection += 1;
        let mut renewal = Renewal::new(&wire);
        let send_timeout = dial.keep_alive() + Duration::from_secs(1);
        let (phase, until, no_yield_until) = (Phase::Opening, None, Instant::now());
        let mut state =
            ConnectionState { wire, phase, until, heard: true, send_timeout, no_yield_until };
        let ended = self.exchange(&mut state, &mut renewal, dial).await;
        self.online.send_replace(false);
        if matches!(ended, Ok(Ended::Renewed(_))) {
            self.read_rest(&mut state).await;
        }
        let closed = matches!(&ended, Err(failure) if failure.may_be_deliberate());
        // A suspect in flight alone is the only possible cause. Twin requests waited for it.
        let deliberate = closed && !self.window.is_probing();
        let change = self.change.take();
        if closed && (change.is_some() || self.window.is_in_flight()) {
            self.suspicion = Suspicion::InFlight;
        }
        if closed && let Some(packet) = self.window.closed() {
            self.set_aside(packet);
        }
        if state.phase != Phase::Opening {
            self.forward(Incoming::Lost { deliberate }).await;
        } else if closed && dial.issued().is_some_and(|issued| issued.over_session.closed()) {
            warn!(
                "the hub closes each connection with requests for certificates: \
                 the device registers again for its next certificate"
            );
        }
        let ended = match ended {
            Ok(ended) => ended,
            Err(_) if state.phase == Phase::Leaving => Ended::Closed,
            Err(failure) => tokio::select! {
                next = self.pulse.during(renewal::ATTEMPT_WAIT, renewal.finish()) => match next {
                    Some(Ok(next)) => Ended::Renewed(next),
                    // For the operator, a refusal matters more than the end of the last
                    // connection.
                    Some(Err(refusal)) if refusal.is_refusal() => Ended::Lost(refusal),
                    Some(Err(_)) | None => Ended::Lost(failure),
                },
                () = self.closing.cancelled() => Ended::Closed,
            },
        };
        if matches!(ended, Ended::Renewed(_)) {
            renewal::log_success(dial);
        }
        ended
    }

    /// Reports a packet that the host no longer sends because the hub closed several
    /// connections on receiving it.
    fn set_aside(&mut self, SetAside { topic, bytes, receipt }: SetAside) {
        self.suspicion = Suspicion::SetAside;
        // The sender of a message logs its loss, because it knows the plugin.
        match receipt {
            Some(number) => self.receipts.push(Receipt::SetAside(number)),
            None => error!(
                topic,
                bytes, "answer set aside: the hub closed the connection each time it was sent"
            ),
        }
    }

    /// Sends and receives packets until the connection is closed, replaced or lost.
    async fn exchange(
        &mut self,
        state: &mut ConnectionState,
        renewal: &mut Renewal,
        dial: &Arc<Dial>,
    ) -> Result<Ended, ConnectionFailure> {
        let filters = sending::subscriptions(subscribes_to_certificates(dial), dial.messages());
        self.begin(state, filters).await?;
        let closing = self.closing.clone();
        let mut closing = pin!(closing.cancelled());
        let mut ping = pin!(sleep(dial.ping_interval()));
        let pulse = self.pulse.clone();
        let mut beat = pin!(pulse.due());
        loop {
            let (open, until) = (state.phase == Phase::Open, state.until);
            let probe_at = self.window.probe_at().filter(|_| open);
            let given_up = given_up(self.closing.clone(), self.has_unsent());
            tokio::select! {
                packet = state.wire.next() => self.handle_all(state, packet, dial).await?,
                Some(request) = self.requests.recv(), if open && !self.window.is_reserved() => {
                    let packets = self.queued(Some(request), None);
                    self.send(state, packets).await?;
                }
                Some(message) = self.messages.recv(), if open && self.window.has_capacity() => {
                    self.yield_to_answers(state).await;
                    let packets = self.queued(None, Some(message));
                    self.send(state, packets).await?;
                }
                Some(taken) = self.taken.recv(), if open => {
                    if taken.connection == self.connection {
                        self.send(state, vec![Packet::PubAck(PubAck::new(taken.id))]).await?;
                    }
                }
                () = sleep_until(probe_at.unwrap_or_else(Instant::now)), if probe_at.is_some() => {
                    let packets = self.window.due().into_iter().map(Packet::Publish).collect();
                    self.send(state, packets).await?;
                }
                next = renewal.next(dial, &self.answers), if open => match next {
                    Ok(next) => return Ok(Ended::Renewed(next)),
                    Err(failure) => renewal.failed(dial, &failure),
                },
                () = &mut ping => {
                    ping.as_mut().reset(Instant::now() + dial.ping_interval());
                    // On a busy machine, an arrived packet may not have been read yet.
                    if let Some(packet) = state.wire.try_next() {
                        self.handle_all(state, packet, dial).await?;
                    }
                    self.check_alive(state)?;
                    self.send(state, vec![Packet::PingReq]).await?;
                }
                () = &mut beat => {
                    pulse.beat();
                    beat.set(pulse.due());
                }
                () = &mut closing, if open => self.disconnect(state).await?,
                () = given_up, if state.phase == Phase::Opening => {
                    return Ok(Ended::Closed);
                }
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    return match state.phase {
                        Phase::Leaving => Ok(Ended::Closed),
                        _ => Err(ConnectionFailure::new("the hub does not answer")),
                    };
                }
            }
        }
    }

    /// Yields once, so that calls that are about to end can add their answers to the same write.
    /// Does not yield for [`YIELD_PAUSE`] after a yield that took longer than [`MAX_YIELD`].
    async fn yield_to_answers(&self, state: &mut ConnectionState) {
        let begun = Instant::now();
        if self.answers.in_progress() > 1 && begun >= state.no_yield_until {
            yield_now().await;
            if begun.elapsed() > MAX_YIELD {
                state.no_yield_until = Instant::now() + YIELD_PAUSE;
            }
        }
    }
}

/// Returns `true` if a connection subscribes to answers with certificates.
fn subscribes_to_certificates(dial: &Dial) -> bool {
    let Some(issued) = dial.issued() else { return false };
    if dial.profile() == ConnectionProfile::MqttV5 {
        issued.over_session.rule_out();
    }
    issued.over_session.is_possible()
}

/// Waits until the host closes the connection. If packets are pending, waits for
/// [`GOODBYE_WAIT`] after that, in which the connection may still open and send them.
async fn given_up(closing: CancellationToken, has_pending: bool) {
    closing.cancelled().await;
    if has_pending {
        sleep(GOODBYE_WAIT).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervision::Supervisor;

    /// Returns a session, and the receiver of its events, which holds one of them.
    fn session(supervisor: &Supervisor) -> (Session, mpsc::Receiver<Incoming>) {
        let (to_device, inbox) = mpsc::channel(1);
        let session = Session {
            history: Arc::new(ConnectionHistory::new("hub:8883".to_owned())),
            pulse: supervisor.pulse("connection"),
            to_device,
            messages: mpsc::channel(1).1,
            requests: mpsc::channel(1).1,
            taken: mpsc::channel(1).1,
            online: watch::Sender::new(true),
            receipts: Arc::default(),
            answers: Answers::default(),
            closing: CancellationToken::new(),
            window: Window::default(),
            connection: 1,
            change: None,
            suspicion: Suspicion::None,
        };
        (session, inbox)
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_whose_events_are_not_taken_is_silent() {
        let watchdog = Duration::from_secs(60);
        let supervisor = Supervisor::new(Some(watchdog));
        let (session, _inbox) = session(&supervisor);
        let pulse = session.pulse.clone();
        tokio::spawn(pulse.over(async move {
            for _ in 0..2 {
                session.forward(Incoming::Connected).await;
            }
        }));
        sleep(watchdog / 3).await;
        assert!(supervisor.silent().is_empty());
        sleep(watchdog / 3).await;
        assert_eq!(supervisor.silent(), ["connection"]);
    }
}
