//! A proxy that outlives the hub: where clients with hard-wired ports connect.
//!
//! A hub that is restarted leaves its CONNECT port closed for a moment, and the
//! Python device SDK, which is back within milliseconds of a loss, takes a proxy
//! that refuses it for an error that is final. A hub of its own has no proxy
//! before it, so this is the test's trouble and not the hub's.
//!
//! The relay's port stays open. A CONNECT is answered at once; what follows
//! waits until the hub runs, goes through the hub's own CONNECT port, and ends
//! when either side does.

use std::io;
use std::net::Ipv4Addr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What a CONNECT is answered with, by the relay and by the hub.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// The longest head of a CONNECT, or of its answer.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// Listens until it is dropped.
pub(crate) struct Relay {
    port: u16,
    /// The CONNECT port of the hub while it runs.
    hub: watch::Sender<Option<u16>>,
    _tasks: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn start() -> Relay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (hub, running) = watch::channel(None);
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(listener, running));
        Relay { port, hub, _tasks: tasks }
    }

    /// Where clients connect.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The hub takes connections on this port from now on; `None`: it does not.
    pub(crate) fn lead_to(&self, hub: Option<u16>) {
        self.hub.send_replace(hub);
    }
}

async fn listen(listener: TcpListener, running: watch::Receiver<Option<u16>>) {
    // Dropped with the listener, and with them every connection.
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let running = running.clone();
        connections.spawn(async move {
            // Whatever ends it, both sides are closed, as the test wants them.
            carry(client, running).await.ok();
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn carry(mut client: TcpStream, mut running: watch::Receiver<Option<u16>>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let asked = head(&mut client).await?;
    client.write_all(ESTABLISHED).await?;

    let port = *running.wait_for(Option::is_some).await.map_err(io::Error::other)?;
    let mut hub = TcpStream::connect((Ipv4Addr::LOCALHOST, port.unwrap_or_default())).await?;
    hub.set_nodelay(true)?;
    hub.write_all(&asked).await?;
    if head(&mut hub).await? != ESTABLISHED {
        return Err(io::Error::other("the hub does not take the CONNECT"));
    }

    let ((mut from_client, mut to_client), (mut from_hub, mut to_hub)) =
        (client.split(), hub.split());
    tokio::select! {
        sent = copy(&mut from_client, &mut to_hub) => sent?,
        received = copy(&mut from_hub, &mut to_client) => received?,
    };
    Ok(())
}

/// Everything up to the empty line, byte by byte: what follows is TLS's.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD_BYTES {
            return Err(io::Error::other("the head is too long"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}
