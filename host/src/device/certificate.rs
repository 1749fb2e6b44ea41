//! Follows the certificate with which the device signs in: reads changed files, warns before it
//! expires, and reports its validity under `certificate` in the twin.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plugin::TwinAccess as _;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, interval, sleep};
use tracing::warn;

use super::status::{AFTER_REFUSAL, HOST};
use crate::connection::{DeviceCertificate, LiveCertificate};
use crate::lent::twin::Twin;

/// Interval at which the files are checked for changes.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// Part of the certificate's lifetime after which its end is announced. Agents for the renewal
/// of certificates renew at the same time, so a line in the log means that none has done so.
const WARN_AT: f64 = 0.8;

/// The same for a certificate that the host renews, which it begins at [`WARN_AT`] or before.
const WARN_HOST_AT: f64 = 0.9;

/// Interval of the warnings.
const WARN_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// Reported property of the validity, as in the documentation of IoT Hub.
const PROPERTY: &str = "certificate";

/// Party that renews a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewer {
    /// An operator, or an agent of the operator.
    Operator,
    /// The host itself.
    Host,
}

impl Renewer {
    /// Returns the part of the certificate's lifetime after which its end is announced.
    fn warn_at(self) -> f64 {
        match self {
            Renewer::Operator => WARN_AT,
            Renewer::Host => WARN_HOST_AT,
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Renewer::Operator => "issue a new certificate; the host reads changed files by itself",
            Renewer::Host => {
                "the host could not renew it; earlier lines of the log have the reason"
            }
        }
    }
}

/// Follows the certificate until the future is dropped.
pub(crate) async fn run(certificate: Arc<LiveCertificate>, renewer: Renewer, twin: Arc<Twin>) {
    let mut sightings = twin.changes();
    let mut checks = interval(CHECK_INTERVAL);
    let mut warned: Option<Instant> = None;
    loop {
        let number = certificate.current().number();
        tokio::select! {
            _ = checks.tick() => {
                certificate.refresh().await;
                let current = certificate.current();
                if !is_due(&current, renewer.warn_at(), Timestamp::now()) {
                    warned = None;
                } else if warned.is_none_or(|at| at.elapsed() >= WARN_INTERVAL) {
                    warned = Some(Instant::now());
                    let valid_until = current.valid_until();
                    warn!(
                        %valid_until,
                        hint = renewer.hint(),
                        "device certificate expires soon or has expired"
                    );
                }
            }
            Ok(()) = sightings.changed() => {}
            () = certificate.newer_than(number) => {}
        }
        if let Some(patch) = difference(&twin, &certificate.current())
            && let Err(error) = twin.report(HOST, patch).await
        {
            warn!("the validity of the certificate is not reported: {error}");
            sleep(AFTER_REFUSAL).await;
        }
    }
}

/// Returns `true` if this part of the certificate's lifetime is over.
fn is_due(certificate: &DeviceCertificate, part: f64, now: Timestamp) -> bool {
    let (from, until) = (certificate.valid_from(), certificate.valid_until());
    let lifetime = until.duration_since(from);
    now.duration_since(from).as_secs_f64() >= lifetime.as_secs_f64() * part
}

/// Returns the patch that reports the certificate. Returns `None` if it is reported already, or
/// if the hub has not sent the twin or not answered all reports yet.
fn difference(twin: &Twin, certificate: &DeviceCertificate) -> Option<Map<String, Value>> {
    if !twin.is_reported() {
        return None;
    }
    let reported: Map<String, Value> = serde_json::from_str(&twin.reported().ok()?.body).ok()?;
    let wanted = json!({
        "validFrom": certificate.valid_from().to_string(),
        "validUntil": certificate.valid_until().to_string(),
    });
    let is_reported = reported.get(PROPERTY) == Some(&wanted);
    (!is_reported).then(|| Map::from_iter([(PROPERTY.to_owned(), wanted)]))
}
