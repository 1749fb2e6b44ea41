//! A closed WASI 0.2, for plugins of toolchains that always import it.
//!
//! Its clocks are those that the host lends, virtual ones included; random
//! numbers are real. Standard output and standard error go
//! line by line into the plugin's log. There are no files, no environment, no
//! arguments, no standard input and no sockets: those interfaces can be
//! imported, but have nothing behind them.

use crate::call::log::CallLog;
use crate::call::state::CallState;
use crate::{Clock, Level};
use bytes::Bytes;
use jiff::Timestamp;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::time::Instant;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};

/// What a guest hands over at once at most.
const CHUNK_BYTES: usize = 64 * 1024;

/// Streams and timers that a guest may hold at once. Each lives in the host's
/// memory, which the limit on the guest's own does not see.
const RESOURCES: usize = 1000;

pub(crate) struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
}

impl Wasi {
    pub(crate) fn new(log: &Arc<CallLog>, clock: &Arc<dyn Clock>) -> Wasi {
        let ctx = WasiCtx::builder()
            .wall_clock(Wall(Arc::clone(clock)))
            .monotonic_clock(Monotonic(Instant::now()))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .stdout(Lines::new(log, Level::Info))
            .stderr(Lines::new(log, Level::Warn))
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        Wasi { ctx, table }
    }

    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.as_mut().expect("only a plugin that imports WASI is linked to it");
        WasiCtxView { ctx: &mut wasi.ctx, table: &mut wasi.table }
    }
}

/// The time, as the host has it.
struct Wall(Arc<dyn Clock>);

impl HostWallClock for Wall {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        self.0.now().duration_since(Timestamp::UNIX_EPOCH).try_into().unwrap_or_default()
    }
}

/// The time since the call began, by the clock of its timers: a guest whose
/// timer has rung must see that its time has gone by, though it is virtual.
struct Monotonic(Instant);

impl HostMonotonicClock for Monotonic {
    fn resolution(&self) -> u64 {
        1
    }

    // A second more, because Go refuses a clock that reads zero.
    fn now(&self) -> u64 {
        (self.0.elapsed() + Duration::from_secs(1)).as_nanos().try_into().unwrap_or(u64::MAX)
    }
}

/// A stream whose lines go to the log.
#[derive(Clone)]
struct Lines(Arc<Mutex<Line>>);

struct Line {
    log: Arc<CallLog>,
    level: Level,
    bytes: Vec<u8>,
}

impl Lines {
    fn new(log: &Arc<CallLog>, level: Level) -> Lines {
        Lines(Arc::new(Mutex::new(Line { log: Arc::clone(log), level, bytes: Vec::new() })))
    }

    fn take(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
    }
}

impl Line {
    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            // One byte more than a line has, so that the log sees it was cut.
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

/// A last line without an end is the one that tells why the guest gave up.
impl Drop for Line {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.end();
        }
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    // Not by way of the one above, which would write in a task of its own, after
    // a trap has ended the call.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
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
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Lines {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
