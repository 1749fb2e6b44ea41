//! Packets of a session with the handling that a fault prescribes.

use bytes::Bytes;

use super::SessionEnd;
use crate::faults::{ConnectionFate, Handling};
use crate::sessions::Outlet;

/// Sends a packet.
pub(super) async fn send(
    outlet: &Outlet,
    packet: Bytes,
    handling: Handling,
) -> Result<(), SessionEnd> {
    outlet.send(packet, handling).await.map_err(|_| SessionEnd::Closed)?;
    if handling.drops_connection() { Err(SessionEnd::Fault) } else { Ok(()) }
}

/// Applies `handling` to an incoming packet. Returns `true` if the packet is to be processed.
pub(super) async fn receive(outlet: &Outlet, handling: Handling) -> Result<bool, SessionEnd> {
    if !handling.delay.is_zero() {
        tokio::time::sleep(handling.delay).await;
    }
    outlet.silence_if(handling.connection);
    match handling.connection {
        ConnectionFate::Dropped if handling.copies == 0 => Err(SessionEnd::Fault),
        _ => Ok(handling.copies > 0),
    }
}
