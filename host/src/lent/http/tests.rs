//! Tests of requests to real servers on this machine.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hyper::StatusCode;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::router::tests::{answer, router_in};

/// The guest's statuses for two cases of `error-code`: 500 and the index of the case.
const TLS_CERTIFICATE_ERROR: i32 = 500 + 13;
const INTERNAL_ERROR: i32 = 500 + 38;

/// A TLS server on this machine that always returns the same response.
struct Server {
    address: SocketAddr,
    folder: TempDir,
}

impl Server {
    async fn start(response: fn() -> Response<Full<Bytes>>) -> Server {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(socket) = acceptor.accept(socket).await else { return };
                    let service = service_fn(move |_| async move {
                        Ok::<_, std::convert::Infallible>(response())
                    });
                    let _ = server::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Server { address, folder }
    }

    /// Returns the host name and port.
    fn name(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// Returns the answer of a plugin that sends a request to this server.
    async fn asked(&self, settings: &str) -> (i32, Value) {
        ask(self.folder.path(), &self.name(), settings).await
    }
}

/// Returns the answer of a plugin that sends a request to `host`. `http_settings` is TOML for its
/// section `http`.
async fn ask(folder: &Path, host: &str, http_settings: &str) -> (i32, Value) {
    let settings = format!(
        "methods = [\"*\"]\ncapabilities = [\"http\"]\n[plugins.p.http]\nhosts = [{host:?}]\n{http_settings}\n"
    );
    let router = router_in(folder, "fetches.wat", &settings);
    answer(&router, "ask", &format!("{host:?}")).await
}

fn hello() -> Response<Full<Bytes>> {
    Response::new(Full::from("\"hello\""))
}

const TRUSTED: &str = "ca_file = \"ca.pem\"";

#[test]
fn every_path_has_an_origin_form() {
    for (path, expected) in [
        ("/a?b=c", "/a?b=c"),
        ("?q", "/?q"),
        ("//a/b", "//a/b"),
        ("*", "*"),
        ("/:80", "/:80"),
        ("", "/"),
    ] {
        let uri = Uri::builder().scheme("https").authority("localhost").path_and_query(path);
        assert_eq!(origin_form(&uri.build().unwrap()).to_string(), expected, "{path:?}");
    }
}

#[tokio::test]
async fn a_plugin_receives_the_response_of_a_server_over_tls() {
    let server = Server::start(hello).await;
    assert_eq!(server.asked(TRUSTED).await, (200, json!("hello")));
}

#[tokio::test]
async fn no_request_is_sent_to_an_untrusted_server() {
    let server = Server::start(hello).await;
    let other = Server::start(hello).await;
    let (status, _) = ask(other.folder.path(), &server.name(), TRUSTED).await;
    assert_eq!(status, TLS_CERTIFICATE_ERROR);
}

#[tokio::test]
async fn a_redirect_is_returned_to_the_plugin() {
    let server = Server::start(|| {
        let response = Response::builder().status(StatusCode::FOUND);
        response.header("location", "https://evil.org/").body(Full::from("\"there\"")).unwrap()
    })
    .await;
    assert_eq!(server.asked(TRUSTED).await, (302, json!("there")));
}

#[tokio::test]
async fn a_response_that_is_too_long_is_an_error_that_names_the_host() {
    let server = Server::start(|| Response::new(Full::from(vec![b'1'; 2000]))).await;
    let (status, text) = server.asked(&format!("{TRUSTED}\nresponse_bytes = 1000")).await;
    assert_eq!(status, INTERNAL_ERROR);
    assert_eq!(text, "`localhost`: the response has more than 1000 bytes");
}

/// The guest's statuses for cases of `request-error`: 500 and the index of the case.
const TOO_LARGE: i32 = 500 + 3;
const UNREACHABLE: i32 = 500 + 4;
const NOT_TRUSTED: i32 = 500 + 5;
const TIMED_OUT: i32 = 500 + 6;

/// Returns the answer of a plugin that sends a request to `url`, a scheme with a host, through
/// `device:behaviour/http`. `http_settings` is TOML for its section `http`.
async fn request(folder: &Path, url: &str, http_settings: &str) -> (i32, Value) {
    let settings = format!(
        "methods = [\"*\"]\ncapabilities = [\"http\"]\n[plugins.p.http]\nhosts = [{url:?}]\n{http_settings}\n"
    );
    let router = router_in(folder, "requests.wat", &settings);
    answer(&router, "ask", &format!("{url:?}")).await
}

#[tokio::test]
async fn a_plugin_without_wasi_receives_responses_and_the_causes_of_errors() {
    let server = Server::start(hello).await;
    let url = format!("https://{}", server.name());
    let folder = server.folder.path();
    assert_eq!(request(folder, &url, TRUSTED).await, (200, json!("hello")));

    let other = Server::start(hello).await;
    assert_eq!(request(other.folder.path(), &url, TRUSTED).await.0, NOT_TRUSTED);
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (status, text) = request(folder, &format!("https://{unused}"), "").await;
    assert_eq!(status, UNREACHABLE, "{text}");
    let large = Server::start(|| Response::new(Full::from(vec![b'1'; 2000]))).await;
    let url = format!("https://{}", large.name());
    let limited = format!("{TRUSTED}\nresponse_bytes = 1000");
    assert_eq!(request(large.folder.path(), &url, &limited).await.0, TOO_LARGE);
}

/// Returns the URL of a server whose responses never end. With `stalls`, it sends one chunk only.
async fn endless(stalls: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                let mut sent = socket.write_all(head).await;
                while sent.is_ok() {
                    sent = socket.write_all(b"5\r\n11111\r\n").await;
                    if stalls {
                        std::future::pending::<()>().await;
                    }
                }
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_response_without_end_is_bounded_in_size_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let (status, text) =
        request(folder.path(), &endless(false).await, "response_bytes = 1000").await;
    assert_eq!(status, TOO_LARGE);
    assert_eq!(text, "`127.0.0.1`: the response has more than 1000 bytes");

    let slow = endless(true).await;
    let (status, text) = request(folder.path(), &slow, "timeout = \"200ms\"").await;
    assert_eq!(status, TIMED_OUT);
    assert!(text.as_str().unwrap().ends_with("has not answered within 200ms"), "{text}");
}

#[tokio::test]
async fn an_unreachable_server_is_an_error_that_names_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (status, text) = ask(folder.path(), &format!("localhost:{}", unused.port()), "").await;
    assert_eq!(status, INTERNAL_ERROR);
    assert!(text.as_str().unwrap().starts_with("`localhost` ("), "{text}");
}

#[tokio::test]
async fn a_host_that_only_matches_a_pattern_must_not_be_in_a_private_network() {
    let server = Server::start(hello).await;
    let request = Request::get(format!("https://{}/", server.name())).body(Bytes::new()).unwrap();
    let ca_file = server.folder.path().join("ca.pem");
    let request = |may_be_private| HttpRequest {
        request: request.clone(),
        response_bytes: 1000,
        may_be_private,
        ca_file: Some(&ca_file),
    };

    let error = Http::default().send(request(false)).await.unwrap_err();
    assert!(matches!(error, HttpError::Denied(_)), "{error}");
    assert!(error.to_string().starts_with("`localhost` is in a private network"), "{error}");
    assert_eq!(Http::default().send(request(true)).await.unwrap().status(), 200);
}

#[tokio::test]
async fn at_most_64_requests_are_sent_at_the_same_time() {
    const REQUESTS: usize = MAX_REQUESTS + 16;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // The server answers a request only when the test asks for an answer.
    let (open, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (opened, answer) = (Arc::clone(&open), Arc::clone(&answers));
    let (arrived, mut arrivals) = tokio::sync::mpsc::channel(REQUESTS);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            arrived.send(opened.fetch_add(1, Relaxed) + 1).await.unwrap();
            let (opened, answer) = (Arc::clone(&opened), Arc::clone(&answer));
            tokio::spawn(async move {
                let service = service_fn(|_| async {
                    answer.acquire().await.unwrap().forget();
                    opened.fetch_sub(1, Relaxed);
                    Ok::<_, std::convert::Infallible>(hello())
                });
                let _ =
                    server::Builder::new().serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    let http = Http::default();
    let mut sending = tokio::task::JoinSet::new();
    for _ in 0..REQUESTS {
        let http = http.clone();
        sending.spawn(async move {
            let request = Request::get(format!("http://{address}/")).body(Bytes::new()).unwrap();
            let (response_bytes, may_be_private, ca_file) = (1000, true, None);
            http.send(HttpRequest { request, response_bytes, may_be_private, ca_file }).await
        });
    }

    let walk = async {
        for request in 1..=REQUESTS {
            assert!(arrivals.recv().await.unwrap() <= MAX_REQUESTS);
            if request >= MAX_REQUESTS {
                assert_eq!(http.requests.available_permits(), 0);
                answers.add_permits(1);
            }
        }
        answers.add_permits(REQUESTS);
        while let Some(sent) = sending.join_next().await {
            assert_eq!(sent.unwrap().unwrap().status(), 200);
        }
    };
    tokio::time::timeout(Duration::from_secs(60), walk).await.unwrap();
    assert_eq!(http.requests.available_permits(), MAX_REQUESTS);
}

#[test]
fn addresses_outside_the_public_internet_are_recognised_in_every_form() {
    for private in [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "2001:db8::1",
    ] {
        assert!(is_private(private.parse().unwrap()), "{private}");
    }
    for public in ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1"] {
        assert!(!is_private(public.parse().unwrap()), "{public}");
    }
}
