//! Authentication of devices and modules.

use std::sync::Arc;

use protocol::id::DeviceId;
use protocol::sas::SasToken;
use protocol::user_name::UserName;

use super::State;
use super::owner::Owner;
use super::record::{Entity, Part, SignIn};
use crate::certificates::{DeviceAuthorities, PeerCertificates};
use crate::policy::{Denied, Permission};

/// An authenticated device or module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceGrant {
    pub(crate) owner: Owner,
    /// Expiry of the device's token, in Unix seconds; `None` for a device with a certificate.
    pub(crate) expires_unix: Option<u64>,
    /// Generation of the device, which distinguishes it from a deleted one with the same id.
    pub(crate) generation: String,
    /// `true` if the API version has the topics for certificates.
    pub(crate) has_credentials: bool,
    /// Plug and Play model that the device announces.
    pub(crate) model_id: Option<String>,
}

/// The credentials that a device has presented.
#[derive(Clone, Default)]
pub(crate) struct DeviceCredentials {
    pub(crate) password: Option<String>,
    pub(crate) certificates: PeerCertificates,
    /// The authorities that this hub trusts.
    pub(crate) authorities: DeviceAuthorities,
}

/// Reason why a device cannot connect, for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeviceRefusal {
    /// Permanent refusal: a retry would fail again.
    #[error("not authorised: {0}")]
    NotAuthorized(String),
    /// Temporary refusal: a retry can succeed.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl State {
    /// Authenticates a device by its user name and credentials, and stores the model id that
    /// it announces.
    pub(crate) fn authenticate_device(
        &self,
        user: &UserName,
        credentials: &DeviceCredentials,
        now_unix: u64,
    ) -> Result<DeviceGrant, DeviceRefusal> {
        let refused = |reason: String| DeviceRefusal::NotAuthorized(reason);
        if !self.policies().is_own_name(&user.host) {
            return Err(refused(format!("`{}` is not a name of this hub", user.host)));
        }
        let owner = Owner { device: user.device.clone(), module: user.module.clone() };
        let entity = self.enabled(&owner)?;
        let expires_unix = self.check_credentials(&entity, credentials, now_unix)?;
        if entity.twin.model_id != user.model_id {
            let stored = self.change(&owner, |entity| {
                entity.twin.model_id.clone_from(&user.model_id);
                Ok(((), &[Part::Twin]))
            });
            stored.map_err(|error| DeviceRefusal::Unavailable(error.message))?;
        }
        Ok(DeviceGrant {
            has_credentials: owner.module.is_none()
                && protocol::credentials::is_supported_by(&user.api_version),
            owner,
            expires_unix,
            generation: entity.generation().to_owned(),
            model_id: user.model_id.clone(),
        })
    }

    /// Authenticates the device or module of a request over HTTPS.
    pub(crate) fn authenticate_request(
        &self,
        owner: &Owner,
        credentials: &DeviceCredentials,
        now_unix: u64,
    ) -> Result<DeviceGrant, DeviceRefusal> {
        let entity = self.enabled(owner)?;
        let expires_unix = self.check_credentials(&entity, credentials, now_unix)?;
        Ok(DeviceGrant {
            owner: owner.clone(),
            expires_unix,
            generation: entity.generation().to_owned(),
            has_credentials: false,
            model_id: entity.twin.model_id.clone(),
        })
    }

    /// Returns `true` if the device signs in with a certificate of a trusted authority.
    pub(crate) fn signs_in_by_authority(&self, id: &DeviceId) -> bool {
        let entity = self.get(&Owner::device(id));
        entity.is_ok_and(|entity| matches!(entity.sign_in(), SignIn::Authority))
    }

    /// Authenticates a device by its certificate, the only credential in MQTT 5.
    pub(crate) fn authenticate_certificate(
        &self,
        device: &DeviceId,
        credentials: &DeviceCredentials,
        now_unix: u64,
    ) -> Result<DeviceGrant, DeviceRefusal> {
        let owner = Owner::device(device);
        let entity = self.enabled(&owner)?;
        if entity.sign_in() == SignIn::Token {
            let reason = "the device signs in with a SAS token; MQTT 5 needs a certificate";
            return Err(DeviceRefusal::NotAuthorized(reason.to_owned()));
        }
        let expires_unix = self.check_credentials(&entity, credentials, now_unix)?;
        Ok(DeviceGrant {
            owner,
            expires_unix,
            generation: entity.generation().to_owned(),
            has_credentials: false,
            model_id: None,
        })
    }

    /// Returns the record of a device that is registered and enabled, or of a module of such a
    /// device.
    fn enabled(&self, owner: &Owner) -> Result<Arc<Entity>, DeviceRefusal> {
        let refused = |reason: String| DeviceRefusal::NotAuthorized(reason);
        if owner.module.is_some() {
            self.enabled(&Owner::device(&owner.device))?;
        }
        let kind = if owner.module.is_some() { "module" } else { "device" };
        let entity =
            self.get(owner).map_err(|_| refused(format!("{kind} `{owner}` is not registered")))?;
        match entity.is_enabled() {
            true => Ok(entity),
            false => Err(refused("the device is disabled".into())),
        }
    }

    /// Checks the credentials and returns the expiry of the token, if there is one.
    fn check_credentials(
        &self,
        entity: &Entity,
        credentials: &DeviceCredentials,
        now_unix: u64,
    ) -> Result<Option<u64>, DeviceRefusal> {
        let refused = |reason: String| DeviceRefusal::NotAuthorized(reason);
        let DeviceCredentials { password, certificates, authorities } = credentials;
        // Clients of MQTT 5 send an empty password in place of none.
        let password = password.as_deref().filter(|text| !text.is_empty());
        let checked = match entity.sign_in() {
            SignIn::Token => {
                let text = password
                    .ok_or_else(|| refused("no password; the device needs a SAS token".into()))?;
                let token: SasToken =
                    text.parse().map_err(|_| refused("the password is not a SAS token".into()))?;
                self.check_token(&token, &entity.owner, now_unix)
                    .map_err(|denied| refused(denied.to_string()))?;
                return Ok(Some(token.expiry()));
            }
            _ if password.is_some() => {
                return Err(refused("a password, but the device needs a certificate".into()));
            }
            SignIn::Thumbprint(registered) => certificates.check_thumbprint(registered, now_unix),
            SignIn::Authority => {
                certificates.check_chain(authorities, entity.owner.device.as_str(), now_unix)
            }
        };
        checked.map(|()| None).map_err(|refusal| refused(refusal.to_string()))
    }

    fn check_token(&self, token: &SasToken, owner: &Owner, now_unix: u64) -> Result<(), Denied> {
        let path = owner.path();
        if token.policy().is_some() {
            return self.policies().check(token, &path, Permission::DeviceConnect, now_unix);
        }
        let entity = self.get(owner).map_err(|_| Denied::WrongSignature)?;
        if !entity.keys().into_iter().any(|key| token.verify(key)) {
            return Err(Denied::WrongSignature);
        }
        if !self.policies().covers(token, &path) {
            return Err(Denied::OtherResource(path));
        }
        if token.expired_at(now_unix) {
            return Err(Denied::Expired(token.expiry()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
