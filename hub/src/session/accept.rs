//! Acceptance of connections: CONNECT and CONNACK.

use std::time::Duration;

use program::chain;
use protocol::mqtt5::ConnectionProfile;
use protocol::user_name::UserName;
use tokio::io::AsyncRead;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{info, warn};

use super::messages::own_telemetry;
use super::packets::Packets;
use super::{CONNECT_TIMEOUT, MAX_IDLE, Session, SessionContext, SessionEnd, on_disk};
use crate::certificates::PeerCertificates;
use crate::faults::{ConnectionFate, Handling, Refused, Rejection, Step};
use crate::mqtt::{ConnAckCode, Connect, Inbound, Outbound, decode};
use crate::sessions::{Ending, OpenedSession, Outlet, SessionWire, Tap};
use crate::stamps::now_unix;
use crate::state::{DeviceCredentials, DeviceGrant, DeviceRefusal, Owner};
use crate::telemetry::Sender;

/// Waits for the CONNECT.
pub(super) async fn connect<R: AsyncRead + Unpin>(
    packets: &mut Packets<R>,
    outlet: &Outlet,
) -> Result<Connect, SessionEnd> {
    match packets.read(Instant::now() + CONNECT_TIMEOUT, decode).await? {
        Inbound::Connect(connect) => Ok(connect),
        Inbound::OtherVersion { level } => {
            refuse(outlet, ConnAckCode::UnacceptableProtocol).await;
            let reason = format!("MQTT level {level}; this hub supports the levels 4 and 5");
            Err(SessionEnd::Refused(reason))
        }
        _ => Err(SessionEnd::Misused("a packet before CONNECT".into())),
    }
}

/// Authenticates the device of a CONNECT and sends the CONNACK.
pub(super) async fn accept(
    context: &SessionContext,
    connect: Connect,
    certificates: PeerCertificates,
    outlet: Outlet,
) -> Result<(Session, oneshot::Receiver<Ending>), SessionEnd> {
    let grant = match authenticate(context, certificates, &connect).await {
        Ok(grant) => grant,
        Err((code, reason)) => {
            refuse(&outlet, code).await;
            let client = json::readable(&connect.client_id);
            return Err(SessionEnd::Refused(format!("client id `{client}`: {reason}")));
        }
    };
    let tap = Tap::new(context.state.events(), &grant.owner);
    tap.connecting(&connect);
    let outlet = outlet.of(tap.clone());
    let handling = context.faults.handling(Step::Connect, Some(&grant.owner.device));
    apply_fault(&outlet, handling).await?;
    let pause = context.sessions.connect_pause(&grant.owner);
    if !pause.is_zero() {
        warn!(device = %grant.owner, ?pause, "device slowed down: it reconnects too often");
        tokio::time::sleep(pause).await;
    }
    let clean = connect.clean_session;
    let owner = grant.owner.clone();
    let filters = on_disk(&context.state, move |state| {
        if clean {
            state.set_subscriptions(&owner, &[]);
        }
        state.set_connected(&owner, true);
        state.subscriptions(&owner)
    })
    .await;
    let code = ConnAckCode::Accepted;
    let acknowledgement = Outbound::ConnAck { session_present: !filters.is_empty(), code }.encode();
    // Queued before the session opens, so that no method can precede the CONNACK.
    let sent = outlet.send(acknowledgement, Handling::REGULAR).await;
    sent.map_err(|_| SessionEnd::Closed)?;
    if handling.drops_connection() {
        return Err(SessionEnd::Fault);
    }
    let live = filters.iter().map(|(filter, _)| filter.clone()).collect();
    let OpenedSession { serial, ended } = context.sessions.open(
        &grant.owner,
        outlet.clone(),
        SessionWire::Classic(live),
        grant.expires_unix.unwrap_or(0),
    );
    if grant.owner.module.is_none() {
        context.credentials.subscribed(&grant.owner.device);
        context.cloud_to_device.attach(&grant.owner.device, serial, clean);
    }
    info!(device = %grant.owner, clean, subscriptions = filters.len(), "device connected");
    let session = Session {
        has_credentials: grant.has_credentials,
        max_idle: max_idle(connect.keep_alive_seconds),
        expires: expiry(&grant, context.token_grace),
        context: context.clone(),
        sender: Sender {
            owner: grant.owner.clone(),
            generation: grant.generation,
            model_id: grant.model_id,
        },
        owner: grant.owner,
        serial,
        clean,
        filters,
        will: connect.will,
        outlet,
        tap,
    };
    Ok((session, ended))
}

/// Applies a fault to a valid CONNECT.
pub(super) async fn apply_fault(outlet: &Outlet, handling: Handling) -> Result<(), SessionEnd> {
    if let Some(Rejection::ConnAck(code)) = handling.rejection {
        refuse(outlet, code.into()).await;
        return Err(SessionEnd::Fault);
    }
    apply_delay(handling).await
}

/// Applies a fault to a valid CONNECT that is not refused.
pub(super) async fn apply_delay(handling: Handling) -> Result<(), SessionEnd> {
    if !handling.delay.is_zero() {
        tokio::time::sleep(handling.delay).await;
    }
    if handling.copies > 0 {
        return Ok(());
    }
    if let ConnectionFate::Silenced(time) = handling.connection {
        tokio::time::sleep(time).await;
    }
    Err(SessionEnd::Fault)
}

pub(super) async fn refuse(outlet: &Outlet, code: ConnAckCode) {
    let refusal = Outbound::ConnAck { session_present: false, code };
    // The connection may have ended already.
    let _ = outlet.send(refusal.encode(), Handling::REGULAR).await;
}

/// Authenticates the device of a CONNECT. Return code 5 is used only for permanent errors,
/// because some clients do not retry after it.
async fn authenticate(
    context: &SessionContext,
    certificates: PeerCertificates,
    connect: &Connect,
) -> Result<DeviceGrant, (ConnAckCode, String)> {
    let refused = |reason: String| (ConnAckCode::NotAuthorized, reason);
    let text = connect.user_name.as_deref().ok_or_else(|| refused("no user name".into()))?;
    let user: UserName = text.parse().map_err(|error| refused(chain(&error).to_string()))?;
    if context.state.profiles().of(&user.device) == Some(ConnectionProfile::MqttV5) {
        let reason = "MQTT 3.1.1; the connection profile is `mqttV5`";
        return Err((ConnAckCode::UnacceptableProtocol, reason.to_owned()));
    }
    if user.client_id() != connect.client_id {
        return Err(refused(format!("the user name is that of `{}`", user.client_id())));
    }
    let owner = Owner { device: user.device.clone(), module: user.module.clone() };
    if let Some(will) = &connect.will
        && own_telemetry(&will.topic, &owner).is_none()
    {
        let topic = json::readable(&will.topic);
        return Err(refused(format!(
            "the topic `{topic}` of the will is not the device's telemetry topic"
        )));
    }
    let credentials = DeviceCredentials {
        password: connect.password.clone(),
        certificates,
        authorities: context.authorities.clone(),
    };
    let granted = on_disk(&context.state, move |state| {
        state.authenticate_device(&user, &credentials, now_unix())
    });
    let grant = granted.await.map_err(|refusal| match refusal {
        DeviceRefusal::NotAuthorized(reason) => refused(reason),
        DeviceRefusal::Unavailable(reason) => (ConnAckCode::ServerUnavailable, reason),
    })?;
    if let Some(expiry) = grant.expires_unix
        && context.faults.has_expired(&grant.owner.device, expiry)
    {
        return Err(refused("a fault expired the token".into()));
    }
    Ok(grant)
}

impl From<Refused> for ConnAckCode {
    fn from(refused: Refused) -> ConnAckCode {
        match refused {
            Refused::Protocol => ConnAckCode::UnacceptableProtocol,
            Refused::ClientId => ConnAckCode::IdentifierRejected,
            Refused::Unavailable => ConnAckCode::ServerUnavailable,
            Refused::Password => ConnAckCode::BadUserNameOrPassword,
            Refused::NotAuthorized => ConnAckCode::NotAuthorized,
        }
    }
}

/// Returns one and a half times the keep-alive (MQTT 3.1.1, section 3.1.2.10), limited to
/// [`MAX_IDLE`].
pub(super) fn max_idle(keep_alive_seconds: u16) -> Duration {
    match keep_alive_seconds {
        0 => MAX_IDLE,
        seconds => MAX_IDLE.min(Duration::from_secs(seconds.into()).mul_f64(1.5)),
    }
}

/// Returns the time at which the grace period of the token ends, or a time in the far future
/// for a device with a certificate.
fn expiry(grant: &DeviceGrant, grace: Duration) -> Instant {
    let left = grant.expires_unix.map_or(u64::MAX, |expiry| expiry.saturating_sub(now_unix()));
    // Limited, since an `Instant` in the far future could overflow.
    let left = Duration::from_secs(left.min(10 * 365 * 86_400)).saturating_add(grace);
    Instant::now() + left
}
