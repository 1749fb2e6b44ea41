//! HTTP requests of plugins to other machines, each on its own connection.
//!
//! The sandbox checks that a plugin is allowed to send a request. This module resolves the host
//! name, checks the addresses, and sends the request. A host name that only matches a pattern
//! in the configuration must not resolve to an address in a private network, because whoever
//! controls its DNS chooses the address.
//!
//! This module follows no redirects, keeps no cookies and uses no proxy.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use http::uri::{Parts, PathAndQuery, Scheme, Uri};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use plugin::{Capability, HttpClient, HttpError, HttpRequest};
use program::chain;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;
use trust::{LiveTrust, TrustError, distrust};

use crate::config::{Config, PluginSection};
use crate::plugins::PluginError;

/// The maximum number of concurrent requests of all plugins, which leaves file descriptors for
/// the hub, the journal and the operator. The sandbox limits each plugin to half of it. Further
/// requests wait within their time limit.
const MAX_REQUESTS: usize = 64;

/// The maximum number of concurrent DNS lookups. A lookup blocks its thread even after its call
/// has ended, and the rest of the host uses the same pool of threads.
const MAX_LOOKUPS: usize = 16;

/// The HTTP client of plugins. Clones share the trusted certificates and the limits.
#[derive(Clone)]
pub(crate) struct Http {
    /// A permit for each concurrent request.
    requests: Arc<Semaphore>,
    /// A permit for each concurrent lookup.
    lookups: Arc<Semaphore>,
    /// The trusted certificates, by the file with those to trust besides the system's.
    tls: Arc<Mutex<BTreeMap<Option<PathBuf>, Arc<LiveTrust>>>>,
}

impl Default for Http {
    fn default() -> Http {
        Http {
            requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            tls: Arc::default(),
        }
    }
}

impl Http {
    /// Loads the trusted certificates of all plugins that can send requests. Returns an error if
    /// there are none for a plugin. Blocks.
    pub(crate) fn new(config: &Config) -> Result<Http, PluginError> {
        let http = Http::default();
        let error = http.distrusted(config.plugins.iter()).next();
        match error {
            Some(error) => Err(error),
            None => Ok(http),
        }
    }

    /// Returns an error for each plugin that can send requests but has no trusted certificates, also
    /// for those that are not yet fetched. Blocks.
    pub(crate) fn check(config: &Config) -> Vec<PluginError> {
        let images = config.images.iter().map(|(name, image)| (name, image.settings()));
        Http::default().distrusted(config.plugins.iter().chain(images)).collect()
    }

    /// Loads the trusted certificates of all of the plugins that can send requests. Returns an error
    /// for each plugin that has none.
    fn distrusted<'a>(
        &self,
        plugins: impl Iterator<Item = (&'a String, &'a PluginSection)>,
    ) -> impl Iterator<Item = PluginError> {
        let can_send =
            |section: &PluginSection| section.settings.capabilities().contains(&Capability::Http);
        plugins.filter(move |(_, section)| can_send(section)).filter_map(|(name, section)| {
            let ca_file = section.settings.http_ca_file().map(Path::to_owned);
            let source = self.tls(ca_file).err()?;
            Some(PluginError::Trust { name: name.clone(), source })
        })
    }

    /// Returns the TLS configuration, after reloading the certificates if they have changed.
    /// Blocks.
    fn tls(&self, ca_file: Option<PathBuf>) -> Result<Arc<ClientConfig>, TrustError> {
        let known = self.tls.lock().get(&ca_file).cloned();
        let live = match known {
            Some(live) => {
                if let Err(error) = live.refresh() {
                    warn!(
                        "certificates for plugins not read again, the earlier ones stay in force: {error}"
                    );
                }
                live
            }
            None => {
                let live = Arc::new(LiveTrust::new(ca_file.as_deref())?);
                self.tls.lock().insert(ca_file, Arc::clone(&live));
                live
            }
        };
        Ok(live.config())
    }

    /// Sends a request and returns the response once its head has arrived. Ignores the maximum
    /// size of the body.
    pub(crate) async fn open(&self, request: HttpRequest<'_>) -> Result<OpenResponse, HttpError> {
        let HttpRequest { request, response_bytes: _, may_be_private, ca_file } = request;
        let uri = request.uri().clone();
        let host = uri.host().unwrap_or_default();
        let failed = |error: &(dyn Error + 'static)| {
            HttpError::Failed(format!("`{host}`: {}", chain(error)))
        };
        let other =
            |error: &(dyn Error + 'static)| HttpError::Other(format!("`{host}`: {}", chain(error)));
        let permit = Arc::clone(&self.requests).acquire_owned().await;
        let permit = permit.map_err(|error| other(&error))?;
        let socket = self.connect(&uri, may_be_private).await?;
        if uri.scheme() == Some(&Scheme::HTTP) {
            return send_on(socket, request, permit).await;
        }
        let (http, ca_file) = (self.clone(), ca_file.map(Path::to_owned));
        let tls = spawn_blocking(move || http.tls(ca_file)).await.map_err(|error| other(&error))?;
        let tls = tls.map_err(|error| other(&error))?;
        let name = ServerName::try_from(bare(host).to_owned()).map_err(|error| failed(&error))?;
        let connecting = TlsConnector::from(tls).connect(name, socket);
        let socket = connecting.await.map_err(|error| match distrust(&error) {
            Some(reason) => {
                HttpError::NotTrusted(format!("the certificate of `{host}` {}", reason.text()))
            }
            None => failed(&error),
        })?;
        send_on(socket, request, permit).await
    }

    /// Connects to the first address of the host that is allowed and accepts the connection.
    async fn connect(&self, uri: &Uri, may_be_private: bool) -> Result<TcpStream, HttpError> {
        let host = uri.host().unwrap_or_default();
        let default_port = if uri.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 };
        let port = uri.port_u16().unwrap_or(default_port);
        let mut problem = HttpError::Failed(format!("`{host}` has no address"));
        let addresses = self
            .look_up(bare(host), port)
            .await
            .map_err(|error| HttpError::Failed(format!("`{host}`: {error}")))?;
        for address in addresses {
            if !may_be_private && is_private(address.ip()) {
                problem = denied(host, address);
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(socket) => return Ok(socket),
                Err(error) => problem = HttpError::Failed(format!("`{host}` ({address}): {error}")),
            }
        }
        Err(problem)
    }

    /// Resolves a host name.
    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let permit = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
        let host = host.to_owned();
        let lookup = move || {
            let _permit = permit;
            Ok((host.as_str(), port).to_socket_addrs()?.collect())
        };
        spawn_blocking(lookup).await.map_err(io::Error::other)?
    }
}

impl HttpClient for Http {
    fn send<'a>(
        &'a self,
        request: HttpRequest<'a>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        let max_bytes = request.response_bytes;
        async move { self.open(request).await?.whole(max_bytes).await }.boxed()
    }
}

/// Returns the error for an address in a private network.
fn denied(host: &str, address: SocketAddr) -> HttpError {
    let ip = address.ip();
    HttpError::Denied(format!(
        "`{host}` is in a private network ({ip}), which requires its full name in `hosts`"
    ))
}

/// A response whose body is still arriving. Dropping it closes the connection.
pub(crate) struct OpenResponse {
    host: String,
    response: Response<Incoming>,
    _connection: AbortOnDropHandle<hyper::Result<()>>,
    _permit: OwnedSemaphorePermit,
}

impl OpenResponse {
    /// Returns the response with its whole body.
    async fn whole(self, max_bytes: usize) -> Result<Response<Bytes>, HttpError> {
        let OpenResponse { host, response, _connection, _permit } = self;
        let (parts, body) = response.into_parts();
        let collected = Limited::new(body, max_bytes).collect().await;
        let body = collected.map_err(|error| match error.is::<LengthLimitError>() {
            true => HttpError::TooLarge(format!(
                "`{host}`: the response has more than {max_bytes} bytes"
            )),
            false => HttpError::Failed(format!("`{host}`: {}", chain(&*error))),
        })?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    }

    /// Returns the response with the beginning of its body, until `max_bytes`, until `deadline` or
    /// until the connection fails. Also returns `true` if that is the whole body.
    pub(crate) async fn beginning(
        self,
        max_bytes: usize,
        deadline: Instant,
    ) -> (Response<Bytes>, bool) {
        let OpenResponse { response, _connection, _permit, .. } = self;
        let (parts, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        let is_whole = loop {
            let Ok(frame) = timeout_at(deadline, body.frame()).await else { break false };
            match frame {
                None => break true,
                Some(Err(_)) => break false,
                Some(Ok(frame)) => {
                    let data = frame.into_data().unwrap_or_default();
                    let room = max_bytes - bytes.len();
                    bytes.extend_from_slice(&data[..data.len().min(room)]);
                    if data.len() > room {
                        break false;
                    }
                }
            }
        };
        (Response::from_parts(parts, bytes.into()), is_whole)
    }
}

/// Sends one request on a connection, and returns the response once its head has arrived.
async fn send_on(
    socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Bytes>,
    permit: OwnedSemaphorePermit,
) -> Result<OpenResponse, HttpError> {
    let host = request.uri().host().unwrap_or_default().to_owned();
    let failed =
        |error: &(dyn Error + 'static)| HttpError::Failed(format!("`{host}`: {}", chain(error)));
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(socket)).await.map_err(|error| failed(&error))?;
    // The sender returns the error if the connection fails.
    let connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let mut request = request.map(Full::new);
    *request.uri_mut() = origin_form(request.uri());
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    Ok(OpenResponse { host, response, _connection: connection, _permit: permit })
}

/// Returns the origin form of a URI, its path and query, for the request line.
///
/// It is built from its parts, because a valid path is not always a valid URI.
fn origin_form(uri: &Uri) -> Uri {
    let mut parts = Parts::default();
    // An empty path is equal to `/`, but its text is empty.
    let path = uri.path_and_query().filter(|path| path.as_str() != "/").cloned();
    parts.path_and_query = Some(path.unwrap_or(PathAndQuery::from_static("/")));
    Uri::from_parts(parts).expect("a path needs neither scheme nor authority")
}

/// Removes the brackets of an IPv6 address in a URI.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Returns `true` if an address is not on the public internet.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_private_v4(ip),
        IpAddr::V6(ip) => is_private_v6(ip),
    }
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    let [.., c, d] = ip.segments();
    let last = Ipv4Addr::from((u32::from(c) << 16) | u32::from(d));
    // IPv4 addresses in IPv6 form: mapped, compatible, and translated by NAT64.
    let wraps_v4 = ip.to_ipv4_mapped().is_some()
        || ip.segments()[..6] == [0; 6]
        || ip.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    if wraps_v4 {
        return is_private_v4(last);
    }
    ip.is_multicast() || ip.is_unique_local() || ip.is_unicast_link_local()
        // 6to4 and Teredo tunnels, which can lead to any address, and documentation.
        || a == 0x2002 || (a == 0x2001 && (b == 0 || b == 0xdb8))
        // The public internet is 2000::/3.
        || a & 0xe000 != 0x2000
}

#[cfg(test)]
mod tests;
