//! A proxy that outlives the hub, for clients with hard-coded ports.
//!
//! While a hub restarts, its CONNECT port is closed briefly. The Python device SDK
//! reconnects within milliseconds, and treats a proxy that refuses the connection as a
//! permanent error. A real hub has no such proxy, so the rig solves this and not the hub.
//!
//! The relay's port stays open, and the relay answers a CONNECT immediately. It buffers the
//! following bytes until the hub runs, and then forwards them to the hub's CONNECT port
//! until either side closes the connection.

use std::io;
use std::net::Ipv4Addr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The answer of the relay and the hub to a CONNECT.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// The maximum size of the head of a CONNECT or of its answer, in bytes.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// A proxy that listens until it is dropped.
pub(crate) struct Relay {
    port: u16,
    /// The CONNECT port of the hub, or `None` while the hub is stopped.
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

    /// Returns the port for clients.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Sets the CONNECT port of the hub, or `None` while the hub is stopped.
    pub(crate) fn set_hub(&self, hub: Option<u16>) {
        self.hub.send_replace(hub);
    }
}

async fn listen(listener: TcpListener, running: watch::Receiver<Option<u16>>) {
    // Dropping the set closes every connection.
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let running = running.clone();
        connections.spawn(async move {
            // An error closes both connections, so the client detects it.
            forward(client, running).await.ok();
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn forward(
    mut client: TcpStream,
    mut running: watch::Receiver<Option<u16>>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    let request = head(&mut client).await?;
    client.write_all(ESTABLISHED).await?;

    let port = *running.wait_for(Option::is_some).await.map_err(io::Error::other)?;
    let mut hub = TcpStream::connect((Ipv4Addr::LOCALHOST, port.unwrap_or_default())).await?;
    hub.set_nodelay(true)?;
    hub.write_all(&request).await?;
    if head(&mut hub).await? != ESTABLISHED {
        return Err(io::Error::other("the hub refuses the CONNECT"));
    }

    let ((mut from_client, mut to_client), (mut from_hub, mut to_hub)) =
        (client.split(), hub.split());
    tokio::select! {
        sent = copy(&mut from_client, &mut to_hub) => sent?,
        received = copy(&mut from_hub, &mut to_client) => received?,
    };
    Ok(())
}

/// Reads up to the empty line. Reads single bytes, since the following bytes belong to TLS.
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
