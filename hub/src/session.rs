//! The hub's end of one MQTT connection, from CONNECT to its end.
//!
//! [`serve`] takes any byte stream: TLS, WebSocket, a pipe in a test. It reads
//! packets in order and answers each; a task of its own writes what is queued.
//! A packet that breaks the rules ends the connection without a word, as MQTT
//! 3.1.1 has no words for it.

mod accept;
mod messages;
mod outbox;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use protocol::id::DeviceId;
use protocol::topic::Filter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info};

use crate::faults::{Effect, Step};
use crate::mqtt::{Inbound, Malformed, Outbound, SUBSCRIPTION_REFUSED, Will, decode};
use crate::sessions::{Ending, Sessions};
use crate::state::State;
use crate::telemetry::Message;
use outbox::Outbox;

/// What every session needs of the hub.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) state: Arc<State>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) telemetry: broadcast::Sender<Message>,
    /// How long an expired token keeps its connection.
    pub(crate) token_grace: Duration,
}

/// How long a connection may take to introduce itself.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// The longest silence of a device that asked for no keep-alive, and the
/// ceiling for all others (IoT Hub's own).
const LONGEST_SILENCE: Duration = Duration::from_secs(1767);

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Over {
    #[error("the device said goodbye")]
    Goodbye,
    #[error("the connection broke")]
    Broken(#[from] std::io::Error),
    #[error("the device closed the connection")]
    Closed,
    #[error("the device was silent past its keep-alive")]
    Silent,
    #[error("packet that breaks the rules")]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    Misused(String),
    #[error("refused: {0}")]
    Refused(String),
    #[error("its token has expired")]
    Expired,
    #[error("ended by the hub: {0:?}")]
    Ended(Ending),
    #[error("a fault ended it")]
    Fault,
}

/// Speaks MQTT with a device until one of the two ends it.
pub(crate) async fn serve<R, W>(shared: Shared, reader: R, writer: W)
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let mut packets = Packets { reader, buffer: BytesMut::with_capacity(4096) };
    let silence = watch::Sender::new(None);
    let outbox = Outbox::start(writer, silence.subscribe());
    let (mut session, ended) = match accept::accept(&shared, &mut packets, &outbox, silence).await {
        Ok(accepted) => accepted,
        Err(over) => {
            debug!(reason = %over, "connection not accepted");
            return outbox.finish().await;
        }
    };
    let over = session.run(&mut packets, ended).await;
    session.leave(&over);
    let silent = session.silence.borrow().is_some();
    drop(session);
    outbox.finish().await;
    if !silent {
        packets.read_out().await;
    }
}

/// How long a device may take to notice that its connection has ended.
const LAST_READS: Duration = Duration::from_secs(1);

/// Packets as they come.
struct Packets<R> {
    reader: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Packets<R> {
    async fn next(&mut self, until: Instant) -> Result<Inbound, Over> {
        loop {
            if let Some(packet) = decode(&mut self.buffer)? {
                return Ok(packet);
            }
            match timeout_at(until, self.reader.read_buf(&mut self.buffer)).await {
                Err(_) => return Err(Over::Silent),
                Ok(Ok(0)) => return Err(Over::Closed),
                Ok(read) => read?,
            };
        }
    }

    /// Reads what still comes, and forgets it. A socket that is closed with data
    /// unread is reset, and that may cost the device what it was sent last.
    async fn read_out(&mut self) {
        let until = Instant::now() + LAST_READS;
        loop {
            self.buffer.clear();
            match timeout_at(until, self.reader.read_buf(&mut self.buffer)).await {
                Ok(Ok(1..)) => {}
                _ => return,
            }
        }
    }
}

/// A session after its CONNACK.
struct Session {
    shared: Shared,
    device: DeviceId,
    serial: u64,
    /// How long the device may say nothing.
    patience: Duration,
    expires: Instant,
    /// CleanSession 1: what it subscribes to is not kept.
    clean: bool,
    filters: Vec<(Filter, u8)>,
    will: Option<Will>,
    queue: tokio::sync::mpsc::Sender<bytes::Bytes>,
    /// A fault: neither reads nor writes until then, and is over.
    silence: watch::Sender<Option<Instant>>,
}

impl Session {
    async fn run<R: AsyncRead + Unpin>(
        &mut self,
        packets: &mut Packets<R>,
        mut ended: oneshot::Receiver<Ending>,
    ) -> Over {
        let mut silenced = self.silence.subscribe();
        loop {
            let silent_at = Instant::now() + self.patience;
            let packet = tokio::select! {
                biased;
                ending = &mut ended => return Over::Ended(ending.unwrap_or(Ending::Stopping)),
                until = silent_until(&mut silenced) => return tokio::select! {
                    ending = &mut ended => Over::Ended(ending.unwrap_or(Ending::Stopping)),
                    () = tokio::time::sleep_until(until) => Over::Fault,
                },
                () = tokio::time::sleep_until(self.expires) => return Over::Expired,
                packet = packets.next(silent_at) => packet,
            };
            let done = match packet {
                Ok(packet) => self.take(packet).await,
                Err(over) => Err(over),
            };
            if let Err(over) = done {
                return over;
            }
        }
    }

    async fn take(&mut self, packet: Inbound) -> Result<(), Over> {
        match packet {
            Inbound::Publish(message) => {
                let id = message.id;
                match (self.message(message).await?, id) {
                    (true, Some(id)) => {
                        self.send_at(Step::Acknowledge, &Outbound::PubAck(id)).await
                    }
                    _ => Ok(()),
                }
            }
            // What the hub sends at QoS 0 is not acknowledged; a client that
            // does it all the same does no harm.
            Inbound::PubAck(_) => Ok(()),
            Inbound::Subscribe { id, filters } => {
                let codes: Vec<u8> =
                    filters.iter().map(|(text, qos)| self.subscribe(text, *qos)).collect();
                self.keep_filters().await;
                // The acknowledgement is queued before methods may be.
                self.send_at(Step::Subscribe, &Outbound::SubAck { id, codes: &codes }).await?;
                self.announce_filters();
                Ok(())
            }
            Inbound::Unsubscribe { id, filters } => {
                self.filters.retain(|(filter, _)| !filters.contains(&filter.to_string()));
                self.announce_filters();
                self.keep_filters().await;
                self.send(&Outbound::UnsubAck(id)).await
            }
            Inbound::PingReq => self.send(&Outbound::PingResp).await,
            Inbound::Disconnect => {
                self.will = None;
                Err(Over::Goodbye)
            }
            Inbound::Connect(_) => Err(Over::Misused("a second CONNECT".into())),
        }
    }

    /// Adds a subscription; gives the code of its SUBACK.
    fn subscribe(&mut self, text: &str, qos: u8) -> u8 {
        let own = |filter: &Filter| match filter {
            Filter::CloudToDevice { device } | Filter::ModuleInputs { device, .. } => {
                *device == self.device
            }
            _ => true,
        };
        let Some(filter) = text.parse::<Filter>().ok().filter(own) else {
            info!(device = %self.device, filter = %text.escape_debug(), "filter refused");
            return SUBSCRIPTION_REFUSED;
        };
        // QoS 2 is granted as 1.
        let granted = qos.min(1);
        self.filters.retain(|(known, _)| *known != filter);
        self.filters.push((filter, granted));
        granted
    }

    fn announce_filters(&self) {
        let filters = self.filters.iter().map(|(filter, _)| filter.clone()).collect();
        self.shared.sessions.subscribed(&self.device, self.serial, filters);
    }

    async fn keep_filters(&self) {
        if self.clean {
            return;
        }
        let (device, filters) = (self.device.clone(), self.filters.clone());
        on_disk(&self.shared.state, move |state| state.set_subscriptions(&device, &filters)).await;
    }

    /// Sends a packet, unless a fault is set for this step.
    async fn send_at(&self, step: Step, packet: &Outbound<'_>) -> Result<(), Over> {
        match self.fault(step) {
            None => self.send(packet).await,
            Some(effect) => self.missend(effect, packet).await,
        }
    }

    fn fault(&self, step: Step) -> Option<Effect> {
        self.shared.sessions.faults.at(step, Some(&self.device))
    }

    /// Sends a packet as a fault has it.
    async fn missend(&self, effect: Effect, packet: &Outbound<'_>) -> Result<(), Over> {
        match effect {
            Effect::DropBefore => Err(Over::Fault),
            Effect::DropAfter => {
                self.send(packet).await?;
                Err(Over::Fault)
            }
            Effect::Delay(time) => {
                tokio::time::sleep(time).await;
                self.send(packet).await
            }
            Effect::Reorder(time) => {
                let (queue, packet) = (self.queue.clone(), packet.encode());
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    // Its session may be over.
                    let _ = queue.send(packet).await;
                });
                Ok(())
            }
            Effect::Duplicate => {
                self.send(packet).await?;
                self.send(packet).await
            }
            Effect::HalfOpen(lasting) => {
                self.silence.send_replace(Some(Instant::now() + lasting));
                Ok(())
            }
            Effect::Lose | Effect::Throttle | Effect::Refuse(_) => Ok(()),
        }
    }

    /// What a fault does to a packet that has come in, before anything else is
    /// done with it; whether it is lost.
    async fn mistake(&self, effect: Effect) -> Result<bool, Over> {
        match effect {
            Effect::DropBefore => Err(Over::Fault),
            Effect::Delay(time) => {
                tokio::time::sleep(time).await;
                Ok(false)
            }
            Effect::HalfOpen(lasting) => {
                self.silence.send_replace(Some(Instant::now() + lasting));
                Ok(true)
            }
            Effect::Lose => Ok(true),
            _ => Ok(false),
        }
    }

    async fn send(&self, packet: &Outbound<'_>) -> Result<(), Over> {
        self.queue.send(packet.encode()).await.map_err(|_| Over::Closed)
    }

    /// Says goodbye for the device: its will, if it left without a word, and
    /// its state, if no newer connection has taken its place.
    fn leave(&mut self, over: &Over) {
        if let Some(will) = self.will.take() {
            self.will(will);
        }
        let own = self.shared.sessions.close(&self.device, self.serial);
        if own || !self.shared.sessions.is_connected(&self.device) {
            self.shared.state.connected(&self.device, false);
        }
        info!(device = %self.device, reason = %chain(over), "device disconnected");
    }
}

/// Waits until the session is to go silent; gives the end of that.
async fn silent_until(silenced: &mut watch::Receiver<Option<Instant>>) -> Instant {
    match silenced.wait_for(Option::is_some).await.map(|until| *until) {
        Ok(Some(until)) => until,
        // The session has the other end, and is not over.
        _ => std::future::pending().await,
    }
}

/// Runs work that may wait for a disk where waiting holds up nobody else.
async fn on_disk<T: Send + 'static>(
    state: &Arc<State>,
    work: impl FnOnce(&State) -> T + Send + 'static,
) -> T {
    if !state.is_durable() {
        return work(state);
    }
    let state = Arc::clone(state);
    match tokio::task::spawn_blocking(move || work(&state)).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text += &format!(": {next}");
        cause = next.source();
    }
    text
}
