//! Packets that wait to be written to one connection.
//!
//! A task joins queued packets into as few writes as possible, so that a burst
//! of methods costs few TLS records.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, timeout};

use crate::sessions::QUEUE_PACKETS;

/// The largest write, unless a single packet is larger.
const WRITE_BYTES: usize = 16 * 1024;

/// Time for queued packets to leave when the session is over.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// Queue of packets and the task that writes it.
pub(super) struct Outbox {
    queue: mpsc::Sender<Bytes>,
    task: JoinHandle<()>,
}

impl Outbox {
    /// Starts to write until the queue is closed. Once `silent` has a time,
    /// packets are discarded.
    pub(super) fn start<W: AsyncWrite + Unpin + Send + 'static>(
        writer: W,
        silent: watch::Receiver<Option<Instant>>,
    ) -> Outbox {
        let (queue, packets) = mpsc::channel(QUEUE_PACKETS);
        Outbox { queue, task: tokio::spawn(write(packets, writer, silent)) }
    }

    /// Returns a sender of the queue.
    pub(super) fn queue(&self) -> mpsc::Sender<Bytes> {
        self.queue.clone()
    }

    /// Writes the queued packets and closes the connection. Gives up after
    /// [`LAST_WRITES`], or if another sender of the queue is still alive then.
    pub(super) async fn finish(self) {
        drop(self.queue);
        let mut task = self.task;
        if timeout(LAST_WRITES, &mut task).await.is_err() {
            task.abort();
        }
    }
}

async fn write<W: AsyncWrite + Unpin>(
    mut packets: mpsc::Receiver<Bytes>,
    mut writer: W,
    silent: watch::Receiver<Option<Instant>>,
) {
    let mut batch = BytesMut::with_capacity(WRITE_BYTES);
    while let Some(first) = packets.recv().await {
        batch.extend_from_slice(&first);
        while batch.len() < WRITE_BYTES {
            let Ok(next) = packets.try_recv() else { break };
            batch.extend_from_slice(&next);
        }
        if silent.borrow().is_some() {
            batch.clear();
            continue;
        }
        let written = async {
            writer.write_all(&batch).await?;
            writer.flush().await
        };
        // The reader notices a broken connection too, and ends the session.
        if written.await.is_err() {
            return;
        }
        batch.clear();
    }
    if silent.borrow().is_some() {
        return;
    }
    // A broken connection cannot be closed, and need not be.
    let _ = writer.shutdown().await;
}
