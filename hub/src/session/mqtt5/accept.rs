//! Acceptance of connections: CONNECT and CONNACK.

use std::sync::Arc;
use std::time::Duration;

use program::chain;
use protocol::id::DeviceId;
use protocol::mqtt5::{ConnectionProfile, CorrelationId, Mqtt5UserName, ReasonCode, Topic};
use tokio::io::AsyncRead;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{info, warn};

use super::super::accept::{apply_delay, max_idle};
use super::super::packets::Packets;
use super::super::{CONNECT_TIMEOUT, SessionContext, SessionEnd, on_disk};
use super::messages::is_telemetry_topic;
use super::{Mqtt5Session, violation};
use crate::certificates::PeerCertificates;
use crate::faults::{Handling, Refused, Rejection, Step};
use crate::mqtt5::{Mqtt5Connect, Mqtt5Inbound, Mqtt5Outbound, decode, reason_of};
use crate::sessions::{
    Ending, MAX_SESSION_EXPIRY, Mqtt5Wire, OpenedSession, Outlet, SessionWire, Tap,
};
use crate::stamps::now_unix;
use crate::state::{DeviceCredentials, DeviceGrant, DeviceRefusal};
use crate::telemetry::Sender;

/// Waits for the CONNECT, authenticates its device and sends the CONNACK.
pub(super) async fn accept<R: AsyncRead + Unpin>(
    context: &SessionContext,
    certificates: PeerCertificates,
    packets: &mut Packets<R>,
    outlet: Outlet,
) -> Result<(Mqtt5Session, oneshot::Receiver<Ending>), SessionEnd> {
    let connect = match packets.read(Instant::now() + CONNECT_TIMEOUT, decode).await {
        Ok(Mqtt5Inbound::Connect(connect)) => *connect,
        Ok(_) => return Err(violation(ReasonCode::PROTOCOL_ERROR, "a packet before CONNECT")),
        Err(end) => {
            if let SessionEnd::Malformed(malformed) = &end {
                refuse(&outlet, reason_of(malformed)).await;
            }
            return Err(end);
        }
    };
    let (grant, nonce) = match authenticate(context, certificates, &connect).await {
        Ok(granted) => granted,
        Err((code, reason)) => {
            refuse(&outlet, code).await;
            let client = json::readable(&connect.client_id);
            return Err(SessionEnd::Refused(format!("client id `{client}`: {reason}")));
        }
    };
    let owner = grant.owner;
    let tap = Tap::of_mqtt5(context.state.events(), &owner);
    tap.connecting_mqtt5(&connect);
    let outlet = outlet.of(tap.clone());
    let handling = context.faults.handling(Step::Connect, Some(&owner.device));
    if let Some(Rejection::ConnAck(code)) = handling.rejection {
        refuse(&outlet, code.into()).await;
        return Err(SessionEnd::Fault);
    }
    apply_delay(handling).await?;
    let pause = context.sessions.connect_pause(&owner);
    if !pause.is_zero() {
        warn!(device = %owner.device, ?pause, "device slowed down: it reconnects too often");
        tokio::time::sleep(pause).await;
    }
    let resumed = context.sessions.resume(&owner, connect.clean_start, connect.receive_maximum);
    let asked = Duration::from_secs(connect.session_expiry.into());
    let expiry = asked.min(MAX_SESSION_EXPIRY);
    let acknowledgement = Mqtt5Outbound::ConnAck {
        session_present: resumed.is_present,
        reason: ReasonCode::SUCCESS,
        session_expiry: (expiry < asked).then_some(MAX_SESSION_EXPIRY.as_secs() as u32),
    };
    // Queued before the session opens, so that nothing can precede the CONNACK.
    let again = resumed.again.iter().cloned();
    for packet in std::iter::once(acknowledgement.encode()).chain(again) {
        let sent = outlet.send(packet, Handling::REGULAR).await;
        sent.map_err(|_| SessionEnd::Closed)?;
    }
    if handling.drops_connection() {
        return Err(SessionEnd::Fault);
    }
    let wire = SessionWire::Mqtt5(Mqtt5Wire::new(&resumed, expiry));
    let OpenedSession { serial, ended } = context.sessions.open(&owner, outlet.clone(), wire, 0);
    info!(device = %owner.device, session_present = resumed.is_present, "device connected with MQTT 5");
    let session = Mqtt5Session {
        max_idle: max_idle(connect.keep_alive_seconds),
        context: context.clone(),
        sender: Sender {
            owner: owner.clone(),
            generation: grant.generation,
            model_id: grant.model_id,
        },
        owner,
        serial,
        nonce,
        subscribed: resumed.subscribed,
        admitted: false,
        has_expiry: connect.session_expiry > 0,
        will: connect.will,
        in_flight: Arc::clone(&resumed.in_flight),
        outlet,
        tap,
    };
    Ok((session, ended))
}

async fn refuse(outlet: &Outlet, reason: ReasonCode) {
    let refusal = Mqtt5Outbound::ConnAck { session_present: false, reason, session_expiry: None };
    // The connection may have ended already.
    let _ = outlet.send(refusal.encode(), Handling::REGULAR).await;
}

/// Authenticates the device of a CONNECT. Returns its nonce too.
async fn authenticate(
    context: &SessionContext,
    certificates: PeerCertificates,
    connect: &Mqtt5Connect,
) -> Result<(DeviceGrant, CorrelationId), (ReasonCode, String)> {
    let user = connect.user_name.as_deref().unwrap_or_default();
    let user: Mqtt5UserName =
        user.parse().map_err(|error| (ReasonCode::BAD_USER_NAME, chain(&error).to_string()))?;
    let device = connect.client_id.parse::<DeviceId>();
    let device = device.map_err(|error| error.to_string()).and_then(|device| {
        let fits = Topic::can_contain(&device);
        fits.then_some(device).ok_or_else(|| "a topic cannot contain the device id".to_owned())
    });
    let device = device.map_err(|reason| (ReasonCode::CLIENT_ID_NOT_VALID, reason))?;
    if context.state.profiles().of(&device) == Some(ConnectionProfile::Classic) {
        let reason = "MQTT 5; the connection profile is `classic`";
        return Err((ReasonCode::UNSUPPORTED_VERSION, reason.to_owned()));
    }
    if let Some(will) = &connect.will {
        if will.retain {
            return Err((ReasonCode::RETAIN_NOT_SUPPORTED, "a retained will".to_owned()));
        }
        if !is_telemetry_topic(&will.topic, &device) {
            let topic = json::readable(&will.topic);
            let reason = format!("the will's topic `{topic}` is not the device's telemetry topic");
            return Err((ReasonCode::TOPIC_NAME_INVALID, reason));
        }
    }
    let password = connect.password.as_deref().map(String::from_utf8_lossy);
    let credentials = DeviceCredentials {
        password: password.map(std::borrow::Cow::into_owned),
        certificates,
        authorities: context.authorities.clone(),
    };
    let granted = on_disk(&context.state, move |state| {
        state.authenticate_certificate(&device, &credentials, now_unix())
    });
    let grant = granted.await.map_err(|refusal| match refusal {
        DeviceRefusal::NotAuthorized(reason) => (ReasonCode::NOT_AUTHORIZED, reason),
        DeviceRefusal::Unavailable(reason) => (ReasonCode::SERVER_UNAVAILABLE, reason),
    })?;
    Ok((grant, user.nonce))
}

impl From<Refused> for ReasonCode {
    fn from(refused: Refused) -> ReasonCode {
        match refused {
            Refused::Protocol => ReasonCode::UNSUPPORTED_VERSION,
            Refused::ClientId => ReasonCode::CLIENT_ID_NOT_VALID,
            Refused::Unavailable => ReasonCode::SERVER_UNAVAILABLE,
            Refused::Password => ReasonCode::BAD_USER_NAME,
            Refused::NotAuthorized => ReasonCode::NOT_AUTHORIZED,
        }
    }
}
