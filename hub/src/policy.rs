//! Shared access policies and their permissions.
//!
//! A token contains the name of its policy (`skn`), is signed with the policy's key and
//! covers a resource. [`Policies::check`] verifies the token and compares the permissions
//! of its policy with the one that [`required_permission`] derives from the request.
//! A request can have an access token of the directory instead, which has all permissions of
//! its resource.
//!
//! Names and permissions are those of a new IoT Hub. This module does not handle the keys
//! of devices.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, Method, header::AUTHORIZATION};
use protocol::host_name::HostName;
use protocol::provisioning::service::OWNER_POLICY as PROVISIONING_OWNER_POLICY;
use protocol::rest;
use protocol::sas::{Key, SasToken};

use crate::entra::{AccessDenied, Directory, Resource};
use crate::faults;

/// Start of an `Authorization` header with an access token of the directory.
const BEARER: &str = "Bearer ";

/// A permission of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Use of twins, methods, queries and jobs.
    ServiceConnect,
    RegistryRead,
    RegistryReadWrite,
    /// Connections of devices.
    DeviceConnect,
    /// Use of the service API of the Device Provisioning Service.
    Provisioning,
    /// Fault injection, which does not exist in Azure IoT Hub.
    Faults,
}

use Permission::{DeviceConnect, RegistryRead, RegistryReadWrite, ServiceConnect};

/// Policy of a hub with all of its permissions.
pub(crate) const OWNER_POLICY: &str = "iothubowner";

/// Policies of a new hub and its Device Provisioning Service, and their permissions.
pub(crate) const GRANTS: [(&str, &[Permission]); 6] = [
    (
        OWNER_POLICY,
        &[ServiceConnect, RegistryRead, RegistryReadWrite, DeviceConnect, Permission::Faults],
    ),
    ("service", &[ServiceConnect]),
    ("device", &[DeviceConnect]),
    ("registryRead", &[RegistryRead]),
    ("registryReadWrite", &[RegistryRead, RegistryReadWrite]),
    // The owner of the Device Provisioning Service, which has policies of its own in Azure.
    (PROVISIONING_OWNER_POLICY, &[Permission::Provisioning]),
];

/// Reason for a denied request. It is logged, but not revealed to the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("no Authorization header")]
    Absent,
    #[error("the Authorization header is neither a SAS token nor an access token")]
    NotAToken,
    #[error(transparent)]
    AccessToken(#[from] AccessDenied),
    #[error("the application has no role that allows {0:?}")]
    NoRole(Permission),
    #[error("the token has no policy")]
    NoPolicy,
    #[error("policy `{0}` does not exist")]
    UnknownPolicy(String),
    #[error("policy `{policy}` does not grant {needed:?}")]
    NotGranted { policy: String, needed: Permission },
    #[error("the token does not cover `{0}`")]
    OtherResource(String),
    #[error("the token expired at {0}")]
    Expired(u64),
    #[error("the signature is wrong")]
    WrongSignature,
}

/// The keys of all policies, the directory, and the host names of the hub.
pub(crate) struct Policies {
    keys: BTreeMap<String, Key>,
    directory: Directory,
    hosts: Vec<HostName>,
}

impl Policies {
    pub(crate) fn new(
        keys: BTreeMap<String, Key>,
        directory: Directory,
        hosts: Vec<HostName>,
    ) -> Policies {
        Policies { keys, directory, hosts }
    }

    /// Returns the directory whose access tokens the hub accepts.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Returns the key of a policy.
    pub(crate) fn key(&self, policy: &str) -> Option<&Key> {
        self.keys.get(policy)
    }

    /// Returns `true` if this is a host name of the hub. The port is ignored.
    pub(crate) fn is_own_name(&self, host: &HostName) -> bool {
        self.hosts.iter().any(|own| own.matches(host))
    }

    /// Returns `true` if `token` covers `path` under any host name of the hub.
    pub(crate) fn covers(&self, token: &SasToken, path: &str) -> bool {
        self.hosts.iter().any(|own| token.covers(&format!("{}{path}", own.name())))
    }

    /// Checks that the `Authorization` header of a request for `path` is valid and grants the
    /// permission `needed`.
    pub(crate) fn authorize(
        &self,
        headers: &HeaderMap,
        path: &str,
        needed: Permission,
        now_unix: u64,
    ) -> Result<(), Denied> {
        let header = headers.get(AUTHORIZATION).ok_or(Denied::Absent)?;
        let text = header.to_str().map_err(|_| Denied::NotAToken)?;
        if let Some((scheme, token)) = text.split_at_checked(BEARER.len())
            && scheme.eq_ignore_ascii_case(BEARER)
        {
            let resource = match needed {
                Permission::Provisioning => Resource::Provisioning,
                _ => Resource::Hub,
            };
            self.directory.check(token, resource, now_unix)?;
            // No role in Azure corresponds to fault injection.
            return if needed == Permission::Faults { Err(Denied::NoRole(needed)) } else { Ok(()) };
        }
        let token = text.parse().map_err(|_| Denied::NotAToken)?;
        self.check(&token, path, needed, now_unix)
    }

    /// Checks that `token` is valid and grants the permission `needed` for `path`.
    pub(crate) fn check(
        &self,
        token: &SasToken,
        path: &str,
        needed: Permission,
        now_unix: u64,
    ) -> Result<(), Denied> {
        let policy = token.policy().ok_or(Denied::NoPolicy)?;
        let unknown = || Denied::UnknownPolicy(policy.to_owned());
        let key = self.keys.get(policy).ok_or_else(unknown)?;
        let (_, granted) = GRANTS.iter().find(|(name, _)| *name == policy).ok_or_else(unknown)?;
        if !token.verify(key) {
            return Err(Denied::WrongSignature);
        }
        if !self.covers(token, path) {
            return Err(Denied::OtherResource(path.to_owned()));
        }
        if token.expired_at(now_unix) {
            return Err(Denied::Expired(token.expiry()));
        }
        if !granted.contains(&needed) {
            return Err(Denied::NotGranted { policy: policy.to_owned(), needed });
        }
        Ok(())
    }
}

/// Returns the permission that a request needs.
pub(crate) fn required_permission(method: &Method, path: &str) -> Permission {
    if faults::is_control_path(path) {
        return Permission::Faults;
    }
    // Compares the whole path, since a device can have the id `query` or `query2`.
    let query = method == Method::POST && path == rest::QUERY;
    let registry = !query
        && !is_for_messages(method, path)
        && ["/devices", "/statistics", "/configurations"].iter().any(|part| path.starts_with(part));
    match (registry, method == Method::GET) {
        (true, true) => RegistryRead,
        (true, false) => RegistryReadWrite,
        (false, _) => ServiceConnect,
    }
}

/// Returns `true` if a request sends or purges the cloud-to-device messages of a device.
fn is_for_messages(method: &Method, path: &str) -> bool {
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match segments[..] {
        ["devices", _, "messages", bound] => {
            *method == Method::POST && bound.eq_ignore_ascii_case("devicebound")
        }
        ["devices", _, "commands"] => *method == Method::DELETE,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn method_and_path_determine_the_permission() {
        for (method, path, permission) in [
            (Method::GET, "/twins/d1", ServiceConnect),
            (Method::POST, "/twins/d1/methods", ServiceConnect),
            (Method::POST, "/devices/query", ServiceConnect),
            (Method::PUT, "/devices/query", RegistryReadWrite),
            (Method::GET, "/devices/query", RegistryRead),
            (Method::PUT, "/devices/query2", RegistryReadWrite),
            (Method::POST, "/devices", RegistryReadWrite),
            (Method::GET, "/devices/", RegistryRead),
            (Method::DELETE, "/devices/d1/modules/m", RegistryReadWrite),
            (Method::GET, "/statistics/service", RegistryRead),
            (Method::GET, "/configurations/c1", RegistryRead),
            (Method::PUT, "/configurations/c1", RegistryReadWrite),
            (Method::PUT, "/jobs/v2/job01", ServiceConnect),
            (Method::POST, "/devices/d1/messages/deviceBound", ServiceConnect),
            (Method::DELETE, "/devices/d1/commands", ServiceConnect),
            (Method::DELETE, "/devices/commands", RegistryReadWrite),
            (Method::POST, "/$faults", Permission::Faults),
            (Method::DELETE, "/$faults/1", Permission::Faults),
        ] {
            assert_eq!(required_permission(&method, path), permission, "{method} {path}");
        }
    }
}
