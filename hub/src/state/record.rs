//! The record of a device or module, and its persisted parts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use protocol::registry::{DeviceStatus, Thumbprints};
use protocol::sas::Key;
use protocol::topic::Filter;
use serde_json::Value;

use super::identity::{AuthenticationKind, Identity};
use super::managed::{ConfigurationStatus, Overlay};
use super::messages::MessageQueue;
use super::owner::Owner;
use super::presence::Presence;
use super::store::{RecordChange, RecordKind};
use super::twin::Twin;
use super::view;

/// A device or module: identity, twin, connection state, subscriptions and queued messages.
#[derive(Clone)]
pub(crate) struct Entity {
    pub(crate) owner: Owner,
    pub(super) identity: Identity,
    pub(super) twin: Twin,
    pub(super) presence: Presence,
    pub(super) subscriptions: Vec<(Filter, u8)>,
    pub(super) messages: MessageQueue,
    // Cached, since every query reads all twins but most of them rarely change.
    view: OnceLock<Arc<Value>>,
}

// Shows only the owner, to keep keys and reported properties out of logs.
impl fmt::Debug for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entity({})", self.owner)
    }
}

impl Entity {
    pub(super) fn new(owner: Owner, identity: Identity, twin: Twin) -> Entity {
        Entity {
            owner,
            identity,
            twin,
            presence: Presence::default(),
            subscriptions: Vec::new(),
            messages: MessageQueue::default(),
            view: OnceLock::new(),
        }
    }

    /// Returns a service's view of the twin.
    pub(crate) fn twin_view(&self) -> Arc<Value> {
        Arc::clone(self.view.get_or_init(|| {
            let messages = self.messages.len();
            Arc::new(view::twin(&self.owner, &self.identity, &self.twin, &self.presence, messages))
        }))
    }

    /// Returns a service's view of the identity, including its keys.
    pub(crate) fn identity_view(&self) -> Value {
        view::identity(&self.owner, &self.identity, &self.presence, self.messages.len())
    }

    /// Returns `true` if the overlay is in force.
    pub(crate) fn has_overlay(&self, overlay: &Overlay) -> bool {
        self.twin.managed.has(&self.twin.desired, overlay)
    }

    /// Returns the status of each configuration that targets the device or module.
    pub(crate) fn configuration_statuses(&self) -> &BTreeMap<String, ConfigurationStatus> {
        &self.twin.managed.statuses
    }

    /// Returns the scope of an edge device; `None` for other devices.
    pub(super) fn edge_scope(&self) -> Option<String> {
        self.identity.device_scope(&self.owner.device).filter(|_| self.identity.iot_edge)
    }

    /// Returns the generation of the identity.
    pub(super) fn generation(&self) -> &str {
        &self.identity.generation
    }

    /// Returns the etag of the identity.
    pub(crate) fn identity_etag(&self) -> String {
        self.identity.etag_text()
    }

    /// Returns `true` if the device can connect and be called.
    pub(crate) fn is_enabled(&self) -> bool {
        self.identity.status == DeviceStatus::Enabled
    }

    /// Returns `true` if the device is connected.
    pub(crate) fn is_connected(&self) -> bool {
        self.presence.connected
    }

    /// Returns the primary key, which connection strings contain.
    pub(crate) fn primary_key(&self) -> &Key {
        &self.identity.authentication.primary.0
    }

    /// Returns the keys that can sign the device's SAS tokens. Returns none if the device
    /// authenticates by other means.
    pub(super) fn keys(&self) -> Vec<&Key> {
        let authentication = &self.identity.authentication;
        match authentication.kind {
            AuthenticationKind::Sas => {
                vec![&authentication.primary.0, &authentication.secondary.0]
            }
            _ => Vec::new(),
        }
    }

    /// Returns the way in which the device signs in.
    pub(super) fn sign_in(&self) -> SignIn<'_> {
        let authentication = &self.identity.authentication;
        match authentication.kind {
            AuthenticationKind::SelfSigned => SignIn::Thumbprint(&authentication.thumbprints),
            AuthenticationKind::CertificateAuthority => SignIn::Authority,
            AuthenticationKind::Sas | AuthenticationKind::None => SignIn::Token,
        }
    }

    /// Resets the twin to that of a new device.
    pub(super) fn reset_twin(&mut self) {
        self.twin = Twin::new();
    }

    /// Drops the cached view. Must be called after each change.
    pub(super) fn invalidate_view(&mut self) {
        self.view = OnceLock::new();
    }

    /// Returns the change that persists a part.
    pub(super) fn record(&self, part: Part) -> RecordChange {
        let json = |value: Result<Vec<u8>, serde_json::Error>| {
            value.expect("records are maps with string keys, which JSON can represent")
        };
        let value = match part {
            Part::Identity => json(serde_json::to_vec(&self.identity)),
            Part::Twin => json(serde_json::to_vec(&self.twin)),
            Part::Subscriptions => {
                let filters: Vec<(String, u8)> = self
                    .subscriptions
                    .iter()
                    .map(|(filter, qos)| (filter.to_string(), *qos))
                    .collect();
                json(serde_json::to_vec(&filters))
            }
            Part::Messages => json(serde_json::to_vec(&self.messages)),
        };
        RecordChange { kind: part.kind(), key: self.owner.to_string(), value: Some(value) }
    }
}

/// The way in which a device signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignIn<'a> {
    /// A SAS token, signed with a key of the device or of a policy.
    Token,
    /// A certificate with one of these thumbprints.
    Thumbprint(&'a Thumbprints),
    /// A certificate that a trusted authority has signed.
    Authority,
}

/// A part of an entity with its own table, so that changing reported properties does not
/// rewrite the identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Identity,
    Twin,
    Subscriptions,
    Messages,
}

impl Part {
    pub(super) const ALL: [Part; 4] =
        [Part::Identity, Part::Twin, Part::Subscriptions, Part::Messages];

    pub(super) fn kind(self) -> RecordKind {
        match self {
            Part::Identity => RecordKind::Identity,
            Part::Twin => RecordKind::Twin,
            Part::Subscriptions => RecordKind::Subscriptions,
            Part::Messages => RecordKind::Messages,
        }
    }

    pub(super) fn of(kind: RecordKind) -> Option<Part> {
        Part::ALL.into_iter().find(|part| part.kind() == kind)
    }
}

/// The parts of an entity read from disk.
#[derive(Default)]
pub(super) struct EntityParts {
    identity: Option<Identity>,
    twin: Option<Twin>,
    subscriptions: Vec<(Filter, u8)>,
    messages: MessageQueue,
}

impl EntityParts {
    /// Parses a part.
    pub(super) fn read(&mut self, part: Part, value: &[u8]) -> Result<(), serde_json::Error> {
        match part {
            Part::Identity => self.identity = Some(serde_json::from_slice(value)?),
            Part::Twin => self.twin = Some(serde_json::from_slice(value)?),
            Part::Subscriptions => {
                let filters: Vec<(String, u8)> = serde_json::from_slice(value)?;
                // Drops filters that this version no longer supports.
                self.subscriptions = filters
                    .into_iter()
                    .filter_map(|(filter, qos)| Some((filter.parse().ok()?, qos)))
                    .collect();
            }
            Part::Messages => self.messages = serde_json::from_slice(value)?,
        }
        Ok(())
    }

    /// Assembles the entity. Returns `None` if the identity or the twin is missing.
    pub(super) fn assemble(self, key: &str) -> Option<Entity> {
        let mut entity = Entity::new(Owner::parse(key)?, self.identity?, self.twin?);
        (entity.subscriptions, entity.messages) = (self.subscriptions, self.messages);
        Some(entity)
    }
}
