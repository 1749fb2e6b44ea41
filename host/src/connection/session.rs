//! The MQTT session: the protocol on each connection after signing in, and the state that
//! is kept from one connection to the next.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::Packet;
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::failure::ConnectionFailure;
use super::incoming::Incoming;
use super::options::Dial;
use super::receipts::{Receipt, Receipts};
use super::renewal::Renewal;
use super::under_way::Answers;
use super::window::{SetAside, Window};
use super::wire::Wire;
use super::{Outgoing, OutgoingRequest};
use sending::GOODBYE_WAIT;

mod sending;
mod taking;

/// The time limit from SUBSCRIBE to SUBACK.
const GRANT_WAIT: Duration = Duration::from_secs(30);

/// The time that [`Session::let_others_answer`] may take, and how long it is skipped after it
/// took longer. Usually it takes microseconds.
const LONG_TURN: Duration = Duration::from_millis(1);
const ALONE: Duration = Duration::from_millis(100);

/// The host's end of the MQTT session, across all connections.
pub(super) struct Session {
    pub(super) to_device: mpsc::Sender<Incoming>,
    /// Messages that are sent again until the hub has acknowledged them.
    pub(super) messages: mpsc::Receiver<Outgoing>,
    /// Requests that are sent once, and that the hub answers.
    pub(super) requests: mpsc::Receiver<OutgoingRequest>,
    /// Set to `true` while messages can be sent.
    pub(super) online: watch::Sender<bool>,
    pub(super) receipts: Arc<Receipts>,
    pub(super) answers: Answers,
    pub(super) closing: CancellationToken,
    pub(super) window: Window,
    /// The number of the current connection, from 1.
    pub(super) connection: u64,
}

/// The way in which a connection ended.
pub(super) enum Ended {
    /// A close at the host's request.
    Closed,
    /// A replacement by a connection with a fresh token.
    Renewed(Wire),
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
struct Talk {
    wire: Wire,
    phase: Phase,
    /// The time limit of the phase, if it has one.
    until: Option<Instant>,
    /// `true` if the hub has sent anything since the last ping.
    heard: bool,
    /// The time that the hub has to accept each packet.
    patience: Duration,
    /// The time until which [`Session::let_others_answer`] is skipped.
    alone_until: Instant,
}

impl Session {
    /// Runs one connection to its end and returns how it ended.
    pub(super) async fn run(&mut self, wire: Wire, dial: &Arc<Dial>) -> Ended {
        self.connection += 1;
        let mut renewal = Renewal::of(wire.token);
        let patience = dial.keep_alive() + Duration::from_secs(1);
        let (phase, until, alone_until) = (Phase::Opening, None, Instant::now());
        let mut talk = Talk { wire, phase, until, heard: true, patience, alone_until };
        let ended = self.talk(&mut talk, &mut renewal, dial).await;
        self.online.send_replace(false);
        if matches!(ended, Ok(Ended::Renewed(_))) {
            self.read_rest(&mut talk).await;
        }
        let deliberate = matches!(&ended, Err(failure) if failure.may_be_deliberate());
        if deliberate && let Some(packet) = self.window.closed() {
            self.set_aside(packet);
        }
        if talk.phase != Phase::Opening {
            self.pass_on(Incoming::Lost { deliberate }).await;
        }
        let ended = match ended {
            Ok(ended) => ended,
            Err(_) if talk.phase == Phase::Leaving => Ended::Closed,
            Err(failure) => tokio::select! {
                next = renewal.finish() => match next {
                    Some(Ok(next)) => Ended::Renewed(next),
                    // Why the hub refuses the device now matters more than why the last
                    // connection ended.
                    Some(Err(no)) if no.is_the_hubs_own() => Ended::Lost(no),
                    Some(Err(_)) | None => Ended::Lost(failure),
                },
                () = self.closing.cancelled() => Ended::Closed,
            },
        };
        if matches!(ended, Ended::Renewed(_)) {
            info!(hub = %dial, "token renewed");
        }
        ended
    }

    /// Reports a packet that was dropped because the hub closed several connections on
    /// receiving it.
    fn set_aside(&self, SetAside { topic, bytes, receipt }: SetAside) {
        // The sender of a message knows its plugin, and logs the loss.
        match receipt {
            Some(number) => self.receipts.put(Receipt::SetAside(number)),
            None => error!(
                topic,
                bytes, "answer set aside: the hub closed the connection each time it was sent"
            ),
        }
    }

    /// Sends and receives packets until the connection is closed, replaced or lost.
    async fn talk(
        &mut self,
        talk: &mut Talk,
        renewal: &mut Renewal,
        dial: &Arc<Dial>,
    ) -> Result<Ended, ConnectionFailure> {
        self.begin(talk).await?;
        let closing = self.closing.clone();
        let mut closing = pin!(closing.cancelled());
        let mut ping = pin!(sleep(dial.ping_every()));
        loop {
            let (open, until) = (talk.phase == Phase::Open, talk.until);
            let given_up = given_up(self.closing.clone(), self.has_unsent());
            tokio::select! {
                packet = talk.wire.next() => self.take_all(talk, packet, dial).await?,
                Some(request) = self.requests.recv(), if open => {
                    let packets = self.waiting(Some(request), None);
                    self.send(talk, packets).await?;
                }
                Some(message) = self.messages.recv(), if open && self.window.has_room() => {
                    self.let_others_answer(talk).await;
                    let packets = self.waiting(None, Some(message));
                    self.send(talk, packets).await?;
                }
                next = renewal.next(dial, &self.answers), if open => match next {
                    Ok(next) => return Ok(Ended::Renewed(next)),
                    Err(ConnectionFailure { what, hint, .. }) => {
                        let next_try = renewal.failed();
                        warn!(hub = %dial, ?next_try, hint, "token not renewed yet: {what}");
                    }
                },
                () = &mut ping => {
                    ping.as_mut().reset(Instant::now() + dial.ping_every());
                    // On a busy machine, a packet may have arrived without being read yet.
                    if let Some(packet) = talk.wire.come() {
                        self.take_all(talk, packet, dial).await?;
                    }
                    self.check_alive(talk)?;
                    self.send(talk, vec![Packet::PingReq]).await?;
                }
                () = &mut closing, if open => self.leave(talk).await?,
                () = given_up, if talk.phase == Phase::Opening => {
                    return Ok(Ended::Closed);
                }
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    return match talk.phase {
                        Phase::Leaving => Ok(Ended::Closed),
                        _ => Err(ConnectionFailure::new("the hub does not answer")),
                    };
                }
            }
        }
    }

    /// Lets calls that are about to end do so first, so that their answers are sent together
    /// in one write. If that took longer than [`LONG_TURN`], because guests are busy, it is
    /// skipped for the time of [`ALONE`].
    async fn let_others_answer(&self, talk: &mut Talk) {
        let begun = Instant::now();
        if self.answers.under_way() > 1 && begun >= talk.alone_until {
            yield_now().await;
            if begun.elapsed() > LONG_TURN {
                talk.alone_until = Instant::now() + ALONE;
            }
        }
    }
}

/// Returns once the host is closing and should no longer wait for a connection to open: at
/// once, or after [`GOODBYE_WAIT`] if packets are waiting to be sent.
async fn given_up(closing: CancellationToken, something_waits: bool) {
    closing.cancelled().await;
    if something_waits {
        sleep(GOODBYE_WAIT).await;
    }
}
