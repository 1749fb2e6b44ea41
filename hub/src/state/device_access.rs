//! Whether a device may connect.

use protocol::id::DeviceId;
use protocol::sas::SasToken;
use protocol::user_name::UserName;

use super::State;
use super::owner::Owner;
use super::record::Part;
use crate::policy::{Denied, Permission};

/// A device that may connect, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceGrant {
    pub(crate) device: DeviceId,
    /// When its token expires, in seconds since 1970.
    pub(crate) expires_unix: u64,
}

/// Why a device may not connect. The text is for the log; on the wire all are
/// one code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Final: the device must not try again unchanged.
    #[error("not authorized: {0}")]
    NotAuthorized(String),
    /// The hub cannot say at present.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl State {
    /// Holds what a device says of itself against its identity, and notes the
    /// model it announces.
    pub(crate) fn authenticate_device(
        &self,
        user: &UserName,
        password: Option<&str>,
        now_unix: u64,
    ) -> Result<DeviceGrant, Refusal> {
        let refused = |reason: String| Refusal::NotAuthorized(reason);
        if !self.policies().is_own_name(&user.host) {
            return Err(refused(format!("this hub is not called `{}`", user.host)));
        }
        if user.module.is_some() {
            return Err(refused("modules do not connect to this hub".into()));
        }
        let owner = Owner::device(&user.device);
        let entity = self.get(&owner).map_err(|_| refused("unknown device".into()))?;
        if !entity.is_enabled() {
            return Err(refused("the device is disabled".into()));
        }
        let text = password.ok_or_else(|| refused("no token: certificates are not read".into()))?;
        let token: SasToken = text.parse().map_err(|_| refused("not a SAS token".into()))?;
        self.check_token(&token, &owner, now_unix).map_err(|denied| refused(denied.to_string()))?;
        if entity.twin.model_id != user.model_id {
            let noted = self.change(&owner, |entity| {
                entity.twin.model_id.clone_from(&user.model_id);
                Ok(((), &[Part::Twin]))
            });
            noted.map_err(|error| Refusal::Unavailable(error.message))?;
        }
        Ok(DeviceGrant { device: owner.device, expires_unix: token.expiry() })
    }

    fn check_token(&self, token: &SasToken, owner: &Owner, now_unix: u64) -> Result<(), Denied> {
        let path = format!("/devices/{}", owner.device);
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
