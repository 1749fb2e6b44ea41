//! Ports of the hub: TLS and the detection of MQTT and HTTPS.
//!
//! Every TLS port serves MQTT and HTTPS. The first decrypted byte determines the protocol. The
//! CONNECT port supports clients with a fixed host name or port: it accepts a plain HTTP
//! CONNECT to any target and serves the client itself.

use std::error::Error;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::BytesMut;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use protocol::topic::WEBSOCKET_PATH;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::device_api;
use crate::endpoints::{Clients, Endpoints};
use crate::peer::Peer;
use crate::provisioning_api::DroppedConnection;
use crate::rest::{Rest, called_device, decode_slashes, invoke_directly};
use crate::session::{SessionContext, serve};
use crate::websocket::ConnectionPermit;

/// Time limit for a TLS handshake, a CONNECT or the head of the first HTTP request.
const GREETING_TIMEOUT: Duration = Duration::from_secs(20);

/// Time limit for the head of each further request, and so for an idle connection. It is longer than
/// clients keep one, since a client that sends while the hub closes cannot tell whether its request
/// was served: reqwest and Go keep one for 90 s, .NET for up to 120 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(150);

/// Maximum size of the head of an HTTP CONNECT.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// First byte of an MQTT connection: the packet type CONNECT.
const MQTT_CONNECT: u8 = 0x10;

/// Parts of the hub that all connections share.
#[derive(Clone)]
pub(crate) struct Listener {
    pub(crate) context: SessionContext,
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) rest: Arc<Rest>,
    pub(crate) router: Router,
    pub(crate) tls: TlsAcceptor,
    /// Permits for further connections.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// Start of a connection, before MQTT or HTTPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// A TLS handshake.
    Tls,
    /// An HTTP CONNECT, then a TLS handshake.
    Connect,
}

impl Listener {
    /// Accepts connections until the hub stops.
    pub(crate) async fn run(self, socket: TcpListener, greeting: Greeting) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = socket.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // The process is probably out of file descriptors. The pause gives
                    // connections time to close.
                    warn!(%error, "connection not accepted");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
                warn!("connection closed: the limit of open connections is reached");
                continue;
            };
            let permit = ConnectionPermit(Arc::new(permit));
            // During an outage, every connection is closed immediately.
            let Some(mut outages) = self.context.faults.outages() else { continue };
            let listener = self.clone();
            self.tasks.spawn(async move {
                let stop = listener.stop.clone();
                tokio::select! {
                    () = stop.cancelled() => {}
                    _ = outages.changed() => {}
                    () = listener.serve_logged(stream, greeting, permit) => {}
                }
            });
        }
    }

    async fn serve_logged(self, stream: TcpStream, greeting: Greeting, permit: ConnectionPermit) {
        if let Err(error) = self.serve_connection(stream, greeting, permit).await {
            debug!(%error, "connection ended");
        }
    }

    async fn serve_connection(
        self,
        mut stream: TcpStream,
        greeting: Greeting,
        permit: ConnectionPermit,
    ) -> io::Result<()> {
        // Packets are small and latency matters more than throughput.
        stream.set_nodelay(true)?;
        let (stream, first) = timeout(GREETING_TIMEOUT, async {
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
        let (socket, connection) = stream.get_ref();
        let address = socket.local_addr().ok().map(|address| address.ip());
        let peer = Peer::new(connection, address, greeting == Greeting::Connect);
        let (reader, writer) = tokio::io::split(stream);
        let reader = io::Cursor::new(first).chain(reader);
        let clients = self.endpoints.clients(peer.server_name.as_deref());
        if byte == MQTT_CONNECT {
            if clients == Clients::Services {
                return Err(io::Error::other("a device at the host name for services"));
            }
            serve(self.context, peer, reader, writer).await;
            return Ok(());
        }
        self.serve_http(tokio::io::join(reader, writer), permit, peer, clients).await
    }

    async fn serve_http(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        permit: ConnectionPermit,
        peer: Peer,
        clients: Clients,
    ) -> io::Result<()> {
        let (rest, router) = (self.rest, TowerToHyperService::new(self.router));
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let mut request = decode_slashes(request.map(Body::new));
            let answer = if !is_served(clients, request.uri().path()) {
                Answer::UnknownPath
            } else if let Some(id) = called_device(&request) {
                Answer::OfMethod(invoke_directly(Arc::clone(&rest), id, request))
            } else {
                request.extensions_mut().insert(permit.clone());
                request.extensions_mut().insert(peer.clone());
                Answer::OfRouter(router.call(request))
            };
            async {
                let response = match answer {
                    Answer::UnknownPath => return Ok(StatusCode::NOT_FOUND.into_response()),
                    Answer::OfMethod(invoked) => return Ok(invoked.await),
                    Answer::OfRouter(routed) => routed.await.map_err(io::Error::other)?,
                };
                match response.extensions().get::<DroppedConnection>() {
                    Some(DroppedConnection) => Err(io::Error::other("ended by a fault")),
                    None => Ok(response),
                }
            }
        });
        serve_requests(stream, service).await
    }
}

/// Serves the requests of a connection. The first one has to arrive within [`GREETING_TIMEOUT`].
async fn serve_requests<S>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    service: S,
) -> io::Result<()>
where
    S: Service<hyper::Request<Incoming>, Response = Response>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let begun = Notify::new();
    let service = service_fn(|request| {
        begun.notify_one();
        service.call(request)
    });
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let served = tokio::select! {
        served = &mut serving => served,
        () = begun.notified() => serving.await,
        () = sleep(GREETING_TIMEOUT) => return Err(io::ErrorKind::TimedOut.into()),
    };
    served.map_err(io::Error::other)
}

/// The answer to a request, in preparation.
enum Answer<M, R> {
    /// No API has this path at this host name.
    UnknownPath,
    OfMethod(M),
    OfRouter(R),
}

/// Returns `true` if a host name for these clients has a path: devices connect by WebSocket or use
/// the paths of messages, and services use all paths but that of WebSocket.
fn is_served(clients: Clients, path: &str) -> bool {
    match clients {
        Clients::All => true,
        Clients::Devices => path == WEBSOCKET_PATH || device_api::serves(path),
        Clients::Services => path != WEBSOCKET_PATH,
    }
}

/// Reads and accepts a `CONNECT host:port HTTP/1.1` with any target.
async fn take_connect<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD_BYTES {
            return Err(io::Error::other("the head of a CONNECT has more than 8192 bytes"));
        }
        // Reads single bytes, since TLS begins right after the head. The head is short
        // and occurs once per connection.
        head.push(stream.read_u8().await?);
    }
    if !head.starts_with(b"CONNECT ") {
        stream
            .write_all(
                b"HTTP/1.1 405 Method Not Allowed\r\nAllow: CONNECT\r\nContent-Length: 0\r\n\r\n",
            )
            .await?;
        return Err(io::Error::other("the CONNECT port accepts CONNECT only"));
    }
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::io::DuplexStream;
    use tokio::time::Instant;

    use super::*;

    /// The longest time for which a common client keeps an idle connection.
    const KEPT_BY_CLIENTS: Duration = Duration::from_secs(120);

    /// Returns a connection to a server that answers each request.
    fn connected() -> DuplexStream {
        let (client, server) = tokio::io::duplex(4096);
        let service = service_fn(async |_| Ok::<_, Infallible>(Response::new(Body::empty())));
        tokio::spawn(serve_requests(server, service));
        client
    }

    async fn ask(client: &mut DuplexStream) {
        client.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            assert!(client.read_buf(&mut answer).await.unwrap() > 0, "closed");
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{answer:?}");
    }

    /// Returns the seconds until the server closes the connection.
    async fn seconds_until_closed(client: &mut DuplexStream) -> u64 {
        let started = Instant::now();
        client.read_to_end(&mut Vec::new()).await.unwrap();
        started.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_request_has_to_arrive_within_the_time_of_a_greeting() {
        for start in ["", "GET / HTTP/1.1\r\nhost:"] {
            let mut client = connected();
            client.write_all(start.as_bytes()).await.unwrap();
            let seconds = seconds_until_closed(&mut client).await;
            assert_eq!(seconds, GREETING_TIMEOUT.as_secs(), "{start}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_lives_longer_than_clients_keep_it() {
        let mut client = connected();
        for _ in 0..3 {
            ask(&mut client).await;
            tokio::time::advance(KEPT_BY_CLIENTS).await;
        }
        ask(&mut client).await;
        assert_eq!(seconds_until_closed(&mut client).await, IDLE_TIMEOUT.as_secs());
    }
}
