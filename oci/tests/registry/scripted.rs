//! A registry whose answers a test writes, for everything that a real one does not do.

use std::sync::{Arc, Mutex};

use behaviour_oci::registry::{Client, ClientSettings};
use behaviour_oci::{Descriptor, Reference};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A request that the server has received.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    /// Returns the value of a header, in lower case in the request.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// An answer of the server.
pub(crate) struct Reply {
    /// The complete response, also a malformed one.
    bytes: Vec<u8>,
    then: Then,
}

/// The end of an answer.
#[derive(Clone, Copy)]
enum Then {
    Close,
    /// The connection stays open without further bytes.
    Stall,
    /// Bytes are sent until the client closes the connection.
    Flood,
}

/// Returns a complete answer.
pub(crate) fn reply(status: u16, headers: &[&str], body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let length = format!("content-length: {}", body.len());
    raw(status, &[headers, &[&*length]].concat(), body)
}

/// Returns an answer without a length unless `headers` has one.
pub(crate) fn raw(status: u16, headers: &[&str], body: impl AsRef<[u8]>) -> Reply {
    let mut head = format!("HTTP/1.1 {status} Scripted\r\nconnection: close\r\n");
    headers.iter().for_each(|header| head += &format!("{header}\r\n"));
    Reply { bytes: [head.as_bytes(), b"\r\n", body.as_ref()].concat(), then: Then::Close }
}

impl Reply {
    /// Returns the end of the connection without an answer.
    pub(crate) fn nothing() -> Reply {
        Reply::bytes(b"")
    }

    /// Returns an answer that may not be HTTP.
    pub(crate) fn bytes(bytes: &[u8]) -> Reply {
        Reply { bytes: bytes.to_owned(), then: Then::Close }
    }

    /// Returns the same answer.
    pub(crate) fn again(&self) -> Reply {
        Reply { bytes: self.bytes.clone(), then: self.then }
    }

    pub(crate) fn then_stall(self) -> Reply {
        Reply { then: Then::Stall, ..self }
    }

    pub(crate) fn then_flood(self) -> Reply {
        Reply { then: Then::Flood, ..self }
    }
}

/// A server on a free port, until it is dropped.
pub(crate) struct Scripted {
    /// Host and port.
    pub(crate) name: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

impl Scripted {
    /// Starts a server. The script gets each request and the number of those before it.
    pub(crate) async fn start(
        script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static,
    ) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let name = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let (script, all) = (Arc::new(script), Arc::clone(&asked));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (script, all) = (Arc::clone(&script), Arc::clone(&all));
                connections.spawn(async move {
                    // The client may close the connection at any time.
                    let _ = serve(stream, &*script, &all).await;
                });
            }
        });
        Scripted { name, asked, _tasks: tasks }
    }

    /// Returns the requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Returns the reference of an image on this server: `HOST:PORT/a/b` and `rest`.
    pub(crate) fn image(&self, rest: &str) -> Reference {
        format!("{}/a/b{rest}", self.name).parse().unwrap()
    }

    /// Returns settings that use this server without TLS and give up soon.
    pub(crate) fn settings(&self) -> ClientSettings {
        ClientSettings {
            plain_http: vec![self.name.clone()],
            retries: 1,
            ..ClientSettings::default()
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.settings()).unwrap()
    }
}

async fn serve(
    stream: TcpStream,
    script: &(dyn Fn(&Asked, usize) -> Reply + Send + Sync),
    all: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
    let mut asked = Asked { method, path, headers: Vec::new(), body: String::new() };
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        match line.trim().split_once(": ") {
            Some((name, value)) => asked.headers.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    asked.body = String::from_utf8_lossy(&body).into_owned();
    let number = {
        let mut all = all.lock().unwrap();
        all.push(asked.clone());
        all.len() - 1
    };
    let reply = script(&asked, number);
    let stream = stream.get_mut();
    stream.write_all(&reply.bytes).await?;
    match reply.then {
        Then::Close => stream.shutdown().await,
        Then::Stall => std::future::pending().await,
        Then::Flood => loop {
            stream.write_all(&[b'x'; 4096]).await?;
        },
    }
}

/// Returns content of some length, and its descriptor.
pub(crate) fn content(length: usize) -> (Vec<u8>, Descriptor) {
    let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
    let blob = Descriptor::of("application/wasm", &bytes);
    (bytes, blob)
}
