//! What waits to be written to one connection.
//!
//! A task writes the queue in as few writes as there is work for, so that a
//! burst of methods costs few TLS records.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, timeout};

use crate::sessions::QUEUE_PACKETS;

/// The largest write, unless a single packet is larger.
const WRITE_BYTES: usize = 16 * 1024;

/// How long what is queued may take to leave when the session is over.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// The queue and the task that writes it.
pub(super) struct Outbox {
    queue: mpsc::Sender<Bytes>,
    task: JoinHandle<()>,
}

impl Outbox {
    /// Writes until the queue is closed. Once `silent` has a time, it only
    /// empties the queue.
    pub(super) fn start<W: AsyncWrite + Unpin + Send + 'static>(
        writer: W,
        silent: watch::Receiver<Option<Instant>>,
    ) -> Outbox {
        let (queue, packets) = mpsc::channel(QUEUE_PACKETS);
        Outbox { queue, task: tokio::spawn(write(packets, writer, silent)) }
    }

    pub(super) fn queue(&self) -> mpsc::Sender<Bytes> {
        self.queue.clone()
    }

    /// Writes what is queued and closes the connection; every other sender of
    /// the queue must be gone, or time runs out.
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
        // The reader sees a broken connection too, and ends the session.
        if written.await.is_err() {
            return;
        }
        batch.clear();
    }
    if silent.borrow().is_some() {
        return;
    }
    // A connection that is gone needs no closing.
    let _ = writer.shutdown().await;
}
