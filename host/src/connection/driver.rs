//! Keeps the session alive: connects, subscribes, renews, comes back.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use protocol::topic::{Filter, HubTopic};
use protocol::twin::DesiredPatch;
use rumqttc::{
    AsyncClient, ConnAck, Event, EventLoop, Outgoing, Packet, Publish, QoS, Request, SubAck,
    Subscribe, SubscribeFilter, SubscribeReasonCode,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::failure::{Failure, Kind};
use super::options::Dial;
use super::rivals::Rivals;
use super::{Incoming, Method};
use crate::backoff::Backoff;

/// The wait after a loss begins here, and after a refusal here.
const LOST_BASE: Duration = Duration::from_millis(100);
const REFUSED_BASE: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A connection that lasted this long was a good one.
const STABLE: Duration = Duration::from_secs(10);

/// From TCP to CONNACK, and from SUBSCRIBE to SUBACK.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// How long the hub may take to close after a DISCONNECT.
const GOODBYE_WAIT: Duration = Duration::from_secs(3);

/// The part of a token's life after which it is renewed, and the part after
/// which that no longer waits for answers under way. The first is less by a
/// random part of [`SPREAD`]: devices that came back together after an outage of
/// the hub do not renew together for ever.
const RENEW_AT: f64 = 0.8;
const SPREAD: f64 = 0.1;
const RENEW_BY: f64 = 0.95;

pub(super) struct Driver {
    dial: Dial,
    event_loop: EventLoop,
    client: AsyncClient,
    links: Links,
    /// The number of the connection, from 1.
    connection: u64,
}

/// How the driver is joined to the rest of the host.
pub(super) struct Links {
    pub(super) to_device: mpsc::Sender<Incoming>,
    /// Told whether answers can be sent.
    pub(super) online: watch::Sender<bool>,
    /// Told how many publishes the hub has acknowledged.
    pub(super) acknowledged: watch::Sender<u64>,
    pub(super) under_way: watch::Receiver<usize>,
    pub(super) closing: CancellationToken,
}

/// How a session ended.
enum Ended {
    /// As it was asked to.
    Closed,
    /// For a fresh token.
    Renewed,
    /// After it was signed in for so long, if it was.
    Lost(Failure, Option<Duration>),
}

/// Where a session stands.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// Connecting, or waiting for the SUBACK; not for longer than this.
    Opening(Instant),
    /// `None`: the token cannot be renewed.
    Open { renew_at: Option<Instant> },
    /// Waits for answers under way, but not past this time, before it renews.
    Finishing { until: Instant },
    /// A DISCONNECT waits behind what is to be sent first.
    Leaving { until: Instant, closing: bool },
}

impl Driver {
    pub(super) fn new(
        dial: Dial,
        mut event_loop: EventLoop,
        client: AsyncClient,
        links: Links,
    ) -> Driver {
        // Nagle and delayed acknowledgements together cost 40 ms an answer.
        event_loop.network_options.set_tcp_nodelay(true);
        event_loop.network_options.set_connection_timeout(ANSWER_WAIT.as_secs());
        Driver { dial, event_loop, client, links, connection: 0 }
    }

    pub(super) async fn run(mut self) {
        let mut after_loss = Backoff::new(LOST_BASE, LONGEST_WAIT);
        let mut after_refusal = Backoff::new(REFUSED_BASE, LONGEST_WAIT);
        let mut rivals = Rivals::default();
        loop {
            let (mut failure, lasted) = match self.session().await {
                Ended::Closed => return,
                Ended::Renewed => continue,
                Ended::Lost(failure, lasted) => (failure, lasted),
            };
            if let Some(lasted) = lasted {
                if lasted >= STABLE {
                    after_loss.reset();
                    after_refusal.reset();
                }
                if failure.kind == Kind::Closed
                    && let Some(times) = rivals.closed(Instant::now(), lasted)
                {
                    failure.suspect_a_rival(times);
                }
            }
            let backoff = match failure.kind {
                Kind::Lost | Kind::Closed => &mut after_loss,
                Kind::Busy | Kind::Refused => &mut after_refusal,
            };
            let wait = backoff.next();
            self.tell(&failure, wait);
            tokio::select! {
                () = sleep(wait) => {}
                () = self.links.closing.cancelled() => return,
            }
        }
    }

    fn tell(&self, failure: &Failure, next_try: Duration) {
        let (hub, device) = (&self.dial, &self.dial.user_name().device);
        let Failure { what, hint, kind } = failure;
        // Only a person can change a no; the network comes back by itself.
        if *kind == Kind::Refused {
            error!(%hub, %device, ?next_try, hint, "{what}");
        } else {
            warn!(%hub, %device, ?next_try, hint, "no connection: {what}");
        }
    }

    /// One connection, from the first packet to the last.
    async fn session(&mut self) -> Ended {
        let password = self.dial.password();
        let renewals = password.lifetime.map(|life| {
            let now = Instant::now();
            // Without random bytes all are in the middle.
            let random = f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX);
            let part = RENEW_AT - SPREAD * random;
            (now + life.mul_f64(part), now + life.mul_f64(RENEW_BY))
        });
        let user_name = self.dial.user_name().to_string();
        self.event_loop.mqtt_options.set_credentials(user_name, password.token.to_string());
        // rumqttc forgets what waits when the hub has no session of ours; and an
        // answer that waits must not overtake the subscriptions.
        let unsent = std::mem::take(&mut self.event_loop.pending);
        self.connection += 1;

        let mut phase = Phase::Opening(Instant::now() + 2 * ANSWER_WAIT);
        let (mut signed_in, mut connected) = (None, false);
        let ended = loop {
            let event = match self.next(&mut phase, renewals.map(|(_, by)| by)).await {
                Ok(event) => event,
                Err(failure) => break failure,
            };
            match event {
                Event::Incoming(Packet::ConnAck(ack)) => {
                    self.event_loop.pending = opening(&ack, &unsent);
                    signed_in = Some(Instant::now());
                    debug!(hub = %self.dial, session_present = ack.session_present, "signed in");
                }
                Event::Incoming(Packet::SubAck(ack)) => {
                    if let Some(refused) = refused_filter(&ack) {
                        break Some(refused);
                    }
                    phase = Phase::Open { renew_at: renewals.map(|(at, _)| at) };
                    connected = true;
                    info!(hub = %self.dial, device = %self.dial.user_name().device, "connected");
                    self.links.pass_on(Incoming::Connected).await;
                    self.links.online.send_replace(true);
                }
                Event::Incoming(Packet::Publish(publish)) => {
                    self.links.take(publish, self.connection).await;
                }
                Event::Incoming(Packet::PubAck(_)) => self.links.acknowledged(),
                Event::Incoming(Packet::Disconnect) => {
                    break Some(Failure::new("hub said goodbye"));
                }
                Event::Outgoing(Outgoing::Disconnect) => {
                    self.links.online.send_replace(false);
                    let closing = self.links.closing.is_cancelled();
                    phase = Phase::Leaving { until: Instant::now() + GOODBYE_WAIT, closing };
                }
                _ => {}
            }
        };
        self.links.online.send_replace(false);
        // rumqttc keeps what it has read together with the end for its next
        // connection. What waits for an answer is taken now; the rest, such as a
        // SUBACK, would be taken for the next hub's.
        for event in std::mem::take(&mut self.event_loop.state.events) {
            match event {
                Event::Incoming(Packet::Publish(publish)) => {
                    self.links.take(publish, self.connection).await;
                }
                Event::Incoming(Packet::PubAck(_)) => self.links.acknowledged(),
                _ => {}
            }
        }
        if signed_in.is_none() {
            let since = std::mem::replace(&mut self.event_loop.pending, unsent);
            self.event_loop.pending.extend(since);
        }
        if connected {
            self.links.pass_on(Incoming::Lost).await;
        }
        match (phase, ended) {
            (Phase::Leaving { closing: true, .. }, _) => Ended::Closed,
            (Phase::Leaving { closing: false, .. }, _) => {
                info!(hub = %self.dial, "token renewed: connecting anew");
                Ended::Renewed
            }
            (_, Some(failure)) => Ended::Lost(failure, signed_in.map(|since| since.elapsed())),
            (_, None) => Ended::Closed,
        }
    }

    /// The next event of MQTT. Meanwhile it watches the clock and the calls, and
    /// asks for the end when it is time. `Err(None)` is an end before there was
    /// anything to say goodbye to.
    async fn next(
        &mut self,
        phase: &mut Phase,
        renew_by: Option<Instant>,
    ) -> Result<Event, Option<Failure>> {
        let Driver { dial, event_loop, client, links, .. } = self;
        let Links { under_way, closing, .. } = links;
        // Pings and their answers are events too: as long as the hub is there and
        // takes what it is sent, one comes at least every half of the keep-alive.
        let deaf_at = Instant::now() + dial.keep_alive() + Duration::from_secs(1);
        let given_up = {
            // One future until it is done: dropped half-way it could lose a packet.
            let mut poll = pin!(event_loop.poll());
            loop {
                let leaving = matches!(phase, Phase::Leaving { .. });
                let wake = match *phase {
                    Phase::Opening(until) | Phase::Leaving { until, .. } => Some(until),
                    Phase::Finishing { until } => Some(until),
                    Phase::Open { renew_at } => renew_at,
                };
                let idle = async {
                    match phase {
                        Phase::Finishing { .. } => drop(under_way.wait_for(|n| *n == 0).await),
                        _ => std::future::pending().await,
                    }
                };
                tokio::select! {
                    event = &mut poll => match event {
                        Ok(event) => return Ok(event),
                        Err(error) => return Err(Some(Failure::from(&error))),
                    },
                    () = closing.cancelled(), if !leaving => {
                        if matches!(phase, Phase::Opening(_)) {
                            break None;
                        }
                        *phase = leave(client, true);
                    }
                    () = idle => *phase = leave(client, false),
                    () = sleep_until(deaf_at), if !matches!(phase, Phase::Opening(_)) => {
                        break Some(Failure::new("the hub takes no more data"));
                    }
                    () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                        *phase = match *phase {
                            Phase::Opening(_) => break Some(Failure::new("the hub does not answer")),
                            Phase::Leaving { .. } => break Some(Failure::new("no goodbye")),
                            Phase::Finishing { .. } => leave(client, false),
                            Phase::Open { .. } => {
                                Phase::Finishing { until: renew_by.unwrap_or_else(Instant::now) }
                            }
                        };
                    }
                }
            }
        };
        self.event_loop.clean();
        Err(given_up)
    }
}

impl Links {
    /// The hub acknowledges in the order in which it was sent to, and what it has
    /// not acknowledged at the end of a connection is sent again first.
    fn acknowledged(&self) {
        self.acknowledged.send_modify(|count| *count += 1);
    }

    async fn take(&self, publish: Publish, connection: u64) {
        if let Some(incoming) = read(publish, connection) {
            self.pass_on(incoming).await;
        }
    }

    /// The device's loop always takes what comes; after it has ended, nobody does.
    async fn pass_on(&self, incoming: Incoming) {
        self.to_device.send(incoming).await.ok();
    }
}

/// Asks for a DISCONNECT behind everything that waits to be sent.
fn leave(client: &AsyncClient, closing: bool) -> Phase {
    // Where the outbox is full the goodbye is left out: the end comes all the same.
    client.try_disconnect().ok();
    Phase::Leaving { until: Instant::now() + GOODBYE_WAIT, closing }
}

/// What is sent first on a new connection: the subscriptions, and what an
/// earlier one could not send. Twin requests are asked anew by who needs them.
fn opening(ack: &ConnAck, unsent: &VecDeque<Request>) -> VecDeque<Request> {
    let filters = [Filter::Methods, Filter::TwinAnswers, Filter::Desired];
    let filters = filters.map(|filter| SubscribeFilter::new(filter.to_string(), QoS::AtLeastOnce));
    let unsent = unsent.iter().filter_map(|request| match request {
        Request::Publish(publish) if publish.qos != QoS::AtMostOnce => {
            let mut publish = publish.clone();
            // To a hub that knows nothing of it, it is a new one.
            publish.dup = ack.session_present && publish.pkid != 0;
            publish.pkid = if ack.session_present { publish.pkid } else { 0 };
            Some(Request::Publish(publish))
        }
        _ => None,
    });
    std::iter::once(Request::Subscribe(Subscribe::new_many(filters))).chain(unsent).collect()
}

fn refused_filter(ack: &SubAck) -> Option<Failure> {
    ack.return_codes
        .contains(&SubscribeReasonCode::Failure)
        .then(|| Failure::new("the hub refused a subscription"))
}

/// What a packet means. Nothing that the hub sends may end the connection.
fn read(publish: Publish, connection: u64) -> Option<Incoming> {
    let odd = |why: &dyn std::error::Error| warn!(topic = publish.topic, "message ignored: {why}");
    match publish.topic.parse() {
        Ok(HubTopic::Method { name, rid }) => {
            let (redelivered, payload) = (publish.dup, publish.payload);
            let arrived = Instant::now();
            Some(Incoming::Method(Method { name, rid, payload, redelivered, connection, arrived }))
        }
        Ok(HubTopic::TwinAnswer { status, rid, version }) => {
            Some(Incoming::TwinAnswer { status, rid, version, body: publish.payload })
        }
        Ok(HubTopic::Desired { .. }) => match DesiredPatch::parse(&publish.payload) {
            Ok(patch) => Some(Incoming::Desired(patch)),
            Err(error) => {
                odd(&error);
                None
            }
        },
        Ok(HubTopic::CloudToDevice { .. }) => {
            debug!(topic = publish.topic, "cloud-to-device message ignored");
            None
        }
        Err(error) => {
            odd(&error);
            None
        }
    }
}
