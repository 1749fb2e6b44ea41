//! State of the hub: identities, twins, subscriptions, policies, enrollments, configurations
//! and jobs.
//!
//! The state is kept in memory. With a data directory it is also persisted: functions that
//! change it return only after the change is on disk. Telemetry and connection states are
//! not persisted.
//!
//! Functions are synchronous and short. Records are shared and replaced as a whole, so that
//! a long query can read them without holding a lock.
//!
//! This module does not notify devices of changes; the caller does.

mod configurations;
mod device_access;
mod device_jobs;
mod documents;
mod error;
mod etag;
mod events;
mod identity;
mod managed;
mod message_queues;
mod messages;
mod owner;
mod presence;
mod provisioning;
mod random;
mod record;
mod registry;
mod scopes;
mod store;
mod twin;
mod twins;
mod view;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Display;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use protocol::error::{ErrorCode, HubError};
use protocol::host_name::HostName;
use protocol::sas::Key;
use protocol::topic::Filter;
use serde_json::json;

use crate::entra::Directory;
use crate::events::Events;
use crate::faults::Forget;
use crate::policy::{GRANTS, OWNER_POLICY, Policies};
use crate::profiles::Profiles;
use crate::stamps::now;
pub(crate) use configurations::ConfigurationRecord;
use configurations::ConfigurationRecords;
pub(crate) use device_access::{DeviceCredentials, DeviceGrant, DeviceRefusal};
use device_jobs::JobRecords;
use documents::Documents;
pub(crate) use documents::QueuedChange;
pub use error::StateError;
pub(crate) use etag::IfMatch;
use events::Lifecycle;
pub(crate) use identity::IdentityRequest;
pub(crate) use managed::{ConfigurationStatus, DesiredPath, Overlay};
pub(crate) use message_queues::DeviceMessages;
pub(crate) use messages::QueuedMessage;
pub(crate) use owner::Owner;
use provisioning::ProvisioningRecords;
pub(crate) use provisioning::Registration;
pub(crate) use random::random_bytes;
pub(crate) use record::Entity;
use record::{EntityParts, Part};
use store::{NotWritten, Record, RecordChange, RecordKind, Store};
pub(crate) use twin::{TwinChange, TwinWrite};
pub(crate) use twins::NotReported;

type Registry = BTreeMap<Owner, Arc<Entity>>;

/// The state of a hub.
pub(crate) struct State {
    policies: Policies,
    profiles: Profiles,
    registry: RwLock<Registry>,
    provisioning: RwLock<ProvisioningRecords>,
    configurations: ConfigurationRecords,
    jobs: RwLock<JobRecords>,
    /// Number of changes that can affect configurations.
    changes: AtomicU64,
    store: Option<Store>,
    events: Arc<Events>,
}

impl State {
    /// Opens the state in the directory `data`, or creates an empty state in memory.
    /// `host_names` are the names of this hub.
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
        let PersistedState { mut keys, registry, provisioning, configurations, jobs } =
            load(records, path)?;
        let mut new_keys = Vec::new();
        for (name, _) in GRANTS {
            if let Entry::Vacant(entry) = keys.entry(name.to_owned()) {
                let key =
                    Key::from_bytes(&random_bytes::<32>()?).map_err(|_| StateError::Random)?;
                let key = entry.insert(key);
                let value = Some(key.to_base64().into_bytes());
                new_keys.push(RecordChange { kind: RecordKind::Policy, key: name.into(), value });
            }
        }
        if let Some(store) = &store {
            store.write(new_keys).wait().map_err(|failed| failed.at_open(path))?;
        }
        // The secret of the directory's application is persisted with the key that determines it.
        let secret = keys[OWNER_POLICY].derive(&"client-secret".parse().expect("an id"));
        let directory = Directory::new(secret.to_base64()).map_err(|_| StateError::Random)?;
        Ok(Arc::new(State {
            policies: Policies::new(keys, directory, hosts),
            profiles: Profiles::default(),
            registry: RwLock::new(registry),
            provisioning: RwLock::new(provisioning),
            configurations: RwLock::new(configurations),
            jobs: RwLock::new(jobs),
            changes: AtomicU64::new(0),
            store,
            events: Arc::default(),
        }))
    }

    /// Returns the policies.
    pub(crate) fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Returns the connection profiles of devices. They are settings and not persisted.
    pub(crate) fn profiles(&self) -> &Profiles {
        &self.profiles
    }

    /// Returns the events, which changes of the state are published to.
    pub(crate) fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// Returns `true` if changes are persisted.
    pub(crate) fn is_durable(&self) -> bool {
        self.store.is_some()
    }

    /// Returns the record of a device or module.
    pub(crate) fn get(&self, owner: &Owner) -> Result<Arc<Entity>, HubError> {
        self.registry.read().get(owner).cloned().ok_or_else(|| not_found(owner))
    }

    /// Returns the records of all devices and modules after `after`, in order.
    pub(crate) fn after(&self, after: Option<&Owner>) -> Vec<Arc<Entity>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let registry = self.registry.read();
        registry.range((from, Bound::Unbounded)).map(|(_, entity)| Arc::clone(entity)).collect()
    }

    /// Records that a device or module has connected or disconnected.
    pub(crate) fn set_connected(&self, owner: &Owner, connected: bool) {
        let now = now();
        let recorded = self.change(owner, |entity| {
            entity.presence.connected = connected;
            entity.presence.changed = Some(now.clone());
            entity.presence.last_activity = Some(now);
            let change = if connected { Lifecycle::Connected } else { Lifecycle::Disconnected };
            self.publish_lifecycle(&entity.owner, change);
            Ok(((), &[]))
        });
        // Fails if the device was deleted while it was connected.
        let _ = recorded;
    }

    /// Returns the persisted subscriptions of a device or module.
    pub(crate) fn subscriptions(&self, owner: &Owner) -> Vec<(Filter, u8)> {
        self.get(owner).map(|entity| entity.subscriptions.clone()).unwrap_or_default()
    }

    /// Persists the subscriptions of a device or module.
    pub(crate) fn set_subscriptions(&self, owner: &Owner, subscriptions: &[(Filter, u8)]) {
        let persisted = self.change(owner, |entity| {
            if entity.subscriptions == subscriptions {
                return Ok(((), &[]));
            }
            entity.subscriptions = subscriptions.to_vec();
            Ok(((), &[Part::Subscriptions]))
        });
        // Fails if the device was deleted or the write failed, which is logged.
        let _ = persisted;
    }

    /// Resets the part of the state that a simulated restart loses.
    pub(crate) fn forget(&self, part: Forget) -> Result<(), HubError> {
        if part == Forget::Nothing {
            return Ok(());
        }
        let owners: Vec<Owner> = self.registry.read().keys().cloned().collect();
        for owner in owners {
            self.change(&owner, |entity| {
                entity.subscriptions.clear();
                if part == Forget::Sessions {
                    return Ok(((), &[Part::Subscriptions]));
                }
                entity.reset_twin();
                self.publish_twin(entity, "replaceTwin", || json!({}));
                Ok(((), &[Part::Subscriptions, Part::Twin]))
            })?;
        }
        Ok(())
    }

    /// Changes a record and waits until the changed parts are on disk. `change` returns these
    /// parts. If it fails, it must leave the record unchanged.
    fn change<T>(
        &self,
        owner: &Owner,
        change: impl FnOnce(&mut Entity) -> Result<(T, &'static [Part]), HubError>,
    ) -> Result<T, HubError> {
        let (value, queued) = self.queue_change(owner, change)?;
        queued.wait()?;
        Ok(value)
    }

    /// Changes a record like [`State::change`], but returns before the change is on disk.
    fn queue_change<T>(
        &self,
        owner: &Owner,
        change: impl FnOnce(&mut Entity) -> Result<(T, &'static [Part]), HubError>,
    ) -> Result<(T, QueuedChange), HubError> {
        let mut registry = self.registry.write();
        let entity = Arc::make_mut(registry.get_mut(owner).ok_or_else(|| not_found(owner))?);
        let (value, parts) = change(entity)?;
        entity.invalidate_view();
        let changes = || parts.iter().map(|part| entity.record(*part)).collect();
        // Queued under the lock, so that changes are written in order.
        let written = match &self.store {
            Some(store) if !parts.is_empty() => Some(store.write(changes())),
            _ => None,
        };
        drop(registry);
        self.count_change();
        Ok((value, QueuedChange(written)))
    }

    /// Returns the number of changes that can affect configurations.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    fn count_change(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }
}

/// The contents of the state file.
struct PersistedState {
    keys: BTreeMap<String, Key>,
    registry: Registry,
    provisioning: ProvisioningRecords,
    configurations: Documents<ConfigurationRecord>,
    jobs: JobRecords,
}

/// Parses the records of the file at `path`.
fn load(records: Vec<Record>, path: &Path) -> Result<PersistedState, StateError> {
    let mut keys = BTreeMap::new();
    let mut provisioning = ProvisioningRecords::default();
    let mut configurations = Documents::new();
    let mut jobs = JobRecords::default();
    let mut parts: BTreeMap<String, EntityParts> = BTreeMap::new();
    for Record { kind, key, value } in records {
        let damaged = |reason: &dyn Display| StateError::Damaged {
            path: path.to_owned(),
            reason: format!("{kind} `{key}`: {reason}"),
        };
        if let Some(part) = Part::of(kind) {
            let parts = parts.entry(key.clone()).or_default();
            parts.read(part, &value).map_err(|error| damaged(&error))?;
        } else if kind == RecordKind::Policy {
            let text = std::str::from_utf8(&value).map_err(|error| damaged(&error))?;
            keys.insert(key.clone(), text.parse::<Key>().map_err(|error| damaged(&error))?);
        } else if kind == RecordKind::Configuration {
            let document = serde_json::from_slice(&value).map_err(|error| damaged(&error))?;
            configurations.insert(key, Arc::new(document));
        } else {
            provisioning.read(kind, &key, &value).map_err(|error| damaged(&error))?;
            jobs.read(kind, &key, &value).map_err(|error| damaged(&error))?;
        }
    }
    let mut registry = Registry::new();
    for (key, parts) in parts {
        let entity = parts.assemble(&key).ok_or_else(|| StateError::Damaged {
            path: path.to_owned(),
            reason: format!("record `{key}` is incomplete"),
        })?;
        registry.insert(entity.owner.clone(), Arc::new(entity));
    }
    Ok(PersistedState { keys, registry, provisioning, configurations, jobs })
}

fn not_found(owner: &Owner) -> HubError {
    match &owner.module {
        None => HubError::new(ErrorCode::DeviceNotFound, owner.device.to_string()),
        Some(_) => HubError::new(ErrorCode::ModuleNotFound, owner.to_string()),
    }
}

fn server_error(error: NotWritten) -> HubError {
    HubError::new(ErrorCode::ServerError, error.to_string())
}

#[cfg(test)]
mod tests;
