//! Creation, update, deletion and listing of identities.

use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::Arc;

use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use protocol::error::{ErrorCode, HubError};
use protocol::host_name::HostName;
use protocol::id::DeviceId;
use protocol::sas::Key;
use tracing::warn;

use super::events::Lifecycle;
use super::identity::{Identity, IdentityRequest};
use super::owner::Owner;
use super::record::{Entity, Part, SignIn};
use super::store::RecordChange;
use super::twin::Twin;
use super::{IfMatch, Registry, State, not_found, server_error};

/// Maximum number of devices and modules. In IoT Hub this is the limit of devices.
const MAX_DEVICES: usize = 1_000_000;

/// Maximum number of modules of a device.
const MAX_MODULES: usize = 50;

/// Numbers of devices by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Statistics {
    pub(crate) enabled: usize,
    pub(crate) disabled: usize,
    pub(crate) connected: usize,
}

impl State {
    /// Creates a device with new keys and returns its primary key.
    pub(crate) fn create_device(&self, id: &DeviceId) -> Result<Key, HubError> {
        let entity = self.create(&Owner::device(id), &IdentityRequest::default())?;
        Ok(entity.primary_key().clone())
    }

    /// Returns the connection string of a device or module at the hub `host`. Registers it if it
    /// is new.
    pub(crate) fn registered(
        &self,
        owner: Owner,
        host: HostName,
    ) -> Result<DeviceConnectionString, HubError> {
        let entity = match self.get(&owner) {
            Ok(entity) => entity,
            Err(_) => self.create(&owner, &IdentityRequest::default())?,
        };
        let credential = match entity.sign_in() {
            SignIn::Token => DeviceCredential::Key(entity.primary_key().clone()),
            SignIn::Thumbprint(_) | SignIn::Authority => DeviceCredential::X509,
        };
        let Owner { device, module } = owner;
        Ok(DeviceConnectionString { host, device, module, gateway: None, credential })
    }

    /// Returns the key of a policy.
    pub(crate) fn policy_key(&self, policy: &str) -> Option<&Key> {
        self.policies().key(policy)
    }

    /// Creates an identity and its empty twin.
    pub(crate) fn create(
        &self,
        owner: &Owner,
        request: &IdentityRequest,
    ) -> Result<Arc<Entity>, HubError> {
        let identity = Identity::new(request)?;
        if let Some(parent) = &identity.parent_scope {
            self.check_parent(owner, parent)?;
        }
        let entity = Arc::new(Entity::new(owner.clone(), identity, Twin::new()));
        let mut registry = self.registry.write();
        if owner.module.is_some() {
            let device = Owner::device(&owner.device);
            if !registry.contains_key(&device) {
                return Err(not_found(&device));
            }
            if modules(&registry, &owner.device).count() >= MAX_MODULES {
                let reason = format!("the device has {MAX_MODULES} modules, which is the limit");
                return Err(HubError::new(ErrorCode::TooManyModulesOnDevice, reason));
            }
        } else if registry.len() >= MAX_DEVICES {
            let reason = format!("the hub has {MAX_DEVICES} devices, which is the limit");
            return Err(HubError::new(ErrorCode::TooManyDevices, reason));
        }
        match registry.entry(owner.clone()) {
            Entry::Occupied(_) => return Err(already_exists(owner)),
            Entry::Vacant(entry) => entry.insert(Arc::clone(&entity)),
        };
        self.publish_lifecycle(owner, Lifecycle::Created);
        if owner.device.as_str().contains(['+', '#']) {
            warn!(device = %owner.device, "device id has an MQTT wildcard: the device cannot send telemetry");
        }
        let changes = || [Part::Identity, Part::Twin].map(|part| entity.record(part)).into();
        let written = self.store.as_ref().map(|store| store.write(changes()));
        drop(registry);
        self.count_change();
        written.map_or(Ok(()), |written| written.wait().map_err(server_error))?;
        Ok(entity)
    }

    /// Updates an existing identity.
    pub(crate) fn update(
        &self,
        owner: &Owner,
        request: &IdentityRequest,
        if_match: &IfMatch,
    ) -> Result<Arc<Entity>, HubError> {
        let before = self.get(owner)?;
        let changed = before.identity.changed(request)?;
        if let Some(parent) = &changed.parent_scope
            && changed.parent_scope != before.identity.parent_scope
        {
            self.check_parent(owner, parent)?;
        }
        self.change(owner, |entity| {
            check_etag(entity, if_match)?;
            entity.identity = entity.identity.changed(request)?;
            self.publish_lifecycle(owner, Lifecycle::Changed);
            Ok(((), &[Part::Identity]))
        })?;
        self.get(owner)
    }

    /// Disables a device.
    pub(crate) fn disable(&self, id: &DeviceId) -> Result<(), HubError> {
        let request = IdentityRequest::disabled();
        self.update(&Owner::device(id), &request, &IfMatch::Any).map(drop)
    }

    /// Deletes an identity and its twin. Deleting a device also deletes its modules.
    pub(crate) fn delete(&self, owner: &Owner, if_match: &IfMatch) -> Result<(), HubError> {
        let mut registry = self.registry.write();
        check_etag(registry.get(owner).ok_or_else(|| not_found(owner))?, if_match)?;
        let mut deleted = vec![owner.clone()];
        if owner.module.is_none() {
            deleted.extend(modules(&registry, &owner.device).map(|module| module.owner.clone()));
        }
        let mut changes = Vec::new();
        for owner in &deleted {
            registry.remove(owner);
            self.publish_lifecycle(owner, Lifecycle::Deleted);
            changes.extend(Part::ALL.map(|part| RecordChange {
                kind: part.kind(),
                key: owner.to_string(),
                value: None,
            }));
        }
        let written = self.store.as_ref().map(|store| store.write(changes));
        drop(registry);
        self.count_change();
        written.map_or(Ok(()), |written| written.wait().map_err(server_error))
    }

    /// Returns the first `top` devices, ordered by id.
    pub(crate) fn devices(&self, top: usize) -> Vec<Arc<Entity>> {
        let registry = self.registry.read();
        registry
            .values()
            .filter(|entity| entity.owner.module.is_none())
            .take(top)
            .cloned()
            .collect()
    }

    /// Returns the modules of a device.
    pub(crate) fn modules(&self, id: &DeviceId) -> Result<Vec<Arc<Entity>>, HubError> {
        let device = Owner::device(id);
        let registry = self.registry.read();
        if !registry.contains_key(&device) {
            return Err(not_found(&device));
        }
        Ok(modules(&registry, id).cloned().collect())
    }

    /// Counts the devices by state.
    pub(crate) fn statistics(&self) -> Statistics {
        let registry = self.registry.read();
        let devices = registry.values().filter(|entity| entity.owner.module.is_none());
        devices.fold(Statistics::default(), |sum, device| Statistics {
            enabled: sum.enabled + usize::from(device.is_enabled()),
            disabled: sum.disabled + usize::from(!device.is_enabled()),
            connected: sum.connected + usize::from(device.is_connected()),
        })
    }
}

/// Returns the modules of a device, which follow the device in the registry.
fn modules<'r>(registry: &'r Registry, id: &'r DeviceId) -> impl Iterator<Item = &'r Arc<Entity>> {
    let device = Owner::device(id);
    registry
        .range((Bound::Excluded(device), Bound::Unbounded))
        .map(|(_, entity)| entity)
        .take_while(move |entity| entity.owner.device == *id)
}

fn check_etag(entity: &Entity, if_match: &IfMatch) -> Result<(), HubError> {
    if if_match.matches(&entity.identity.etag_text()) {
        return Ok(());
    }
    Err(HubError::new(ErrorCode::PreconditionFailed, "PreconditionFailed"))
}

fn already_exists(owner: &Owner) -> HubError {
    match &owner.module {
        None => {
            let text = format!("A device with ID '{}' is already registered.", owner.device);
            HubError::new(ErrorCode::DeviceAlreadyExists, text)
        }
        Some(module) => {
            let text = format!("A module with ID '{module}' is already registered.");
            HubError::new(ErrorCode::ModuleAlreadyExistsOnDevice, text)
        }
    }
}
