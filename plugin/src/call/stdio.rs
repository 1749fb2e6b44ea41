//! Standard output and standard error, which write lines to the plugin's log.

use super::log::CallLog;
use crate::Level;
use bytes::Bytes;
use parking_lot::Mutex;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Maximum number of bytes per write.
const CHUNK_BYTES: usize = 64 * 1024;

/// Output stream that writes lines to the log.
#[derive(Clone)]
pub(super) struct LogStream(Arc<Mutex<LineBuffer>>);

/// Incomplete line of a stream.
struct LineBuffer {
    log: Arc<CallLog>,
    level: Level,
    bytes: Vec<u8>,
}

impl LogStream {
    pub(super) fn new(log: &Arc<CallLog>, level: Level) -> LogStream {
        let line = LineBuffer { log: Arc::clone(log), level, bytes: Vec::new() };
        LogStream(Arc::new(Mutex::new(line)))
    }

    fn append(&self, bytes: &[u8]) {
        self.0.lock().append(bytes);
    }
}

impl LineBuffer {
    fn append(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            // One byte more than the limit, so that the log marks the line as truncated.
            let room = (self.log.line_bytes() + 1).saturating_sub(self.bytes.len());
            self.bytes.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        let text = String::from_utf8_lossy(&self.bytes);
        self.log.write(self.level, text.strip_suffix('\r').unwrap_or(&text), Vec::new());
        self.bytes.clear();
    }
}

/// Writes the last line even if it is incomplete: it often contains the reason for a
/// failure.
impl Drop for LineBuffer {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.end();
        }
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    // `async_stream` would write in a separate task, which can run after the call has
    // trapped.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK_BYTES)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl AsyncWrite for LogStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.append(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
