//! Opening of the hub's ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

use crate::config::StartError;
use crate::listener::Greeting;

/// Opens a port; 0 selects a free one. Returns the socket and its port.
pub(crate) async fn bind(
    address: IpAddr,
    port: u16,
    purpose: &'static str,
) -> Result<(TcpListener, u16), StartError> {
    let address = SocketAddr::new(address, port);
    let failed = |source| StartError::Listen { address, purpose, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    Ok((listener, port))
}

/// Opens the ports of `sockets` on `::1` as well if `address` is 127.0.0.1. Skips those that are
/// in use.
pub(crate) async fn bind_ipv6(
    address: IpAddr,
    sockets: &[(TcpListener, Greeting)],
) -> Vec<(TcpListener, Greeting)> {
    let mut opened = Vec::new();
    if address != IpAddr::V4(Ipv4Addr::LOCALHOST) {
        return opened;
    }
    for (socket, greeting) in sockets {
        let Ok(address) = socket.local_addr() else { continue };
        let address = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), address.port());
        match TcpListener::bind(address).await {
            Ok(socket) => opened.push((socket, *greeting)),
            Err(error) => tracing::info!(%address, %error, "port not opened for IPv6"),
        }
    }
    opened
}
