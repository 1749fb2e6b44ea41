//! Sockets: who comes, what they speak, and when they must go.
//!
//! Every TLS port speaks MQTT and HTTPS: the first decrypted byte tells. The
//! CONNECT port is for clients that insist on a host name or a port of their
//! own: it takes a plain HTTP CONNECT to anywhere and is itself what they reach.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bytes::BytesMut;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::session::{Shared, serve};

/// How long a TLS handshake, a CONNECT or an HTTP header may take.
const GREETING_PATIENCE: Duration = Duration::from_secs(20);

/// The largest head of an HTTP CONNECT.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// The first byte of MQTT: the type CONNECT.
const MQTT_CONNECT: u8 = 0x10;

/// What every connection needs.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) shared: Shared,
    pub(crate) router: Router,
    pub(crate) tls: TlsAcceptor,
    /// Connections that may be open at once.
    pub(crate) places: Arc<Semaphore>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// What a port greets its clients with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// TLS at once.
    Tls,
    /// An HTTP CONNECT, then TLS.
    Connect,
}

impl Front {
    /// Accepts connections until the hub stops.
    pub(crate) async fn listen(self, listener: TcpListener, greeting: Greeting) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: give some time back.
                    warn!(%error, "connection not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                warn!("too many connections; one was closed");
                continue;
            };
            // A hub that acts as if it were restarted takes nobody.
            let Some(mut outages) = self.shared.sessions.faults.outages() else { continue };
            let front = self.clone();
            self.tasks.spawn(async move {
                let stop = front.stop.clone();
                tokio::select! {
                    () = stop.cancelled() => {}
                    _ = outages.changed() => {}
                    () = front.greet(stream, greeting) => {}
                }
                drop(place);
            });
        }
    }

    async fn greet(self, stream: TcpStream, greeting: Greeting) {
        if let Err(error) = self.converse(stream, greeting).await {
            debug!(%error, "connection ended");
        }
    }

    async fn converse(self, mut stream: TcpStream, greeting: Greeting) -> io::Result<()> {
        // Answers are small and waited for.
        stream.set_nodelay(true)?;
        let (stream, first) = timeout(GREETING_PATIENCE, async {
            if greeting == Greeting::Connect {
                take_connect(&mut stream).await?;
            }
            let mut stream = self.tls.accept(stream).await?;
            let mut first = BytesMut::with_capacity(4096);
            stream.read_buf(&mut first).await?;
            Ok::<_, io::Error>((stream, first.freeze()))
        })
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
        let Some(byte) = first.first().copied() else { return Ok(()) };
        let (reader, writer) = tokio::io::split(stream);
        let reader = io::Cursor::new(first).chain(reader);
        if byte == MQTT_CONNECT {
            serve(self.shared, reader, writer).await;
            return Ok(());
        }
        self.http(tokio::io::join(reader, writer)).await
    }

    async fn http(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> io::Result<()> {
        let service = TowerToHyperService::new(self.router);
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(GREETING_PATIENCE)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await
            .map_err(io::Error::other)
    }
}

/// Reads `CONNECT host:port HTTP/1.1` and says yes: wherever it leads, the
/// client ends here.
async fn take_connect<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD_BYTES {
            return Err(io::Error::other("the head of a CONNECT is too long"));
        }
        // Byte by byte: what follows the head is TLS's. It is a few hundred
        // bytes, once a connection.
        head.push(stream.read_u8().await?);
    }
    if !head.starts_with(b"CONNECT ") {
        stream
            .write_all(
                b"HTTP/1.1 405 Method Not Allowed\r\nAllow: CONNECT\r\nContent-Length: 0\r\n\r\n",
            )
            .await?;
        return Err(io::Error::other("the CONNECT port takes CONNECT only"));
    }
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await
}
