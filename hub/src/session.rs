//! Server side of a single MQTT connection.
//!
//! [`serve`] accepts any byte stream, such as TLS, WebSocket or a pipe in a test. It reads
//! and answers packets in order; a separate task writes the queued packets. An invalid
//! packet ends the connection without an answer, since MQTT 3.1.1 does not define one. The
//! CONNECT selects the version of MQTT; sessions with MQTT 5 are in `mqtt5`.

mod accept;
mod cloud_to_device;
mod credentials;
mod faulty;
mod messages;
mod mqtt5;
mod outbox;
mod packets;
mod registration;

use std::sync::Arc;
use std::time::Duration;

use program::chain;
use protocol::mqtt5::{CustomTopic, ReasonCode};
use protocol::topic::Filter;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::Instant;
use tracing::info;

use crate::certificates::DeviceAuthorities;
use crate::cloud_to_device::CloudToDevice;
use crate::credentials::Credentials;
use crate::events::EventKind;
use crate::faults::{Faults, Handling, Step};
use crate::methods::Methods;
use crate::mqtt::{Inbound, Malformed, Outbound, Will, first_level};
use crate::mqtt5::LEVEL;
use crate::peer::Peer;
use crate::provisioning::Provisioning;
use crate::sessions::{Ending, Outlet, Sessions, Tap};
use crate::state::{Owner, State};
use crate::telemetry::{Sender, TelemetryMessage};
use outbox::Outbox;
use packets::{Ends, Packets};

/// Parts of the hub that sessions use.
#[derive(Clone)]
pub(crate) struct SessionContext {
    pub(crate) state: Arc<State>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) methods: Arc<Methods>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) telemetry: broadcast::Sender<TelemetryMessage>,
    /// Authorities that can sign the certificates of devices.
    pub(crate) authorities: DeviceAuthorities,
    pub(crate) provisioning: Arc<Provisioning>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) cloud_to_device: Arc<CloudToDevice>,
    /// Time for which a connection outlives its token.
    pub(crate) token_grace: Duration,
    /// Topics of device-to-cloud messages in addition to those of MQTT 5.
    pub(crate) custom_topics: Arc<[CustomTopic]>,
}

impl SessionContext {
    /// Publishes a device-to-cloud message to all listeners.
    pub(crate) fn publish(&self, message: TelemetryMessage) {
        self.state.events().publish(EventKind::Telemetry, &message.device, || message.to_event());
        // Fails if there is no receiver.
        let _ = self.telemetry.send(message);
    }
}

/// Time limit for the CONNECT of a new connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum time between two packets of a device, as in IoT Hub. Also applies to devices
/// without a keep-alive.
const MAX_IDLE: Duration = Duration::from_secs(1767);

/// Reason for the end of a session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionEnd {
    #[error("the device disconnected")]
    Disconnected,
    #[error("the connection failed")]
    Broken(#[from] std::io::Error),
    #[error("the device closed the connection without a DISCONNECT")]
    Closed,
    #[error("the device exceeded its keep-alive")]
    Silent,
    #[error("malformed packet")]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    Misused(String),
    /// A violation of MQTT 5 or its profile, which a DISCONNECT names.
    #[error("{text}")]
    Violation { reason: ReasonCode, text: String },
    #[error("refused: {0}")]
    Refused(String),
    #[error("the token has expired")]
    Expired,
    #[error("ended by the hub: {0:?}")]
    Ended(Ending),
    #[error("ended by a fault")]
    Fault,
}

/// Serves MQTT to a device until either side ends the connection. The user name of its CONNECT
/// selects the hub or the Device Provisioning Service.
pub(crate) async fn serve<R, W>(context: SessionContext, peer: Peer, reader: R, writer: W)
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let mut packets = Packets::new(reader);
    let silence = watch::Sender::new(None);
    let outbox = Outbox::start(writer, silence.subscribe());
    let outlet = Outlet::new(outbox.queue(), silence);
    let until = Instant::now() + CONNECT_TIMEOUT;
    if let Ok(LEVEL) = packets.read(until, |buffer| first_level(buffer)).await {
        let silent = mqtt5::serve(&context, peer, &mut packets, outlet).await;
        outbox.finish().await;
        if !silent {
            packets.drain().await;
        }
        return;
    }
    let connect = match accept::connect(&mut packets, &outlet).await {
        Ok(connect) => connect,
        Err(end) => {
            info!(reason = %chain(&end), "connection not accepted");
            return outbox.finish().await;
        }
    };
    if registration::is_meant_by(&connect) {
        let silent = registration::serve(&context, connect, peer, &mut packets, outlet).await;
        outbox.finish().await;
        if !silent {
            packets.drain().await;
        }
        return;
    }
    let accepted = accept::accept(&context, connect, peer.certificates, outlet).await;
    let (mut session, ended) = match accepted {
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
        packets.drain().await;
    }
}

/// A session after its CONNACK.
struct Session {
    context: SessionContext,
    owner: Owner,
    sender: Sender,
    serial: u64,
    /// Maximum time between two packets of the device.
    max_idle: Duration,
    expires: Instant,
    /// `true` for a session that can request certificates.
    has_credentials: bool,
    /// `true` for a clean session, whose subscriptions are not persisted.
    clean: bool,
    filters: Vec<(Filter, u8)>,
    will: Option<Will>,
    outlet: Outlet,
    tap: Tap,
}

impl Session {
    async fn run<R: AsyncRead + Unpin>(
        &mut self,
        packets: &mut Packets<R>,
        ended: oneshot::Receiver<Ending>,
    ) -> SessionEnd {
        let mut ends = Ends::by_faults(&self.outlet).or_by(ended).or_at(self.expires);
        loop {
            let packet = self.next_packet(packets, &mut ends).await;
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
        self.tap.received(&packet);
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
            // Everything but cloud-to-device messages is published at QoS 0. A needless PUBACK
            // is harmless.
            Inbound::PubAck(id) => {
                self.context.cloud_to_device.acknowledged(&self.owner.device, self.serial, id);
                Ok(())
            }
            Inbound::Subscribe { id, filters } => {
                let codes: Vec<u8> = filters
                    .iter()
                    .map(|(text, qos)| self.subscribe(text, *qos))
                    .collect::<Result<_, _>>()?;
                self.persist_filters().await;
                // Announcing the filters allows methods, which must follow the SUBACK.
                self.send_at(Step::Subscribe, &Outbound::SubAck { id, codes: &codes }).await?;
                self.announce_filters();
                if self.owner.module.is_none() {
                    self.context.credentials.subscribed(&self.owner.device);
                }
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

    /// Adds a subscription and returns its SUBACK code. An unsupported filter ends the
    /// session, as in IoT Hub.
    fn subscribe(&mut self, text: &str, qos: u8) -> Result<u8, SessionEnd> {
        let permitted = |filter: &Filter| match filter {
            Filter::CloudToDevice { device } => {
                *device == self.owner.device && self.owner.module.is_none()
            }
            Filter::ModuleInputs { device, module } => {
                *device == self.owner.device && self.owner.module.as_ref() == Some(module)
            }
            _ => true,
        };
        let Some(filter) = text.parse::<Filter>().ok().filter(permitted) else {
            let filter = json::readable(text);
            return Err(SessionEnd::Misused(format!("unsupported filter `{filter}`")));
        };
        // QoS 2 is downgraded to 1.
        let granted = qos.min(1);
        self.filters.retain(|(known, _)| *known != filter);
        self.filters.push((filter, granted));
        Ok(granted)
    }

    fn announce_filters(&self) {
        let filters = self.filters.iter().map(|(filter, _)| filter.clone()).collect();
        self.context.sessions.subscribed(&self.owner, self.serial, filters);
    }

    async fn persist_filters(&self) {
        if self.clean {
            return;
        }
        let (owner, filters) = (self.owner.clone(), self.filters.clone());
        on_disk(&self.context.state, move |state| state.set_subscriptions(&owner, &filters)).await;
    }

    /// Returns the handling of a packet at this step, which a fault can change.
    fn handling(&self, step: Step) -> Handling {
        self.context.faults.handling(step, Some(&self.owner.device))
    }

    /// Sends a packet with the handling of this step.
    async fn send_at(&self, step: Step, packet: &Outbound<'_>) -> Result<(), SessionEnd> {
        self.send(packet, self.handling(step)).await
    }

    /// Sends a packet with the given handling.
    async fn send(&self, packet: &Outbound<'_>, handling: Handling) -> Result<(), SessionEnd> {
        faulty::send(&self.outlet, packet.encode(), handling).await
    }

    /// Cleans up after the connection has ended: publishes the will unless the device sent
    /// a DISCONNECT, and marks the device as disconnected unless a newer connection has
    /// replaced this one.
    fn leave(&mut self, end: &SessionEnd) {
        if let Some(will) = self.will.take() {
            self.publish_will(will);
        }
        self.context.cloud_to_device.detach(&self.owner.device, self.serial);
        let current = self.context.sessions.close(&self.owner, self.serial);
        if current || !self.context.sessions.is_connected(&self.owner) {
            self.context.state.set_connected(&self.owner, false);
        }
        info!(device = %self.owner, reason = %chain(end), "device disconnected");
    }
}

/// Runs `work` on a blocking thread if it can wait for the disk.
pub(crate) async fn on_disk<T: Send + 'static>(
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
