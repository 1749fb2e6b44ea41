//! The requests of plugins to other machines: one connection each, over TLS.
//!
//! What a plugin may ask was checked in the sandbox. Here it is sent, and one
//! thing more is found out: where a name leads. A name that the operator has not
//! written out whole must not lead into a private network, whatever its DNS says.
//!
//! No redirect is followed, no cookie kept, no proxy used.

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
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use plugin::{Capability, HttpClient, HttpError, HttpRequest};
use program::chain;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;
use trust::{LiveTrust, TrustError, distrust};

use crate::config::{Config, PluginSection};
use crate::plugins::PluginError;

/// Requests at once of all plugins, so that the descriptors of the process last for the
/// hub, the journal and the operator too. A plugin has half of them at most; see the
/// sandbox. The others wait, within their time.
const AT_ONCE: usize = 64;

/// Names that are looked up at once. A lookup goes on in its thread when its call has
/// ended, and the threads that may block are shared with the rest of the host.
const LOOKUPS: usize = 16;

/// Sends requests. Clones share whom they trust, and their places.
#[derive(Clone)]
pub(crate) struct Http {
    places: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
    /// By the file of certificates that are trusted beside the system's.
    tls: Arc<Mutex<BTreeMap<Option<PathBuf>, Arc<LiveTrust>>>>,
}

impl Default for Http {
    fn default() -> Http {
        Http {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            tls: Arc::default(),
        }
    }
}

impl Http {
    /// Checks that there are trusted certificates for the plugins that may send
    /// requests.
    pub(crate) fn new(config: &Config) -> Result<Http, PluginError> {
        let http = Http::default();
        let error = http.distrusted(config).next();
        match error {
            Some(error) => Err(error),
            None => Ok(http),
        }
    }

    /// Returns an error for each plugin that may send requests and has no trusted
    /// certificates.
    pub(crate) fn check(config: &Config) -> Vec<PluginError> {
        Http::default().distrusted(config).collect()
    }

    fn distrusted<'a>(&'a self, config: &'a Config) -> impl Iterator<Item = PluginError> + 'a {
        let may_send =
            |section: &PluginSection| section.settings.capabilities().contains(&Capability::Http);
        config.plugins.iter().filter(move |(_, section)| may_send(section)).filter_map(
            |(name, section)| {
                let ca_file = section.settings.http_ca_file().map(Path::to_owned);
                let source = self.tls(ca_file).err()?;
                Some(PluginError::Trust { name: name.clone(), source })
            },
        )
    }

    /// Returns the configuration of the certificates as they are now. Blocks.
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

    async fn exchange(&self, request: HttpRequest<'_>) -> Result<Response<Bytes>, HttpError> {
        let HttpRequest { request, response_bytes, may_be_private, ca_file } = request;
        let uri = request.uri().clone();
        let host = uri.host().unwrap_or_default();
        let failed = |error: &(dyn Error + 'static)| {
            HttpError::Failed(format!("`{host}`: {}", chain(error)))
        };
        let _place = self.places.acquire().await.map_err(|error| failed(&error))?;
        let socket = self.connect(&uri, may_be_private).await?;
        if uri.scheme() == Some(&Scheme::HTTP) {
            return talk(socket, request, response_bytes).await;
        }
        let (http, ca_file) = (self.clone(), ca_file.map(Path::to_owned));
        let tls =
            spawn_blocking(move || http.tls(ca_file)).await.map_err(|error| failed(&error))?;
        let tls = tls.map_err(|error| failed(&error))?;
        let name = ServerName::try_from(bare(host).to_owned()).map_err(|error| failed(&error))?;
        let connecting = TlsConnector::from(tls).connect(name, socket);
        let socket = connecting.await.map_err(|error| match distrust(&error) {
            Some(why) => {
                HttpError::NotTrusted(format!("the certificate of `{host}` {}", why.text()))
            }
            None => failed(&error),
        })?;
        talk(socket, request, response_bytes).await
    }

    /// Connects to the first of the host's addresses that may be asked and accepts.
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

    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let place = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
        let host = host.to_owned();
        let lookup = move || {
            let _place = place;
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
        self.exchange(request).boxed()
    }
}

fn denied(host: &str, address: SocketAddr) -> HttpError {
    let ip = address.ip();
    HttpError::Denied(format!(
        "`{host}` leads into a private network ({ip}): only a host that `hosts` names whole may"
    ))
}

/// One request, one response, then the connection is closed.
async fn talk(
    socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Bytes>,
    most_bytes: usize,
) -> Result<Response<Bytes>, HttpError> {
    let host = request.uri().host().unwrap_or_default().to_owned();
    let failed =
        |error: &(dyn Error + 'static)| HttpError::Failed(format!("`{host}`: {}", chain(error)));
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(socket)).await.map_err(|error| failed(&error))?;
    // Its end is seen by the sender.
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let mut request = request.map(Full::new);
    *request.uri_mut() = origin_form(request.uri());
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, most_bytes).collect().await.map_err(|error| {
        match error.is::<LengthLimitError>() {
            true => HttpError::TooLarge(format!(
                "`{host}`: a response may have {most_bytes} bytes, and this one has more"
            )),
            false => failed(&*error),
        }
    })?;
    Ok(Response::from_parts(parts, body.to_bytes()))
}

/// Returns the path and query alone, as a server is asked for them.
///
/// Built from its parts: the text of a valid path need not parse as a URI.
fn origin_form(uri: &Uri) -> Uri {
    let mut parts = Parts::default();
    // An empty path counts as `/`, and would be written as nothing.
    let path = uri.path_and_query().filter(|path| path.as_str() != "/").cloned();
    parts.path_and_query = Some(path.unwrap_or(PathAndQuery::from_static("/")));
    Uri::from_parts(parts).expect("a path needs neither scheme nor authority")
}

/// Removes the brackets of an IPv6 address in a URI.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Checks whether an address is outside the public internet.
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
    // An IPv4 address in other clothes: mapped, compatible, or behind NAT64.
    let wraps_v4 = ip.to_ipv4_mapped().is_some()
        || ip.segments()[..6] == [0; 6]
        || ip.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    if wraps_v4 {
        return is_private_v4(last);
    }
    ip.is_multicast() || ip.is_unique_local() || ip.is_unicast_link_local()
        // 6to4 and Teredo: tunnels to wherever; documentation.
        || a == 0x2002 || (a == 0x2001 && (b == 0 || b == 0xdb8))
        // The public internet is 2000::/3.
        || a & 0xe000 != 0x2000
}

#[cfg(test)]
mod tests;
