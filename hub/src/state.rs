//! What the hub knows: identities, twins, subscriptions and policies.
//!
//! In memory, and with a data directory on disk as well, so that a restart brings
//! everything back: a change that a restart must not lose is on disk before the
//! function that made it returns. Telemetry and who is connected are not kept.
//!
//! Functions are synchronous and short. Records are shared and replaced whole, so
//! that a long query reads them without holding anything up.
//!
//! It knows no sockets: telling a device about a change is its caller's affair.

mod device_access;
mod error;
mod etag;
mod identity;
mod owner;
mod presence;
mod random;
mod record;
mod registry;
mod store;
mod time;
mod twin;
mod twins;
mod view;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Display;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use protocol::error::{ErrorCode, HubError};
use protocol::host_name::HostName;
use protocol::id::DeviceId;
use protocol::sas::Key;
use protocol::topic::Filter;

use crate::faults::Forget;
use crate::policy::{GRANTS, Policies};
use store::{Change, Kind, NotWritten, Record, Store};

pub(crate) use device_access::{DeviceGrant, Refusal};
pub use error::StateError;
pub(crate) use etag::IfMatch;
pub(crate) use identity::IdentityRequest;
pub(crate) use owner::Owner;
use random::random_bytes;
pub(crate) use record::Entity;
use record::{Part, Parts};
use time::now;
pub(crate) use twin::{TwinChange, TwinWrite};

type Registry = BTreeMap<Owner, Arc<Entity>>;

/// Everything the hub knows.
pub(crate) struct State {
    policies: Policies,
    registry: RwLock<Registry>,
    store: Option<Store>,
}

impl State {
    /// The state in `data`, or a new one in memory. `host_names` are the names
    /// that devices and services may call this hub by.
    pub(crate) fn open(
        data: Option<&Path>,
        host_names: Vec<String>,
    ) -> Result<Arc<State>, StateError> {
        let hosts = host_names
            .into_iter()
            .map(|name| name.parse::<HostName>().map_err(|_| StateError::HostName(name)))
            .collect::<Result<Vec<_>, _>>()?;
        let (store, records) = match data {
            Some(dir) => {
                let (store, records) = Store::open(dir)?;
                (Some(store), records)
            }
            None => (None, Vec::new()),
        };
        let path = store.as_ref().map(Store::path).unwrap_or(Path::new(""));
        let Loaded { mut keys, registry } = load(records, path)?;
        let mut made = Vec::new();
        for (name, _) in GRANTS {
            if let Entry::Vacant(place) = keys.entry(name.to_owned()) {
                let key =
                    Key::from_bytes(&random_bytes::<32>()?).map_err(|_| StateError::Random)?;
                let key = place.insert(key);
                let value = Some(key.to_base64().into_bytes());
                made.push(Change { kind: Kind::Policy, key: name.into(), value });
            }
        }
        let written = store.as_ref().map(|store| store.write(made));
        if written.is_some_and(|written| written.wait().is_err()) {
            let reason = "cannot be written".into();
            return Err(StateError::Damaged { path: path.to_owned(), reason });
        }
        Ok(Arc::new(State {
            policies: Policies::new(keys, hosts),
            registry: RwLock::new(registry),
            store,
        }))
    }

    /// The policies, to hold tokens against.
    pub(crate) fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Whether changes wait for a disk.
    pub(crate) fn is_durable(&self) -> bool {
        self.store.is_some()
    }

    /// The record of a device or module.
    pub(crate) fn get(&self, owner: &Owner) -> Result<Arc<Entity>, HubError> {
        self.read().get(owner).cloned().ok_or_else(|| not_found(owner))
    }

    /// All records that come after `after`, modules among devices, in order.
    pub(crate) fn after(&self, after: Option<&Owner>) -> Vec<Arc<Entity>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.read().range((from, Bound::Unbounded)).map(|(_, entity)| Arc::clone(entity)).collect()
    }

    /// Notes that a device has connected or gone.
    pub(crate) fn connected(&self, id: &DeviceId, yes: bool) {
        let now = now();
        let noted = self.change(&Owner::device(id), |entity| {
            entity.presence.connected = yes;
            entity.presence.changed = Some(now.clone());
            entity.presence.last_activity = Some(now);
            Ok(((), &[]))
        });
        // A device that was deleted while it was connected has nothing to note.
        let _ = noted;
    }

    /// What the device had subscribed to when it was last here.
    pub(crate) fn subscriptions(&self, id: &DeviceId) -> Vec<(Filter, u8)> {
        self.get(&Owner::device(id)).map(|entity| entity.subscriptions.clone()).unwrap_or_default()
    }

    /// Keeps what the device is subscribed to.
    pub(crate) fn set_subscriptions(&self, id: &DeviceId, subscriptions: &[(Filter, u8)]) {
        let kept = self.change(&Owner::device(id), |entity| {
            if entity.subscriptions == subscriptions {
                return Ok(((), &[]));
            }
            entity.subscriptions = subscriptions.to_vec();
            Ok(((), &[Part::Subscriptions]))
        });
        // A device deleted meanwhile needs none; a full disk was logged.
        let _ = kept;
    }

    /// Forgets what a restart without it would.
    pub(crate) fn forget(&self, what: Forget) -> Result<(), HubError> {
        if what == Forget::Nothing {
            return Ok(());
        }
        let owners: Vec<Owner> = self.read().keys().cloned().collect();
        for owner in owners {
            self.change(&owner, |entity| {
                entity.subscriptions.clear();
                if what == Forget::Sessions {
                    return Ok(((), &[Part::Subscriptions]));
                }
                entity.forget_twin();
                Ok(((), &[Part::Subscriptions, Part::Twin]))
            })?;
        }
        Ok(())
    }

    /// Changes a record and waits until the named parts of it are on disk. If
    /// `change` fails it must have changed nothing.
    fn change<T>(
        &self,
        owner: &Owner,
        change: impl FnOnce(&mut Entity) -> Result<(T, &'static [Part]), HubError>,
    ) -> Result<T, HubError> {
        let mut registry = self.write();
        let entity = Arc::make_mut(registry.get_mut(owner).ok_or_else(|| not_found(owner))?);
        let (value, parts) = change(entity)?;
        entity.forget_view();
        let changes = || parts.iter().map(|part| entity.kept(*part)).collect();
        // Queued under the lock: the file sees changes in the order they were made.
        let written = match &self.store {
            Some(store) if !parts.is_empty() => Some(store.write(changes())),
            _ => None,
        };
        drop(registry);
        written.map_or(Ok(()), |written| written.wait().map_err(not_written))?;
        Ok(value)
    }

    fn read(&self) -> RwLockReadGuard<'_, Registry> {
        // Records are replaced whole, so a panic elsewhere leaves none half done.
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Registry> {
        self.registry.write().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Loaded {
    keys: BTreeMap<String, Key>,
    registry: Registry,
}

/// Puts records that were read from `path` together again.
fn load(records: Vec<Record>, path: &Path) -> Result<Loaded, StateError> {
    let mut keys = BTreeMap::new();
    let mut parts: BTreeMap<String, Parts> = BTreeMap::new();
    for Record { kind, key, value } in records {
        let damaged = |reason: &dyn Display| StateError::Damaged {
            path: path.to_owned(),
            reason: format!("{kind:?} `{key}`: {reason}"),
        };
        if let Some(part) = Part::of(kind) {
            let parts = parts.entry(key.clone()).or_default();
            parts.read(part, &value).map_err(|error| damaged(&error))?;
        } else if kind == Kind::Policy {
            let text = std::str::from_utf8(&value).map_err(|error| damaged(&error))?;
            keys.insert(key.clone(), text.parse::<Key>().map_err(|error| damaged(&error))?);
        }
    }
    let mut registry = Registry::new();
    for (key, parts) in parts {
        let entity = parts.whole(&key).ok_or_else(|| StateError::Damaged {
            path: path.to_owned(),
            reason: format!("record `{key}` is incomplete"),
        })?;
        registry.insert(entity.owner.clone(), Arc::new(entity));
    }
    Ok(Loaded { keys, registry })
}

fn not_found(owner: &Owner) -> HubError {
    match &owner.module {
        None => HubError::new(ErrorCode::DeviceNotFound, owner.device.to_string()),
        Some(_) => HubError::new(ErrorCode::ModuleNotFound, owner.to_string()),
    }
}

fn not_written(_: NotWritten) -> HubError {
    HubError::new(ErrorCode::ServerError, "the hub could not write its state to disk")
}

#[cfg(test)]
mod tests;
