//! The client of a connection, as its TLS handshake shows it.

use std::net::IpAddr;

use rustls::ServerConnection;

use crate::certificates::PeerCertificates;

/// The client of a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer {
    /// The certificates that the client has presented.
    pub(crate) certificates: PeerCertificates,
    /// The name under which the client looks for the hub (SNI). Clients that connect to an IP
    /// address send none.
    pub(crate) server_name: Option<String>,
    /// The address of the hub's end of the connection.
    pub(crate) local_address: Option<IpAddr>,
    /// `true` if the client connects by HTTP CONNECT, because its ports are fixed.
    pub(crate) has_fixed_ports: bool,
}

impl Peer {
    /// Returns the client of a connection after its handshake.
    pub(crate) fn new(
        connection: &ServerConnection,
        local_address: Option<IpAddr>,
        has_fixed_ports: bool,
    ) -> Peer {
        Peer {
            certificates: PeerCertificates::of(connection),
            server_name: connection.server_name().map(str::to_owned),
            local_address,
            has_fixed_ports,
        }
    }
}
