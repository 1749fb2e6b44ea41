//! HTTP listener for a program that collects metrics, such as Prometheus.
//!
//! It serves `GET /metrics` on a loopback address, without TLS and without sign-in. Each
//! connection carries one request and has a time limit, so a client that neither sends nor
//! reads is disconnected. If many clients wait, those that have not sent their request give way to
//! new ones. A request whose `host` names another machine is refused, since a browser sends it for a
//! web page whose name resolves to this address (DNS rebinding).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use protocol::host_name::HostName;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{MEDIA_TYPE, MetricsText};

/// Maximum number of clients that are answered at the same time; further ones wait.
const MAX_ANSWERS: usize = 4;

/// Maximum number of clients that send their request or wait for their answer.
const MAX_WAITING: usize = 16;

/// Time limit for the head of a request, which a client on the same machine sends at once.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// Time limit for an answer. Prometheus waits for 10 s by default.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Time between two lines of the log about clients that were disconnected.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Maximum size of the head of a request, in bytes.
const HEAD_BYTES: usize = 16 * 1024;

/// Wait before another attempt to listen. Another program may have the port for a while.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Serves metrics until the future is dropped. A port that is not available is no reason for a
/// host to end, so it is tried again.
pub(crate) async fn serve(address: SocketAddr, metrics: MetricsText) {
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => warn!(%address, "metrics cannot be served, tried again: {error}"),
        }
        sleep(RETRY_AFTER).await;
    };
    let address = listener.local_addr().unwrap_or(address);
    info!(%address, "metrics served");
    accept(listener, metrics).await;
}

async fn accept(listener: TcpListener, metrics: MetricsText) {
    let clients = Arc::new(Clients {
        metrics,
        answers: Arc::new(Semaphore::new(MAX_ANSWERS)),
        waiting: Mutex::default(),
        reported: Mutex::default(),
    });
    for id in 0.. {
        match listener.accept().await {
            Ok((client, _)) => {
                clients.make_room();
                // Locked before the task can look for its entry.
                let mut waiting = clients.waiting.lock();
                let serving = tokio::spawn(connection(client, id, Arc::clone(&clients)));
                let end = serving.abort_handle();
                waiting.push_back(Waiting { id, has_sent: false, end });
            }
            Err(error) => {
                warn!("metrics: {error}");
                // Usually the process has no free file descriptors.
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// The clients of a listener.
struct Clients {
    metrics: MetricsText,
    /// A permit for each answer.
    answers: Arc<Semaphore>,
    /// The clients without an answer, in the order of their connections.
    waiting: Mutex<VecDeque<Waiting>>,
    /// The times of the last lines of the log about each fault.
    reported: Mutex<[Option<Instant>; 2]>,
}

/// A client that sends its request, or waits for the answer.
struct Waiting {
    id: u64,
    has_sent: bool,
    end: AbortHandle,
}

/// The reason why a client was disconnected.
#[derive(Debug, Clone, Copy)]
enum ClientFault {
    DidNotSend,
    DidNotRead,
}

impl Clients {
    /// Disconnects a client if too many wait, preferably one that has not sent its request.
    fn make_room(&self) {
        let mut waiting = self.waiting.lock();
        waiting.retain(|client| !client.end.is_finished());
        if waiting.len() < MAX_WAITING {
            return;
        }
        let silent = waiting.iter().position(|client| !client.has_sent);
        if let Some(client) = waiting.remove(silent.unwrap_or(0)) {
            client.end.abort();
        }
        drop(waiting);
        if silent.is_some() {
            self.report(ClientFault::DidNotSend);
        }
    }

    /// Waits for the permit to answer a client, which has sent its request.
    async fn permit(&self, id: u64) -> OwnedSemaphorePermit {
        if let Some(client) = self.waiting.lock().iter_mut().find(|client| client.id == id) {
            client.has_sent = true;
        }
        let permit = Arc::clone(&self.answers).acquire_owned().await;
        self.waiting.lock().retain(|client| client.id != id);
        permit.expect("the semaphore is never closed")
    }

    /// Logs the fault of a client, unless another one had it recently.
    fn report(&self, fault: ClientFault) {
        let now = Instant::now();
        let last = &mut self.reported.lock()[fault as usize];
        if last.is_some_and(|last| now - last < REPORT_INTERVAL) {
            return;
        }
        *last = Some(now);
        match fault {
            ClientFault::DidNotSend => {
                let limit = HEAD_TIMEOUT;
                warn!(?limit, "client of the metrics disconnected: it did not send its request");
            }
            ClientFault::DidNotRead => {
                let limit = ANSWER_TIMEOUT;
                warn!(?limit, "client of the metrics disconnected: it did not read");
            }
        }
    }
}

/// Serves one request.
async fn connection(client: TcpStream, id: u64, clients: Arc<Clients>) {
    let (sent, permitted) = (CancellationToken::new(), CancellationToken::new());
    // The permit is kept until the answer is sent.
    let permit = Mutex::new(None);
    let (clients, sent, permitted, permit) = (&*clients, &sent, &permitted, &permit);
    let service = service_fn(move |request| async move {
        sent.cancel();
        *permit.lock() = Some(clients.permit(id).await);
        permitted.cancel();
        Ok::<_, Infallible>(answer(&request, &clients.metrics))
    });
    let mut builder = http1::Builder::new();
    // The time limits below include the head.
    builder.keep_alive(false).max_buf_size(HEAD_BYTES).header_read_timeout(None);
    let serving = builder.serve_connection(TokioIo::new(client), service);
    let limit = async {
        match timeout(HEAD_TIMEOUT, sent.cancelled()).await {
            Err(_) => ClientFault::DidNotSend,
            Ok(()) => {
                // The time limit of the clients before it is that of the wait.
                permitted.cancelled().await;
                sleep(ANSWER_TIMEOUT).await;
                ClientFault::DidNotRead
            }
        }
    };
    tokio::select! {
        served = serving => {
            if let Err(error) = served {
                debug!("connection for metrics ended: {error}");
            }
        }
        fault = limit => clients.report(fault),
    }
}

fn answer<B>(request: &Request<B>, metrics: &MetricsText) -> Response<Full<Bytes>> {
    let (status, header, body) = match (request.method(), request.uri().path()) {
        _ if !is_for_loopback(request) => {
            let body = "the host of the request is not a loopback address\n".to_owned();
            (StatusCode::MISDIRECTED_REQUEST, (CONTENT_TYPE, "text/plain"), body)
        }
        (&Method::GET | &Method::HEAD, "/metrics") => {
            (StatusCode::OK, (CONTENT_TYPE, MEDIA_TYPE), metrics())
        }
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, (ALLOW, "GET, HEAD"), String::new()),
        _ => (StatusCode::NOT_FOUND, (CONTENT_TYPE, "text/plain"), "see /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let (name, value) = header;
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

/// Returns `true` if the host of a request is `localhost` or a loopback address, with any port, or
/// if it names none, as no browser does. The port may be that of a tunnel.
fn is_for_loopback<B>(request: &Request<B>) -> bool {
    let fields = request.headers().get_all(HOST).iter().map(|it| it.to_str().unwrap_or_default());
    let of_uri = request.uri().authority().map(|it| it.as_str());
    fields.chain(of_uri).all(|text| {
        text.parse::<HostName>().is_ok_and(|host| {
            host.name().eq_ignore_ascii_case("localhost")
                || host.name().parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        })
    })
}

#[cfg(test)]
mod tests {
    use program::EventFields;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tracing::{Event, Level, Subscriber};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    use super::*;

    /// Layer that keeps the warnings.
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            if *event.metadata().level() == Level::WARN {
                self.0.lock().push(EventFields::of(event).message);
            }
        }
    }

    /// Starts to serve a text, and returns the address.
    async fn serving(text: String) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(accept(listener, Arc::new(move || text.clone())));
        address
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(format!("{request}\r\nhost: localhost:9\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_text_is_served_on_one_path_to_one_method() {
        let address = serving("a 1\n# EOF\n".to_owned()).await;
        let answer = ask(address, "GET /metrics HTTP/1.1").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: application/openmetrics-text;"), "{answer}");
        assert!(answer.ends_with("\r\n\r\na 1\n# EOF\n"), "{answer}");
        let answer = ask(address, "POST /metrics HTTP/1.1").await;
        assert!(answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{answer}");
        let answer = ask(address, "GET / HTTP/1.1").await;
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_request_for_another_host_is_refused() {
        let address = serving("a 1\n# EOF\n".to_owned()).await;
        let status = async |lines: &str| {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(format!("GET {lines}\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer[9..12].to_owned()
        };
        for host in ["127.0.0.1:9464", "LOCALHOST", "[::1]:80", "127.9.9.9"] {
            assert_eq!(
                status(&format!("/metrics HTTP/1.1\r\nhost: {host}")).await,
                "200",
                "{host}"
            );
        }
        assert_eq!(status("/metrics HTTP/1.0").await, "200");
        for host in ["evil.example", "localhost.evil.example", "192.168.0.1", "u@localhost", ""] {
            assert_eq!(
                status(&format!("/metrics HTTP/1.1\r\nhost: {host}")).await,
                "421",
                "{host}"
            );
        }
        let two = "/metrics HTTP/1.1\r\nhost: localhost\r\nhost: evil.example";
        assert_ne!(status(two).await, "200");
        let absolute = "http://evil.example/metrics HTTP/1.1\r\nhost: localhost";
        assert_eq!(status(absolute).await, "421");
    }

    #[tokio::test]
    async fn clients_that_do_not_send_their_request_give_way_to_new_ones() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(Kept(Arc::clone(&lines)));
        let _default = tracing::subscriber::set_default(subscriber);
        let address = serving("a 1\n# EOF\n".to_owned()).await;
        let mut silent = Vec::new();
        for _ in 0..2 * MAX_WAITING {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(b"GET /met").await.unwrap();
            silent.push(client);
        }
        let answer = ask(address, "GET /metrics HTTP/1.1").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let line = "client of the metrics disconnected: it did not send its request";
        assert_eq!(*lines.lock(), [line], "one line about all of them");
    }

    /// Clients that send nothing are disconnected soon, and those that read nothing later. Paused
    /// time passes only while everybody waits.
    #[tokio::test(start_paused = true)]
    async fn clients_that_never_send_or_read_do_not_keep_others_out() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(Kept(Arc::clone(&lines)));
        let _default = tracing::subscriber::set_default(subscriber);
        let address = serving("x".repeat(16 << 20)).await;
        let mut stalled = Vec::new();
        for number in 0..2 * MAX_ANSWERS {
            let mut client = TcpStream::connect(address).await.unwrap();
            if number % 2 == 0 {
                client
                    .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
                    .await
                    .unwrap();
            }
            stalled.push(client);
        }
        let answer = ask(address, "GET / HTTP/1.1").await;
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
        for mut client in stalled {
            // The host has closed the connection, maybe with unread bytes.
            client.read_to_end(&mut Vec::new()).await.ok();
        }
        let faults = ["it did not send its request", "it did not read"];
        let expected = faults.map(|it| format!("client of the metrics disconnected: {it}"));
        assert_eq!(*lines.lock(), expected, "one line for each fault");
    }
}
