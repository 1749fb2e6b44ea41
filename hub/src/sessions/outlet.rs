//! Way to one connection: its queue of packets, and the switch that silences it.

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use crate::faults::{ConnectionFate, Handling};

/// Switch of a connection: with a time, the hub neither reads nor writes until
/// then, and drops the connection.
type Silence = watch::Sender<Option<Instant>>;

/// Way to one connection. The connection's writer ends when all its outlets are
/// dropped, so an outlet is not held while waiting for something else.
#[derive(Clone)]
pub(crate) struct Outlet {
    queue: mpsc::Sender<Bytes>,
    silence: Silence,
}

/// Failure to queue a packet: the connection has ended, or, without waiting,
/// its queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotQueued;

impl Outlet {
    pub(crate) fn new(queue: mpsc::Sender<Bytes>, silence: Silence) -> Outlet {
        Outlet { queue, silence }
    }

    /// Queues a packet as `handling` says, waiting for room. A packet that
    /// others may overtake is sent later by a task of its own. Dropping the
    /// connection is left to the caller.
    pub(crate) async fn send(&self, packet: Bytes, handling: Handling) -> Result<(), NotQueued> {
        if handling.overtaken {
            let outlet = self.clone();
            tokio::spawn(async move {
                sleep(handling.delay).await;
                // The connection may have ended meanwhile.
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
        }
        self.silence_if(handling.connection);
        Ok(())
    }

    /// Queues a packet without waiting; the delay of `handling` is over already.
    pub(crate) fn try_send(&self, packet: &Bytes, handling: Handling) -> Result<(), NotQueued> {
        for _ in 0..handling.copies {
            self.queue.try_send(packet.clone()).map_err(|_| NotQueued)?;
        }
        self.silence_if(handling.connection);
        Ok(())
    }

    /// Silences the connection if a fault asks for it.
    pub(crate) fn silence_if(&self, fate: ConnectionFate) {
        if let ConnectionFate::Silenced(time) = fate {
            self.silence.send_replace(Some(Instant::now() + time));
        }
    }

    /// Returns notifications of silence.
    pub(crate) fn silenced(&self) -> watch::Receiver<Option<Instant>> {
        self.silence.subscribe()
    }

    /// Returns whether the connection is silent.
    pub(crate) fn is_silent(&self) -> bool {
        self.silence.borrow().is_some()
    }
}
