//! Handle for sending packets to a connection.

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::Tap;
use crate::faults::{ConnectionFate, Handling};

/// End of a silence that a fault has caused. Until then, the hub neither reads nor writes; then
/// it drops the connection.
type Silence = watch::Sender<Option<Instant>>;

/// Handle for sending packets to a connection. The writer of the connection ends when all of
/// its outlets are dropped, so an outlet must not be held longer than necessary.
#[derive(Clone)]
pub(crate) struct Outlet {
    queue: mpsc::Sender<Bytes>,
    silence: Silence,
    tap: Option<Tap>,
}

/// Error for a packet that cannot be queued. The connection has ended or, for
/// [`Outlet::try_send`], the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotQueued;

impl Outlet {
    pub(crate) fn new(queue: mpsc::Sender<Bytes>, silence: Silence) -> Outlet {
        Outlet { queue, silence, tap: None }
    }

    /// Returns the outlet of an authenticated device, whose packets are published.
    pub(crate) fn of(self, tap: Tap) -> Outlet {
        Outlet { tap: Some(tap), ..self }
    }

    /// Publishes a packet that is being sent.
    fn publish(&self, packet: &Bytes) {
        if let Some(tap) = &self.tap {
            tap.sent(packet);
        }
    }

    /// Queues a packet with the given handling, and waits while the queue is full. A separate
    /// task sends a packet that later ones may overtake. The caller must drop the connection if
    /// `handling` requires it.
    pub(crate) async fn send(&self, packet: Bytes, handling: Handling) -> Result<(), NotQueued> {
        if handling.overtaken {
            let outlet = self.clone();
            tokio::spawn(async move {
                sleep(handling.delay).await;
                // Fails if the connection has ended in the meantime.
                let _ = outlet.send_now(packet, handling).await;
            });
            return Ok(());
        }
        if !handling.delay.is_zero() {
            sleep(handling.delay).await;
        }
        self.send_now(packet, handling).await
    }

    async fn send_now(&self, packet: Bytes, handling: Handling) -> Result<(), NotQueued> {
        for _ in 0..handling.copies {
            self.queue.send(packet.clone()).await.map_err(|_| NotQueued)?;
            self.publish(&packet);
        }
        self.silence_if(handling.connection);
        Ok(())
    }

    /// Queues a packet without waiting. Ignores the delay of `handling`.
    pub(crate) fn try_send(&self, packet: &Bytes, handling: Handling) -> Result<(), NotQueued> {
        for _ in 0..handling.copies {
            self.queue.try_send(packet.clone()).map_err(|_| NotQueued)?;
            self.publish(packet);
        }
        self.silence_if(handling.connection);
        Ok(())
    }

    /// Silences the connection if `fate` is [`ConnectionFate::Silenced`].
    pub(crate) fn silence_if(&self, fate: ConnectionFate) {
        if let ConnectionFate::Silenced(time) = fate {
            self.silence.send_replace(Some(Instant::now() + time));
        }
    }

    /// Returns a receiver that is notified when the connection is silenced.
    pub(crate) fn silenced(&self) -> watch::Receiver<Option<Instant>> {
        self.silence.subscribe()
    }

    /// Returns `true` if the connection is silent.
    pub(crate) fn is_silent(&self) -> bool {
        self.silence.borrow().is_some()
    }
}
