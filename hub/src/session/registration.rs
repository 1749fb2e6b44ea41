//! A device's session at the Device Provisioning Service.
//!
//! Unlike a session at the hub, it has one subscription and no state: every session is clean.
//! A wrong token is answered, and a wrong certificate refused by the CONNACK, as in Azure.

use std::sync::Arc;

use program::chain;
use protocol::id::{DeviceId, RequestId};
use protocol::provisioning::{
    ANSWERS, MAX_MESSAGE_BYTES, ProvisioningAnswer, ProvisioningTopic, ProvisioningUserName,
    names_profile,
};
use tokio::io::AsyncRead;
use tokio::time::Duration;
use tracing::info;

use super::accept::{apply_fault, max_idle, refuse};
use super::packets::{Ends, Packets};
use super::{SessionContext, SessionEnd};
use crate::faults::{Handling, Step};
use crate::mqtt::{ConnAckCode, Connect, Inbound, Outbound, Publish, decode};
use crate::peer::Peer;
use crate::provisioning::{DeviceAnswer, DeviceRequest, Registrant};
use crate::sessions::Outlet;

/// Returns `true` if a CONNECT is meant for the Device Provisioning Service.
pub(super) fn is_meant_by(connect: &Connect) -> bool {
    connect.user_name.as_deref().is_some_and(ProvisioningUserName::is_meant_by)
}

/// Serves a device that registers until either side ends the connection. Returns `true` if a
/// fault has silenced the connection.
pub(super) async fn serve<R: AsyncRead + Unpin>(
    context: &SessionContext,
    connect: Connect,
    peer: Peer,
    packets: &mut Packets<R>,
    outlet: Outlet,
) -> bool {
    let idle = max_idle(connect.keep_alive_seconds);
    let end = match accept(context, connect, peer, outlet.clone()).await {
        Ok(mut session) => session.run(packets, idle).await,
        Err(end) => end,
    };
    info!(reason = %chain(&end), "connection for provisioning ended");
    outlet.is_silent()
}

async fn accept(
    context: &SessionContext,
    connect: Connect,
    peer: Peer,
    outlet: Outlet,
) -> Result<RegistrationSession<'_>, SessionEnd> {
    let registrant = match authenticate(context, connect, peer).await {
        Ok(registrant) => registrant,
        Err(reason) => {
            refuse(&outlet, ConnAckCode::NotAuthorized).await;
            return Err(SessionEnd::Refused(reason));
        }
    };
    let device = registrant.registration.device_id();
    let handling = context.faults.handling(Step::DpsConnect, Some(&device));
    apply_fault(&outlet, handling).await?;
    let code = ConnAckCode::Accepted;
    let session = RegistrationSession {
        context,
        registrant: Arc::new(registrant),
        device,
        outlet,
        granted: None,
        last_packet: 0,
    };
    let acknowledgement = Outbound::ConnAck { session_present: false, code };
    session.send(&acknowledgement, Handling::REGULAR).await?;
    if handling.drops_connection() { Err(SessionEnd::Fault) } else { Ok(session) }
}

/// Checks the parts of a CONNECT that the CONNACK answers: the names, and a certificate.
async fn authenticate(
    context: &SessionContext,
    connect: Connect,
    peer: Peer,
) -> Result<Registrant, String> {
    let user = connect.user_name.as_deref().unwrap_or_default();
    let user: ProvisioningUserName = user.parse().map_err(|error| chain(&error).to_string())?;
    if !connect.client_id.eq_ignore_ascii_case(user.registration.as_str()) {
        return Err(format!("the user name is that of `{}`", user.registration));
    }
    let token = connect.password.filter(|password| !password.is_empty());
    let names_profile = names_profile(&user.api_version);
    let ProvisioningUserName { scope, registration, .. } = user;
    let registrant = Registrant { scope, registration, token, peer, names_profile };
    if registrant.token.is_none() {
        let checked = registrant.clone();
        let checked = context.provisioning.run(move |it| it.check_certificate(&checked));
        checked.await.map_err(|failure| failure.to_string())?;
    }
    Ok(registrant)
}

/// A session after its CONNACK.
struct RegistrationSession<'a> {
    context: &'a SessionContext,
    registrant: Arc<Registrant>,
    /// The registration id as a device id, which faults name.
    device: DeviceId,
    outlet: Outlet,
    /// The QoS of the subscription to answers.
    granted: Option<u8>,
    last_packet: u16,
}

impl RegistrationSession<'_> {
    async fn run<R: AsyncRead + Unpin>(
        &mut self,
        packets: &mut Packets<R>,
        idle: Duration,
    ) -> SessionEnd {
        let mut ends = Ends::by_faults(&self.outlet);
        loop {
            let packet = packets.next_before(&mut ends, idle, decode).await;
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
            Inbound::Publish(message) => self.message(message).await,
            Inbound::Subscribe { id, filters } => {
                let codes: Vec<u8> = filters
                    .iter()
                    .map(|(text, qos)| self.subscribe(text, *qos))
                    .collect::<Result<_, _>>()?;
                let handling = self.handling(Step::DpsSubscribe);
                self.send(&Outbound::SubAck { id, codes: &codes }, handling).await
            }
            Inbound::Unsubscribe { id, filters } => {
                if filters.iter().any(|filter| filter == ANSWERS) {
                    self.granted = None;
                }
                self.send(&Outbound::UnsubAck(id), Handling::REGULAR).await
            }
            Inbound::PubAck(_) => Ok(()),
            Inbound::PingReq => self.send(&Outbound::PingResp, Handling::REGULAR).await,
            Inbound::Disconnect => Err(SessionEnd::Disconnected),
            Inbound::Connect(_) | Inbound::OtherVersion { .. } => {
                Err(SessionEnd::Misused("a second CONNECT".into()))
            }
        }
    }

    /// Adds the subscription and returns its SUBACK code.
    fn subscribe(&mut self, text: &str, qos: u8) -> Result<u8, SessionEnd> {
        if text != ANSWERS {
            let filter = json::readable(text);
            return Err(SessionEnd::Misused(format!("unsupported filter `{filter}`")));
        }
        let granted = qos.min(1);
        self.granted = Some(granted);
        Ok(granted)
    }

    async fn message(&mut self, message: Publish) -> Result<(), SessionEnd> {
        let Publish { topic, id, payload, .. } = message;
        let topic: ProvisioningTopic =
            topic.parse().map_err(|error| SessionEnd::Misused(chain(&error).to_string()))?;
        if payload.len() > MAX_MESSAGE_BYTES {
            let length = payload.len();
            let reason = format!("a message of {length} bytes; at most {MAX_MESSAGE_BYTES}");
            return Err(SessionEnd::Misused(reason));
        }
        // The .NET client expects the PUBACK before the answer.
        if let Some(id) = id {
            self.send(&Outbound::PubAck(id), Handling::REGULAR).await?;
        }
        let (rid, request) = match topic {
            ProvisioningTopic::Register { rid } => (rid, DeviceRequest::Register(payload.into())),
            ProvisioningTopic::Status { rid, operation } => (rid, DeviceRequest::Poll(operation)),
        };
        let handling = self.handling(request.step());
        let registrant = Arc::clone(&self.registrant);
        let answer = self
            .context
            .provisioning
            .run(move |provisioning| provisioning.answer(&registrant, &request, &handling));
        let answer = answer.await;
        self.answer(rid, answer, handling).await
    }

    /// Sends an answer, unless the device is not subscribed.
    async fn answer(
        &mut self,
        rid: RequestId,
        DeviceAnswer { status, retry_after, body, .. }: DeviceAnswer,
        handling: Handling,
    ) -> Result<(), SessionEnd> {
        let topic = ProvisioningAnswer { status, rid, retry_after }.to_string();
        let packet = match self.granted {
            None => return Ok(()),
            Some(0) => Outbound::Publish { topic: &topic, payload: &body },
            Some(_) => {
                // Zero is not a packet id.
                self.last_packet = self.last_packet.checked_add(1).unwrap_or(1);
                let id = self.last_packet;
                Outbound::PublishAcknowledged {
                    id,
                    duplicate: false,
                    topic: &topic,
                    payload: &body,
                }
            }
        };
        self.send(&packet, handling).await
    }

    fn handling(&self, step: Step) -> Handling {
        self.context.faults.handling(step, Some(&self.device))
    }

    async fn send(&self, packet: &Outbound<'_>, handling: Handling) -> Result<(), SessionEnd> {
        let sent = self.outlet.send(packet.encode(), handling).await;
        sent.map_err(|_| SessionEnd::Closed)?;
        if handling.drops_connection() { Err(SessionEnd::Fault) } else { Ok(()) }
    }
}
