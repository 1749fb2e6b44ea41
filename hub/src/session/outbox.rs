//! Queue of outgoing packets of a connection.
//!
//! A task combines queued packets into large writes, so that a burst of methods needs few
//! TLS records.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, timeout};

use crate::sessions::QUEUE_PACKETS;

/// Size at which a batch of packets is written.
const WRITE_BYTES: usize = 16 * 1024;

/// Time limit for writing the queued packets at the end of the session.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// A queue of packets and the task that writes them.
pub(super) struct Outbox {
    queue: mpsc::Sender<Bytes>,
    task: JoinHandle<()>,
}

impl Outbox {
    /// Starts the task, which writes until the queue is closed. Discards packets once
    /// `silent` is set.
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

    /// Writes the queued packets and closes the connection. Aborts after [`FLUSH_TIMEOUT`],
    /// even if other senders of the queue exist.
    pub(super) async fn finish(self) {
        drop(self.queue);
        let mut task = self.task;
        if timeout(FLUSH_TIMEOUT, &mut task).await.is_err() {
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
        // The reader also notices the broken connection and ends the session.
        if written.await.is_err() {
            return;
        }
        batch.clear();
    }
    if silent.borrow().is_some() {
        return;
    }
    // Fails if the connection is already broken.
    let _ = writer.shutdown().await;
}
