//! The load generator, which invokes methods as fast as the answers arrive.
//!
//! HTTP is handwritten, since a general-purpose client would use more processor time than
//! some of the measured devices. Each connection stays open and carries one request at a
//! time.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use trust::Trust;

use crate::hub::Hub;
use crate::numbers::Times;

/// The lifetime of the token, which exceeds the duration of a run.
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A client of the hub's REST API.
#[derive(Clone)]
pub(crate) struct Invoker {
    tls: TlsConnector,
    port: u16,
    token: Arc<str>,
}

/// The bytes of a complete request that invokes a method.
pub(crate) type Request = Arc<[u8]>;

/// A connection to the hub's REST API.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

/// The result of a measurement.
pub(crate) struct Load {
    pub(crate) times: Times,
    pub(crate) elapsed: Duration,
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        self.times.count() as f64 / self.elapsed.as_secs_f64()
    }
}

impl Invoker {
    pub(crate) fn new(hub: &Hub) -> anyhow::Result<Invoker> {
        let mut trust = Trust::of_system();
        trust.add_file(hub.ca_file().as_ref())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let expiry = (now + TOKEN_LIFETIME).as_secs();
        let service = &hub.service;
        let policy = Some(service.policy.as_str());
        let token = protocol::sas::sign(&service.host.to_string(), policy, &service.key, expiry);
        Ok(Invoker {
            tls: TlsConnector::from(Arc::new(trust.into_client_config()?)),
            port: service.host.port().context("the hub has a port")?,
            token: token.to_string().into(),
        })
    }

    /// Returns a request that waits up to a minute for the device to connect, and up to a
    /// minute for its answer.
    pub(crate) fn request(&self, device: &str, method: &str, payload: &str) -> Request {
        let body = format!(
            r#"{{"methodName":"{method}","payload":{payload},"responseTimeoutInSeconds":60,"connectTimeoutInSeconds":60}}"#
        );
        let text = format!(
            "POST /twins/{device}/methods?api-version=2021-04-12 HTTP/1.1\r\n\
             Host: localhost:{}\r\nAuthorization: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.port,
            self.token,
            body.len()
        );
        text.into_bytes().into()
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("`localhost` is a name");
        let stream = self.tls.connect(name, stream).await?;
        Ok(Connection { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Opens connections, 64 at a time.
    pub(crate) async fn connections(&self, count: usize) -> anyhow::Result<Vec<Connection>> {
        let mut connections = Vec::with_capacity(count);
        while connections.len() < count {
            let some = (count - connections.len()).min(64);
            let mut opening = JoinSet::new();
            for _ in 0..some {
                let invoker = self.clone();
                opening.spawn(async move { invoker.connect().await });
            }
            while let Some(connection) = opening.join_next().await {
                connections.push(connection??);
            }
        }
        Ok(connections)
    }

    /// Keeps one call in flight on each connection for the duration `time`. Cycles through the
    /// requests.
    pub(crate) async fn load(
        connections: &mut Vec<Connection>,
        requests: &Arc<[Request]>,
        time: Duration,
    ) -> anyhow::Result<Load> {
        let started = Instant::now();
        let mut running = JoinSet::new();
        let count = connections.len();
        for (index, mut connection) in connections.drain(..).enumerate() {
            let requests = Arc::clone(requests);
            running.spawn(async move {
                let mut times = Times::default();
                let mut next = index;
                while started.elapsed() < time {
                    let sent = Instant::now();
                    connection.ask(&requests[next % requests.len()]).await?;
                    times.push(sent.elapsed());
                    next += count;
                }
                anyhow::Ok((connection, times))
            });
        }
        let mut times = Times::default();
        while let Some(done) = running.join_next().await {
            let (connection, some) = done??;
            connections.push(connection);
            times.extend(some);
        }
        Ok(Load { times, elapsed: started.elapsed() })
    }

    /// Makes one call on each connection at the same time.
    pub(crate) async fn burst(
        connections: &mut Vec<Connection>,
        request: &Request,
    ) -> anyhow::Result<Load> {
        let started = Instant::now();
        let mut running = JoinSet::new();
        for mut connection in connections.drain(..) {
            let request = Arc::clone(request);
            running.spawn(async move {
                connection.ask(&request).await?;
                anyhow::Ok((connection, started.elapsed()))
            });
        }
        let mut times = Times::default();
        while let Some(done) = running.join_next().await {
            let (connection, time) = done??;
            connections.push(connection);
            times.push(time);
        }
        Ok(Load { times, elapsed: started.elapsed() })
    }
}

impl Connection {
    /// Sends a request and returns the answer of the device, whose status must be 200.
    pub(crate) async fn ask(&mut self, request: &Request) -> anyhow::Result<String> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let text = std::str::from_utf8(&self.buffer[..head])?;
        let length = text.to_ascii_lowercase();
        let length = length.split("content-length:").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.context("the answer has no content length")?.trim().parse()?;
        while self.buffer.len() < head + length {
            self.more().await?;
        }
        let (head, body) = self.buffer.split_at(head);
        let body = std::str::from_utf8(body)?;
        if !head.starts_with(b"HTTP/1.1 200") || !body.starts_with(r#"{"status":200,"#) {
            bail!(
                "the answer is {} {body}",
                String::from_utf8_lossy(head).lines().next().unwrap_or("")
            );
        }
        Ok(body.to_owned())
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the hub closed the connection");
        }
        Ok(())
    }
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len()).position(|window| window == pattern)
}
