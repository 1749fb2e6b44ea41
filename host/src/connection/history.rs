//! The state of the connection, for the operator.

use std::collections::BTreeMap;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::failure::FailureKind;
use super::wire::TokenTimes;

/// The state of the connection and the time of its last change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ConnectionView {
    /// The address of the hub.
    pub(crate) hub: String,
    pub(crate) connected: bool,
    /// The time at which the connection was established or lost, or else the start of the host.
    pub(crate) since: Timestamp,
    /// The reason of the last failure. `None` while connected.
    pub(crate) reason: Option<String>,
    /// The time at which the token of the connection expires, if it is renewed.
    pub(crate) token_expires: Option<Timestamp>,
    /// The validity of the connection's certificate, if it has one.
    pub(crate) certificate: Option<Validity>,
    /// The number of connections, including those with a renewed token.
    pub(crate) connections: u64,
    /// The number of lost connections and failed attempts, by kind.
    pub(crate) failures: BTreeMap<&'static str, u64>,
}

/// The validity of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
}

/// The part of a certificate's lifetime after which its end is announced.
const WARN_AT: f64 = 0.9;

impl Validity {
    /// Returns a warning for the operator if the validity ends soon or does not include `now`.
    pub(crate) fn warning(&self, now: Timestamp) -> Option<&'static str> {
        let lifetime = self.until.duration_since(self.from).as_secs_f64();
        let age = now.duration_since(self.from).as_secs_f64();
        match age {
            _ if now >= self.until => Some("it has expired"),
            ..0.0 => Some("it is not valid yet by this machine's clock"),
            _ if age >= lifetime * WARN_AT => Some("less than a tenth of its validity is left"),
            _ => None,
        }
    }
}

/// The state of the connection, which the driver and its sessions update.
pub(crate) struct ConnectionHistory(Mutex<ConnectionView>);

impl ConnectionHistory {
    /// Creates the state before the first connection to a hub.
    pub(super) fn new(hub: String) -> ConnectionHistory {
        ConnectionHistory(Mutex::new(ConnectionView {
            hub,
            connected: false,
            since: Timestamp::now(),
            reason: None,
            token_expires: None,
            certificate: None,
            connections: 0,
            failures: FailureKind::ALL.iter().map(|kind| (kind.name(), 0)).collect(),
        }))
    }

    /// Records that the device was assigned to another hub.
    pub(super) fn moved(&self, hub: String) {
        self.0.lock().hub = hub;
    }

    /// Returns the current state.
    pub(crate) fn view(&self) -> ConnectionView {
        self.0.lock().clone()
    }

    /// Records that a connection is open. A connection with a renewed token continues the last
    /// one.
    pub(super) fn connected(&self, token: Option<TokenTimes>, certificate: Option<Validity>) {
        let now = Timestamp::now();
        let mut view = self.0.lock();
        if !view.connected {
            view.since = now;
        }
        (view.connected, view.reason) = (true, None);
        view.connections += 1;
        view.certificate = certificate;
        view.token_expires = token.map(|token| {
            let left = token.lifetime.saturating_sub(token.issued.elapsed());
            now.checked_add(left).unwrap_or(Timestamp::MAX)
        });
    }

    /// Records that the connection was lost, or that an attempt to connect failed.
    pub(super) fn failed(&self, reason: &str, kind: FailureKind) {
        let mut view = self.0.lock();
        if view.connected {
            view.since = Timestamp::now();
        }
        (view.connected, view.token_expires) = (false, None);
        view.reason = Some(reason.to_owned());
        *view.failures.entry(kind.name()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    #[test]
    fn a_certificate_that_ends_soon_or_starts_later_has_a_warning() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (from, until) = (at("2026-03-01T00:00:00Z"), at("2026-03-31T00:00:00Z"));
        let warning = |now: &str| Validity { from, until }.warning(at(now)).unwrap_or_default();
        assert_eq!(warning("2026-03-27T00:00:00Z"), "");
        assert_eq!(warning("2026-03-28T00:00:00Z"), "less than a tenth of its validity is left");
        assert_eq!(warning("2026-03-31T00:00:00Z"), "it has expired");
        assert!(warning("2020-01-01T00:00:00Z").ends_with("by this machine's clock"));
    }

    #[test]
    fn the_time_is_that_of_the_last_change_and_not_of_a_renewal_or_a_failed_attempt() {
        let history = ConnectionHistory::new("hub:8883".to_owned());
        let token = TokenTimes { issued: Instant::now(), lifetime: Duration::from_secs(3600) };
        history.failed("no address", FailureKind::Lost);
        let started = history.view();
        assert_eq!((started.connected, started.reason.as_deref()), (false, Some("no address")));

        history.connected(Some(token), None);
        let connected = history.view();
        assert!(connected.since >= started.since && connected.reason.is_none());
        assert!(connected.token_expires.unwrap() > connected.since);
        let validity = Validity { from: Timestamp::MIN, until: Timestamp::MAX };
        history.connected(None, Some(validity));
        assert_eq!(history.view().certificate, Some(validity));
        assert_eq!((history.view().since, history.view().token_expires), (connected.since, None));

        history.failed("closed by the hub", FailureKind::Lost);
        let lost = history.view();
        history.failed("no address", FailureKind::Lost);
        let failed = history.view();
        assert_eq!((failed.since, failed.reason.as_deref()), (lost.since, Some("no address")));
        assert_eq!((failed.connections, failed.failures["lost"]), (2, 3));
    }
}
