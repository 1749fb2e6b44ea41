//! CONNECT and its answer: who may come in.

use std::time::Duration;

use protocol::user_name::UserName;
use tokio::io::AsyncRead;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use super::outbox::Outbox;
use super::{CONNECT_PATIENCE, LONGEST_SILENCE, Over, Packets, Session, Shared, on_disk};
use crate::faults::{Effect, Refused, Step};
use crate::mqtt::{ConnAckCode, Connect, Inbound, Outbound};
use crate::sessions::{Ending, Opened};
use crate::state::{DeviceGrant, Refusal};

/// Waits for the CONNECT, checks it, answers it.
pub(super) async fn accept<R: AsyncRead + Unpin>(
    shared: &Shared,
    packets: &mut Packets<R>,
    outbox: &Outbox,
    silence: watch::Sender<Option<Instant>>,
) -> Result<(Session, oneshot::Receiver<Ending>), Over> {
    let connect = match packets.next(Instant::now() + CONNECT_PATIENCE).await? {
        Inbound::Connect(connect) => connect,
        _ => return Err(Over::Misused("a packet before CONNECT".into())),
    };
    let grant = match admit(shared, &connect).await {
        Ok(grant) => grant,
        Err((code, reason)) => {
            info!(client_id = %connect.client_id.escape_debug(), %reason, "device refused");
            let refusal = Outbound::ConnAck { session_present: false, code };
            // The connection may be gone already.
            let _ = outbox.queue().send(refusal.encode()).await;
            return Err(Over::Refused(reason));
        }
    };
    let fault = shared.sessions.faults.at(Step::Connect, Some(&grant.device));
    match fault {
        Some(Effect::DropBefore) => return Err(Over::Fault),
        Some(Effect::Delay(time)) => tokio::time::sleep(time).await,
        Some(Effect::HalfOpen(time)) => {
            tokio::time::sleep(time).await;
            return Err(Over::Fault);
        }
        Some(Effect::Refuse(code)) => {
            let refusal = Outbound::ConnAck { session_present: false, code: code.into() };
            // The connection may be gone already.
            let _ = outbox.queue().send(refusal.encode()).await;
            return Err(Over::Fault);
        }
        _ => {}
    }
    let pause = shared.sessions.calm(&grant.device);
    if !pause.is_zero() {
        warn!(device = %grant.device, "reconnects many times a second; slowed down");
        tokio::time::sleep(pause).await;
    }
    let clean = connect.clean_session;
    let device = grant.device.clone();
    let filters = on_disk(&shared.state, move |state| {
        if clean {
            state.set_subscriptions(&device, &[]);
        }
        state.connected(&device, true);
        state.subscriptions(&device)
    })
    .await;
    let acknowledgement =
        Outbound::ConnAck { session_present: !filters.is_empty(), code: ConnAckCode::Accepted };
    // Queued before the session opens, so that no method comes before it.
    outbox.queue().send(acknowledgement.encode()).await.map_err(|_| Over::Closed)?;
    if fault == Some(Effect::DropAfter) {
        return Err(Over::Fault);
    }
    let live = filters.iter().map(|(filter, _)| filter.clone()).collect();
    let (silent, token_until) = (silence.clone(), grant.expires_unix);
    let Opened { serial, ended } =
        shared.sessions.open(&grant.device, outbox.queue(), live, silent, token_until);
    info!(device = %grant.device, clean, kept = filters.len(), "device connected");
    let session = Session {
        patience: patience(connect.keep_alive_seconds),
        expires: expiry(&grant, shared.token_grace),
        shared: shared.clone(),
        device: grant.device,
        serial,
        clean,
        filters,
        will: connect.will,
        queue: outbox.queue(),
        silence,
    };
    Ok((session, ended))
}

/// Holds a CONNECT against what the hub knows. Code 5 is final for some
/// clients, so it is only for what will not change by itself.
async fn admit(shared: &Shared, connect: &Connect) -> Result<DeviceGrant, (ConnAckCode, String)> {
    let refused = |reason: String| (ConnAckCode::NotAuthorized, reason);
    if connect.level != 4 {
        let reason = format!("protocol level {}, not 4", connect.level);
        return Err((ConnAckCode::UnacceptableProtocol, reason));
    }
    let text = connect.user_name.as_deref().ok_or_else(|| refused("no user name".into()))?;
    let user: UserName = text.parse().map_err(|error| refused(super::chain(&error)))?;
    if user.client_id() != connect.client_id {
        return Err(refused("the client id is not the user name's".into()));
    }
    let password = connect.password.clone();
    let granted = on_disk(&shared.state, move |state| {
        state.authenticate_device(&user, password.as_deref(), now_unix())
    });
    let grant = granted.await.map_err(|refusal| match refusal {
        Refusal::NotAuthorized(_) => refused(refusal.to_string()),
        Refusal::Unavailable(_) => (ConnAckCode::ServerUnavailable, refusal.to_string()),
    })?;
    if shared.sessions.faults.has_expired(&grant.device, grant.expires_unix) {
        return Err(refused("a fault has let its token expire".into()));
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

/// One and a half times the keep-alive, as MQTT asks.
fn patience(keep_alive_seconds: u16) -> Duration {
    match keep_alive_seconds {
        0 => LONGEST_SILENCE,
        seconds => LONGEST_SILENCE.min(Duration::from_secs(seconds.into()).mul_f64(1.5)),
    }
}

/// When the token's grace is over, on the clock that waits.
fn expiry(grant: &DeviceGrant, grace: Duration) -> Instant {
    let left = grant.expires_unix.saturating_sub(now_unix());
    // Past some decades the clock cannot count; nobody waits for it.
    let left = Duration::from_secs(left.min(10 * 365 * 86_400)).saturating_add(grace);
    Instant::now() + left
}

fn now_unix() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default()
}
