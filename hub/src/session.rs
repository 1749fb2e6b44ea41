//! The hub's end of one MQTT connection, from CONNECT to its end.
//!
//! [`serve`] takes any byte stream: TLS, WebSocket, a pipe in a test. It reads
//! packets in order and answers each; a separate task writes the queued packets.
//! A packet that breaks the rules ends the connection without an answer, since
//! MQTT 3.1.1 has none for it.

mod accept;
mod messages;
mod outbox;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use program::chain;
use protocol::id::DeviceId;
use protocol::topic::Filter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tracing::info;

use crate::faults::{ConnectionFate, Faults, Handling, Step};
use crate::methods::Methods;
use crate::mqtt::{Inbound, Malformed, Outbound, Will, decode};
use crate::sessions::{Ending, Outlet, Sessions};
use crate::state::State;
use crate::telemetry::{Sender, TelemetryMessage};
use outbox::Outbox;

/// Parts of the hub that sessions use.
#[derive(Clone)]
pub(crate) struct SessionContext {
    pub(crate) state: Arc<State>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) methods: Arc<Methods>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) telemetry: broadcast::Sender<TelemetryMessage>,
    /// Time for which a connection outlives its token.
    pub(crate) token_grace: Duration,
}

/// Time limit for the CONNECT of a new connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// Limit of a device's silence: IoT Hub's, and that of a device without keep-alive.
const MAX_SILENCE: Duration = Duration::from_secs(1767);

/// Time for a device to notice that its connection has ended.
const LAST_READS: Duration = Duration::from_secs(1);

/// Reason for the end of a session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionEnd {
    #[error("the device disconnected")]
    Disconnected,
    #[error("the connection broke")]
    Broken(#[from] std::io::Error),
    #[error("the device closed the connection without a DISCONNECT")]
    Closed,
    #[error("the device was silent past its keep-alive")]
    Silent,
    #[error("malformed packet")]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    Misused(String),
    #[error("refused: {0}")]
    Refused(String),
    #[error("the token has expired")]
    Expired,
    #[error("ended by the hub: {0:?}")]
    Ended(Ending),
    #[error("ended by a fault")]
    Fault,
}

/// Speaks MQTT with a device until either side ends the connection.
pub(crate) async fn serve<R, W>(context: SessionContext, reader: R, writer: W)
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let mut packets = Packets { reader, buffer: BytesMut::with_capacity(4096) };
    let silence = watch::Sender::new(None);
    let outbox = Outbox::start(writer, silence.subscribe());
    let outlet = Outlet::new(outbox.queue(), silence);
    let (mut session, ended) = match accept::accept(&context, &mut packets, outlet).await {
        Ok(accepted) => accepted,
        Err(end) => {
            info!(reason = %chain(&end), "connection not accepted");
            return outbox.finish().await;
        }
    };
    let end = session.run(&mut packets, ended).await;
    session.leave(&end);
    let silent = session.outlet.is_silent();
    drop(session);
    outbox.finish().await;
    if !silent {
        packets.read_out().await;
    }
}

/// Incoming packets of a connection.
struct Packets<R> {
    reader: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Packets<R> {
    async fn next(&mut self, until: Instant) -> Result<Inbound, SessionEnd> {
        loop {
            if let Some(packet) = decode(&mut self.buffer)? {
                return Ok(packet);
            }
            match timeout_at(until, self.reader.read_buf(&mut self.buffer)).await {
                Err(_) => return Err(SessionEnd::Silent),
                Ok(Ok(0)) => return Err(SessionEnd::Closed),
                Ok(read) => read?,
            };
        }
    }

    /// Reads and discards until the device closes. A socket that is closed with
    /// unread data is reset, which may cost the device what it was sent last.
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

/// Session after its CONNACK.
struct Session {
    context: SessionContext,
    device: DeviceId,
    sender: Sender,
    serial: u64,
    /// Limit of the device's silence.
    patience: Duration,
    expires: Instant,
    /// CleanSession 1: subscriptions are not persisted.
    clean: bool,
    filters: Vec<(Filter, u8)>,
    will: Option<Will>,
    outlet: Outlet,
}

impl Session {
    async fn run<R: AsyncRead + Unpin>(
        &mut self,
        packets: &mut Packets<R>,
        mut ended: oneshot::Receiver<Ending>,
    ) -> SessionEnd {
        let mut silenced = self.outlet.silenced();
        loop {
            let silent_at = Instant::now() + self.patience;
            let packet = tokio::select! {
                biased;
                ending = &mut ended => return SessionEnd::Ended(ending.unwrap_or(Ending::Stopping)),
                until = silenced_until(&mut silenced) => return tokio::select! {
                    ending = &mut ended => SessionEnd::Ended(ending.unwrap_or(Ending::Stopping)),
                    () = tokio::time::sleep_until(until) => SessionEnd::Fault,
                },
                () = tokio::time::sleep_until(self.expires) => return SessionEnd::Expired,
                packet = packets.next(silent_at) => packet,
            };
            let done = match packet {
                Ok(packet) => self.process(packet).await,
                Err(end) => Err(end),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn process(&mut self, packet: Inbound) -> Result<(), SessionEnd> {
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
            // The hub publishes at QoS 0, which is not acknowledged; a client
            // that does so all the same does no harm.
            Inbound::PubAck(_) => Ok(()),
            Inbound::Subscribe { id, filters } => {
                let codes: Vec<u8> = filters
                    .iter()
                    .map(|(text, qos)| self.subscribe(text, *qos))
                    .collect::<Result<_, _>>()?;
                self.persist_filters().await;
                // The acknowledgement is queued before methods may be.
                self.send_at(Step::Subscribe, &Outbound::SubAck { id, codes: &codes }).await?;
                self.announce_filters();
                Ok(())
            }
            Inbound::Unsubscribe { id, filters } => {
                self.filters.retain(|(filter, _)| !filters.contains(&filter.to_string()));
                self.announce_filters();
                self.persist_filters().await;
                self.send(&Outbound::UnsubAck(id), Handling::REGULAR).await
            }
            Inbound::PingReq => self.send(&Outbound::PingResp, Handling::REGULAR).await,
            Inbound::Disconnect => {
                self.will = None;
                Err(SessionEnd::Disconnected)
            }
            Inbound::Connect(_) | Inbound::OtherVersion { .. } => {
                Err(SessionEnd::Misused("a second CONNECT".into()))
            }
        }
    }

    /// Adds a subscription; returns the code of its SUBACK. A filter that IoT Hub
    /// does not offer ends the session, as it does there.
    fn subscribe(&mut self, text: &str, qos: u8) -> Result<u8, SessionEnd> {
        let own = |filter: &Filter| match filter {
            Filter::CloudToDevice { device } | Filter::ModuleInputs { device, .. } => {
                *device == self.device
            }
            _ => true,
        };
        let Some(filter) = text.parse::<Filter>().ok().filter(own) else {
            let filter = text.escape_debug();
            return Err(SessionEnd::Misused(format!("filter `{filter}`, which is not offered")));
        };
        // QoS 2 is granted as 1.
        let granted = qos.min(1);
        self.filters.retain(|(known, _)| *known != filter);
        self.filters.push((filter, granted));
        Ok(granted)
    }

    fn announce_filters(&self) {
        let filters = self.filters.iter().map(|(filter, _)| filter.clone()).collect();
        self.context.sessions.subscribed(&self.device, self.serial, filters);
    }

    async fn persist_filters(&self) {
        if self.clean {
            return;
        }
        let (device, filters) = (self.device.clone(), self.filters.clone());
        on_disk(&self.context.state, move |state| state.set_subscriptions(&device, &filters)).await;
    }

    /// Returns the handling of a packet at this step.
    fn handling(&self, step: Step) -> Handling {
        self.context.faults.handling(step, Some(&self.device))
    }

    /// Sends a packet that a fault may change at this step.
    async fn send_at(&self, step: Step, packet: &Outbound<'_>) -> Result<(), SessionEnd> {
        self.send(packet, self.handling(step)).await
    }

    /// Sends a packet as `handling` says.
    async fn send(&self, packet: &Outbound<'_>, handling: Handling) -> Result<(), SessionEnd> {
        let sent = self.outlet.send(packet.encode(), handling).await;
        sent.map_err(|_| SessionEnd::Closed)?;
        if handling.drops_connection() { Err(SessionEnd::Fault) } else { Ok(()) }
    }

    /// Applies `handling` to a packet that has come in, before it is processed;
    /// returns whether it is processed.
    async fn receive(&self, handling: Handling) -> Result<bool, SessionEnd> {
        if !handling.delay.is_zero() {
            tokio::time::sleep(handling.delay).await;
        }
        self.outlet.silence_if(handling.connection);
        match handling.connection {
            ConnectionFate::Dropped if handling.copies == 0 => Err(SessionEnd::Fault),
            _ => Ok(handling.copies > 0),
        }
    }

    /// Ends a session whose device has gone: publishes the will unless the device
    /// disconnected, and updates the device's state unless a newer connection
    /// has replaced this one.
    fn leave(&mut self, end: &SessionEnd) {
        if let Some(will) = self.will.take() {
            self.publish_will(will);
        }
        let current = self.context.sessions.close(&self.device, self.serial);
        if current || !self.context.sessions.is_connected(&self.device) {
            self.context.state.set_connected(&self.device, false);
        }
        info!(device = %self.device, reason = %chain(end), "device disconnected");
    }
}

/// Waits until the session is silenced; returns the end of the silence.
async fn silenced_until(silenced: &mut watch::Receiver<Option<Instant>>) -> Instant {
    match silenced.wait_for(Option::is_some).await.map(|until| *until) {
        Ok(Some(until)) => until,
        // The session holds the sender while it waits here.
        _ => std::future::pending().await,
    }
}

/// Runs work that may wait for a disk on a thread where waiting blocks no other task.
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
