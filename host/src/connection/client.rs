//! Parts of every connection: the name of this client, its TLS configuration, and its clock.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::ClientConfig;
use tokio::task::spawn_blocking;
use tracing::{info, warn};
use trust::LiveTrust;

use super::certificate::DeviceCertificate;
use super::options_error::OptionsError;
use crate::config::HubSection;

/// The name and version of this client in the MQTT user name.
pub(super) const CLIENT_TYPE: &str = concat!("behaviour-host/", env!("CARGO_PKG_VERSION"));

/// The environment variables for an HTTPS proxy.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Loads the trusted certificates for the hub. Blocks. Call it once per process, because the
/// returned value also holds the tickets that resume TLS sessions.
pub(crate) fn tls(hub: &HubSection) -> Result<Arc<LiveTrust>, OptionsError> {
    let is_set = |name: &&&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if let Some(variable) = PROXIES.iter().find(is_set) {
        warn!(%variable, "proxy not used: the host connects directly, for itself and for plugins");
    }
    Ok(Arc::new(LiveTrust::new(hub.ca_file.as_deref())?))
}

/// Returns the TLS configuration for a new connection that presents `certificate`, after
/// reloading the trusted certificates if they have changed.
pub(super) async fn client_config(
    trust: &Arc<LiveTrust>,
    certificate: Option<&DeviceCertificate>,
) -> Arc<ClientConfig> {
    let live = Arc::clone(trust);
    match spawn_blocking(move || live.refresh()).await {
        Ok(Ok(true)) => info!("trusted certificates have changed and were read again"),
        Ok(Err(error)) => {
            warn!("trusted certificates not read again, the earlier ones stay in force: {error}");
        }
        // The certificates are unchanged, or reading them panicked. The panic hook has logged a
        // panic.
        Ok(Ok(false)) | Err(_) => {}
    }
    let config = trust.config();
    let Some(certificate) = certificate else { return config };
    // Sessions are resumed only with the same resolver, so never with an older certificate.
    let mut config = ClientConfig::clone(&config);
    config.client_auth_cert_resolver = Arc::clone(&certificate.resolver);
    Arc::new(config)
}

/// Returns the time since the start of 1970, as tokens need it.
pub(super) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
