//! HTTP listener for a program that collects metrics, such as Prometheus.
//!
//! It serves `GET /metrics` on a loopback address, without TLS and without sign-in. Each
//! connection carries one request and has a time limit, so a client that neither sends nor
//! reads is disconnected.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::{MEDIA_TYPE, MetricsText};

/// Maximum number of connections at the same time; further ones wait.
const MAX_CONNECTIONS: usize = 4;

/// Time limit of a connection. Prometheus waits for 10 s by default.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

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
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = Arc::clone(&connections).acquire_owned().await;
        match listener.accept().await {
            Ok((client, _)) => {
                let metrics = Arc::clone(&metrics);
                tokio::spawn(async move {
                    connection(client, &metrics).await;
                    drop(permit);
                });
            }
            Err(error) => {
                warn!("metrics: {error}");
                // Usually the process has no free file descriptors.
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Serves one request.
async fn connection(client: TcpStream, metrics: &MetricsText) {
    let answer =
        service_fn(|request| async move { Ok::<_, Infallible>(answer(&request, metrics)) });
    let mut builder = http1::Builder::new();
    // The time limit below includes the head.
    builder.keep_alive(false).max_buf_size(HEAD_BYTES).header_read_timeout(None);
    let serving = builder.serve_connection(TokioIo::new(client), answer);
    match timeout(CONNECTION_TIMEOUT, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!("connection for metrics ended: {error}"),
        Err(_) => {
            let limit = CONNECTION_TIMEOUT;
            warn!(?limit, "client of the metrics disconnected: it did not read");
        }
    }
}

fn answer<B>(request: &Request<B>, metrics: &MetricsText) -> Response<Full<Bytes>> {
    let (status, header, body) = match (request.method(), request.uri().path()) {
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

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
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
        client.write_all(format!("{request}\r\nhost: h\r\n\r\n").as_bytes()).await.unwrap();
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

    /// Clients that send nothing, and clients that read nothing, keep all connections. Paused
    /// time passes only while everybody waits.
    #[tokio::test(start_paused = true)]
    async fn clients_that_never_send_or_read_do_not_keep_others_out() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(Kept(Arc::clone(&lines)));
        let _default = tracing::subscriber::set_default(subscriber);
        let address = serving("x".repeat(16 << 20)).await;
        let mut stalled = Vec::new();
        for number in 0..2 * MAX_CONNECTIONS {
            let mut client = TcpStream::connect(address).await.unwrap();
            if number % 2 == 0 {
                client.write_all(b"GET /metrics HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
            }
            stalled.push(client);
        }
        let answer = ask(address, "GET / HTTP/1.1").await;
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
        for mut client in stalled {
            // The host has closed the connection, maybe with unread bytes.
            client.read_to_end(&mut Vec::new()).await.ok();
        }
        let line = "client of the metrics disconnected: it did not read".to_owned();
        assert_eq!(*lines.lock(), vec![line; 2 * MAX_CONNECTIONS], "one line for each of them");
    }
}
