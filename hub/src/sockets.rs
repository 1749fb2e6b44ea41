//! Opening of the hub's ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

use crate::config::{HubConfig, StartError};
use crate::listener::Greeting;

/// The open ports of a hub.
pub(crate) struct Sockets {
    pub(crate) sockets: Vec<(TcpListener, Greeting)>,
    pub(crate) mqtt_port: u16,
    pub(crate) https_port: u16,
    pub(crate) connect_port: Option<u16>,
}

impl Sockets {
    /// Opens the ports of a configuration.
    pub(crate) async fn open(config: &HubConfig) -> Result<Sockets, StartError> {
        let address = config.address;
        let (mqtt, mqtt_port) = bind(address, config.mqtt_port, "MQTT").await?;
        let (https, https_port) = bind(address, config.https_port, "HTTPS").await?;
        let mut sockets = vec![(mqtt, Greeting::Tls), (https, Greeting::Tls)];
        let mut connect_port = None;
        if let Some(port) = config.connect_port {
            let (socket, port) = bind(address, port, "CONNECT").await?;
            sockets.push((socket, Greeting::Connect));
            connect_port = Some(port);
        }
        sockets.extend(bind_ipv6(address, &sockets).await);
        Ok(Sockets { sockets, mqtt_port, https_port, connect_port })
    }
}

/// Opens a port; 0 selects a free one. Returns the socket and its port.
async fn bind(
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
async fn bind_ipv6(
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
