//! Incoming packets of a connection, and the ends of a session that its device does not cause.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::SessionEnd;
use crate::mqtt::Malformed;
use crate::sessions::{Ending, Outlet};

/// Time for a device to close its side of an ended connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Incoming packets of a connection.
pub(super) struct Packets<R> {
    reader: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Packets<R> {
    pub(super) fn new(reader: R) -> Packets<R> {
        Packets { reader, buffer: BytesMut::with_capacity(4096) }
    }

    /// Reads until `decode` returns a value, at most until `until`.
    pub(super) async fn read<T>(
        &mut self,
        until: Instant,
        decode: impl Fn(&mut BytesMut) -> Result<Option<T>, Malformed>,
    ) -> Result<T, SessionEnd> {
        loop {
            if let Some(decoded) = decode(&mut self.buffer)? {
                return Ok(decoded);
            }
            match timeout_at(until, self.reader.read_buf(&mut self.buffer)).await {
                Err(_) => return Err(SessionEnd::Silent),
                Ok(Ok(0)) => return Err(SessionEnd::Closed),
                Ok(read) => read?,
            };
        }
    }

    /// Reads the next packet of a session, or returns the end of the session. The device may be
    /// silent for `max_idle`.
    pub(super) async fn next_before<T>(
        &mut self,
        ends: &mut Ends,
        max_idle: Duration,
        decode: impl Fn(&mut BytesMut) -> Result<Option<T>, Malformed>,
    ) -> Result<T, SessionEnd> {
        // Packets that have arrived together need no timers.
        if ends.is_pending()
            && let Some(packet) = decode(&mut self.buffer)?
        {
            return Ok(packet);
        }
        let now = Instant::now();
        let silent = now + max_idle;
        let expires = ends.expires.filter(|expires| *expires < silent);
        if expires.is_some_and(|expires| expires <= now) {
            return Err(ends.current().unwrap_or(SessionEnd::Expired));
        }
        let packet = tokio::select! {
            biased;
            silence = ends.wait() => return Err(match silence {
                Ok(until) => ends.wait_silently(until).await,
                Err(end) => end,
            }),
            packet = self.read(expires.unwrap_or(silent), decode) => packet,
        };
        packet.map_err(|end| match end {
            SessionEnd::Silent if expires.is_some() => SessionEnd::Expired,
            end => end,
        })
    }

    /// Reads and discards data until the device closes the connection. Closing a socket with
    /// unread data resets it, and the device could lose the last packets.
    pub(super) async fn drain(&mut self) {
        let until = Instant::now() + CLOSE_TIMEOUT;
        loop {
            self.buffer.clear();
            match timeout_at(until, self.reader.read_buf(&mut self.buffer)).await {
                Ok(Ok(1..)) => {}
                _ => return,
            }
        }
    }
}

/// The ends of a session that its device does not cause.
pub(super) struct Ends {
    /// `None` for a session that the hub ends only by a fault.
    ended: Option<oneshot::Receiver<Ending>>,
    /// Receives the end of a silence that a fault has caused.
    silenced: watch::Receiver<Option<Instant>>,
    expires: Option<Instant>,
}

impl Ends {
    /// Returns the end that a fault causes: silence, then the loss of the connection.
    pub(super) fn by_faults(outlet: &Outlet) -> Ends {
        Ends { ended: None, silenced: outlet.silenced(), expires: None }
    }

    /// Adds the end by the registry of sessions.
    pub(super) fn or_by(self, ended: oneshot::Receiver<Ending>) -> Ends {
        Ends { ended: Some(ended), ..self }
    }

    /// Adds the expiry of the device's token.
    pub(super) fn or_at(self, expires: Instant) -> Ends {
        Ends { expires: Some(expires), ..self }
    }

    /// Returns `true` if the session has neither ended nor been silenced. Ignores its expiry.
    fn is_pending(&self) -> bool {
        let ended = self.ended.as_ref().is_some_and(|ended| !ended.is_empty());
        !ended && self.silenced.borrow().is_none()
    }

    /// Returns the end of the session if the registry has ended it.
    fn current(&mut self) -> Option<SessionEnd> {
        self.ended.as_mut()?.try_recv().ok().map(SessionEnd::Ended)
    }

    /// Waits until the session ends, or until a fault silences it. Returns the end of the
    /// silence. Ignores the expiry.
    async fn wait(&mut self) -> Result<Instant, SessionEnd> {
        tokio::select! {
            biased;
            end = ended(&mut self.ended) => Err(end),
            until = silence_end(&mut self.silenced) => Ok(until),
        }
    }

    /// Waits until the session ends, at the latest when its silence does.
    async fn wait_silently(&mut self, until: Instant) -> SessionEnd {
        tokio::select! {
            end = ended(&mut self.ended) => end,
            () = sleep_until(until) => SessionEnd::Fault,
        }
    }
}

/// Waits until the registry of sessions ends the session.
async fn ended(ended: &mut Option<oneshot::Receiver<Ending>>) -> SessionEnd {
    match ended {
        Some(ended) => SessionEnd::Ended(ended.await.unwrap_or(Ending::Stopping)),
        None => std::future::pending().await,
    }
}

/// Waits until a fault silences the session, and returns the end of the silence.
async fn silence_end(silenced: &mut watch::Receiver<Option<Instant>>) -> Instant {
    match silenced.wait_for(Option::is_some).await.map(|until| *until) {
        Ok(Some(until)) => until,
        // Unreachable, since the session holds the sender.
        _ => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::{Inbound, decode};
    use tokio::io::AsyncWriteExt as _;
    use tokio::sync::mpsc;

    const PINGREQ: [u8; 2] = [0xC0, 0x00];
    const IDLE: Duration = Duration::from_secs(90);

    fn outlet() -> (Outlet, watch::Sender<Option<Instant>>) {
        let silence = watch::Sender::new(None);
        (Outlet::new(mpsc::channel(1).0, silence.clone()), silence)
    }

    /// Returns packets that have arrived together.
    fn pings(count: usize) -> Packets<std::io::Cursor<Vec<u8>>> {
        Packets::new(std::io::Cursor::new(PINGREQ.repeat(count)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_expires_although_the_device_never_pauses() {
        let expires = Instant::now() + Duration::from_secs(3);
        let mut ends = Ends::by_faults(&outlet().0).or_at(expires);
        let mut packets = Packets::new(tokio::io::repeat(0));
        // Each read finds another packet.
        let decode = |buffer: &mut BytesMut| {
            let arrived = (!buffer.is_empty()).then_some(());
            buffer.clear();
            Ok(arrived)
        };
        for _ in 0..3 {
            packets.next_before(&mut ends, IDLE, decode).await.unwrap();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let end = packets.next_before(&mut ends, IDLE, decode).await.unwrap_err();
        assert!(matches!(end, SessionEnd::Expired), "{end}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_device_is_told_from_an_expired_token() {
        let (_device, reader) = tokio::io::duplex(64);
        let mut packets = Packets::new(reader);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ends = Ends::by_faults(&outlet().0).or_at(at(3600));
        let end = packets.next_before(&mut ends, IDLE, decode).await.unwrap_err();
        assert!(matches!(end, SessionEnd::Silent), "{end}");
        assert_eq!(start.elapsed(), IDLE);

        let mut ends = Ends::by_faults(&outlet().0).or_at(at(100));
        let end = packets.next_before(&mut ends, IDLE, decode).await.unwrap_err();
        assert!(matches!(end, SessionEnd::Expired), "{end}");
        assert_eq!(start.elapsed(), Duration::from_secs(100));
    }

    #[tokio::test(start_paused = true)]
    async fn an_ended_session_processes_none_of_the_packets_that_have_arrived() {
        let (end, ended) = oneshot::channel();
        let mut ends = Ends::by_faults(&outlet().0).or_by(ended);
        let mut packets = pings(3);
        let first = packets.next_before(&mut ends, IDLE, decode).await;
        assert!(matches!(first, Ok(Inbound::PingReq)));
        end.send(Ending::Revoked).unwrap();
        let end = packets.next_before(&mut ends, IDLE, decode).await.unwrap_err();
        assert!(matches!(end, SessionEnd::Ended(Ending::Revoked)), "{end}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silenced_session_ends_with_its_silence() {
        let (outlet, silence) = outlet();
        let mut ends = Ends::by_faults(&outlet);
        let (mut device, reader) = tokio::io::duplex(64);
        device.write_all(&PINGREQ.repeat(2)).await.unwrap();
        let mut packets = Packets::new(reader);
        packets.next_before(&mut ends, IDLE, decode).await.unwrap();
        let start = Instant::now();
        silence.send_replace(Some(start + Duration::from_secs(7)));
        let end = packets.next_before(&mut ends, IDLE, decode).await.unwrap_err();
        assert!(matches!(end, SessionEnd::Fault), "{end}");
        assert_eq!(start.elapsed(), Duration::from_secs(7));
    }
}
