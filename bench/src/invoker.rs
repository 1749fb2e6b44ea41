//! Invokes methods as fast as the answers come: the load of every measurement.
//!
//! It writes HTTP by hand, because a client of general use would take more of
//! the machine than some of the devices that it is to measure. Each connection
//! is kept and carries one request at a time.

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

/// What a token may live: longer than a run.
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone)]
pub(crate) struct Invoker {
    tls: TlsConnector,
    port: u16,
    token: Arc<str>,
}

/// A method to be invoked: the bytes of the whole request.
pub(crate) type Request = Arc<[u8]>;

/// One connection to the hub's REST API.
pub(crate) struct Line {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

/// How a measurement went.
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

    /// A request that waits up to a minute for the device to come and to answer.
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

    pub(crate) async fn connect(&self) -> anyhow::Result<Line> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("`localhost` is a name");
        let stream = self.tls.connect(name, stream).await?;
        Ok(Line { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Opens connections, a few at a time.
    pub(crate) async fn lines(&self, count: usize) -> anyhow::Result<Vec<Line>> {
        let mut lines = Vec::with_capacity(count);
        while lines.len() < count {
            let some = (count - lines.len()).min(64);
            let mut opening = JoinSet::new();
            for _ in 0..some {
                let invoker = self.clone();
                opening.spawn(async move { invoker.connect().await });
            }
            while let Some(line) = opening.join_next().await {
                lines.push(line??);
            }
        }
        Ok(lines)
    }

    /// Keeps as many calls in flight as there are lines, for some time. The
    /// requests are taken in turn.
    pub(crate) async fn load(
        lines: &mut Vec<Line>,
        requests: &Arc<[Request]>,
        time: Duration,
    ) -> anyhow::Result<Load> {
        let begun = Instant::now();
        let mut running = JoinSet::new();
        let count = lines.len();
        for (index, mut line) in lines.drain(..).enumerate() {
            let requests = Arc::clone(requests);
            running.spawn(async move {
                let mut times = Times::default();
                let mut next = index;
                while begun.elapsed() < time {
                    let asked = Instant::now();
                    line.ask(&requests[next % requests.len()]).await?;
                    times.push(asked.elapsed());
                    next += count;
                }
                anyhow::Ok((line, times))
            });
        }
        let mut times = Times::default();
        while let Some(done) = running.join_next().await {
            let (line, some) = done??;
            lines.push(line);
            times.extend(some);
        }
        Ok(Load { times, elapsed: begun.elapsed() })
    }

    /// One call on each line, all at once; gives when the last was answered.
    pub(crate) async fn burst(lines: &mut Vec<Line>, request: &Request) -> anyhow::Result<Load> {
        let begun = Instant::now();
        let mut running = JoinSet::new();
        for mut line in lines.drain(..) {
            let request = Arc::clone(request);
            running.spawn(async move {
                line.ask(&request).await?;
                anyhow::Ok((line, begun.elapsed()))
            });
        }
        let mut times = Times::default();
        while let Some(done) = running.join_next().await {
            let (line, time) = done??;
            lines.push(line);
            times.push(time);
        }
        Ok(Load { times, elapsed: begun.elapsed() })
    }
}

impl Line {
    /// Sends a request and reads the answer of the device, whose status must be 200.
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
        let length: usize = length.context("an answer without a length")?.trim().parse()?;
        while self.buffer.len() < head + length {
            self.more().await?;
        }
        let (head, body) = self.buffer.split_at(head);
        let body = std::str::from_utf8(body)?;
        if !head.starts_with(b"HTTP/1.1 200") || !body.starts_with(r#"{"status":200,"#) {
            bail!("answered {} {body}", String::from_utf8_lossy(head).lines().next().unwrap_or(""));
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

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
