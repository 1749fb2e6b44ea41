//! What the hub knows of one device or module.

use std::fmt;
use std::sync::{Arc, OnceLock};

use protocol::registry::DeviceStatus;
use protocol::sas::Key;
use protocol::topic::Filter;
use serde_json::Value;

use super::identity::{AuthenticationKind, Identity};
use super::owner::Owner;
use super::presence::Presence;
use super::store::{Change, Kind};
use super::twin::Twin;
use super::view;

/// A device or module.
#[derive(Clone)]
pub(crate) struct Entity {
    pub(crate) owner: Owner,
    pub(super) identity: Identity,
    pub(super) twin: Twin,
    pub(super) presence: Presence,
    pub(super) subscriptions: Vec<(Filter, u8)>,
    // Made when first asked for: queries read the twin of each device again and
    // again, and most twins seldom change.
    view: OnceLock<Arc<Value>>,
}

// By hand: it holds keys, and what a device reports is nobody's in a log.
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
            view: OnceLock::new(),
        }
    }

    /// The twin as services see it.
    pub(crate) fn twin_view(&self) -> Arc<Value> {
        Arc::clone(self.view.get_or_init(|| Arc::new(view::twin(&self.owner, &self.identity, &self.twin, &self.presence))))
    }

    /// The identity as services see it, keys and all.
    pub(crate) fn identity_view(&self) -> Value {
        view::identity(&self.owner, &self.identity, &self.presence)
    }

    /// The etag of the identity.
    pub(crate) fn identity_etag(&self) -> String {
        self.identity.etag_text()
    }

    /// Whether it may connect and be called.
    pub(crate) fn is_enabled(&self) -> bool {
        self.identity.status == DeviceStatus::Enabled
    }

    /// Whether it is connected now.
    pub(crate) fn is_connected(&self) -> bool {
        self.presence.connected
    }

    /// The key that a connection string names.
    pub(crate) fn primary_key(&self) -> &Key {
        &self.identity.authentication.primary.0
    }

    /// The keys it may sign with; none if it is to prove itself by other means.
    pub(super) fn keys(&self) -> Vec<&Key> {
        let authentication = &self.identity.authentication;
        match authentication.kind {
            AuthenticationKind::Sas => {
                vec![&authentication.primary.0, &authentication.secondary.0]
            }
            _ => Vec::new(),
        }
    }

    /// Replaces the twin by that of a new device.
    pub(super) fn forget_twin(&mut self) {
        self.twin = Twin::new();
    }

    /// Drops the cached view; called after each change.
    pub(super) fn forget_view(&mut self) {
        self.view = OnceLock::new();
    }

    /// What to write of it.
    pub(super) fn kept(&self, part: Part) -> Change {
        let json = |value: Result<Vec<u8>, serde_json::Error>| {
            value.expect("records are maps with text keys, which JSON can always hold")
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
        };
        Change { kind: part.kind(), key: self.owner.to_string(), value: Some(value) }
    }
}

/// What of an entity is kept on disk, each in a table of its own: a report must
/// not write the identity again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Identity,
    Twin,
    Subscriptions,
}

impl Part {
    pub(super) const ALL: [Part; 3] = [Part::Identity, Part::Twin, Part::Subscriptions];

    pub(super) fn kind(self) -> Kind {
        match self {
            Part::Identity => Kind::Identity,
            Part::Twin => Kind::Twin,
            Part::Subscriptions => Kind::Subscriptions,
        }
    }

    pub(super) fn of(kind: Kind) -> Option<Part> {
        Part::ALL.into_iter().find(|part| part.kind() == kind)
    }
}

/// An entity on its way back from disk.
#[derive(Default)]
pub(super) struct Parts {
    identity: Option<Identity>,
    twin: Option<Twin>,
    subscriptions: Vec<(Filter, u8)>,
}

impl Parts {
    /// Reads one part.
    pub(super) fn read(&mut self, part: Part, value: &[u8]) -> Result<(), serde_json::Error> {
        match part {
            Part::Identity => self.identity = Some(serde_json::from_slice(value)?),
            Part::Twin => self.twin = Some(serde_json::from_slice(value)?),
            Part::Subscriptions => {
                let filters: Vec<(String, u8)> = serde_json::from_slice(value)?;
                // A filter that is no longer known is one that is no longer offered.
                self.subscriptions = filters
                    .into_iter()
                    .filter_map(|(filter, qos)| Some((filter.parse().ok()?, qos)))
                    .collect();
            }
        }
        Ok(())
    }

    /// The entity, if what it needs was there.
    pub(super) fn whole(self, key: &str) -> Option<Entity> {
        let mut entity = Entity::new(Owner::parse(key)?, self.identity?, self.twin?);
        entity.subscriptions = self.subscriptions;
        Some(entity)
    }
}
