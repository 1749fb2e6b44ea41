//! Scopes of edge devices, which tie a device to its parent.
//!
//! The scope of an edge device is generated and never changes: `ms-azure-iot-edge://`, its id, a
//! dash and its generation (`Device.Scope` in Microsoft's SDK for C#). The parent of a device is
//! named by the parent's scope: `parentScopes` for an edge device, and `deviceScope`,
//! `parentScopes` or both for a leaf device. The hub stores the parents, and no edge hub uses
//! them.

use protocol::error::{ErrorCode, HubError};
use protocol::id::DeviceId;
use serde::Deserialize;

use super::State;
use super::owner::Owner;

const PREFIX: &str = "ms-azure-iot-edge://";

/// The scopes in a request. Missing members stay unchanged; empty ones remove the parent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScopesRequest {
    device_scope: Option<String>,
    parent_scopes: Option<Vec<String>>,
}

impl ScopesRequest {
    /// Returns the scope of the parent after this request; `before` is the one before it.
    pub(super) fn parent(
        &self,
        iot_edge: bool,
        before: Option<&str>,
    ) -> Result<Option<String>, HubError> {
        if self.parent_scopes.as_ref().is_some_and(|scopes| scopes.len() > 1) {
            return Err(invalid("parentScopes has more than one scope".to_owned()));
        }
        let of_list = self.parent_scopes.as_ref().map(|scopes| scopes.first().map(String::as_str));
        let of_device = self.device_scope.as_deref().filter(|_| !iot_edge).map(Some);
        let named = [of_device, of_list].into_iter().flatten();
        let mut named = named.map(|scope| scope.filter(|scope| !scope.is_empty()));
        // Clients send both members back, and change only one of them.
        let first = named.next();
        let changed = first.into_iter().chain(named).find(|scope| *scope != before);
        Ok(changed.unwrap_or(before).map(str::to_owned))
    }
}

/// Returns the scope of an edge device.
pub(super) fn of_edge_device(device: &DeviceId, generation: &str) -> String {
    format!("{PREFIX}{device}-{generation}")
}

impl State {
    /// Returns an error if `scope` is not that of an edge device, or if it is that of the device
    /// itself.
    pub(super) fn check_parent(&self, owner: &Owner, scope: &str) -> Result<(), HubError> {
        let parent = scope.strip_prefix(PREFIX).and_then(|rest| rest.rsplit_once('-'));
        let parent = parent.and_then(|(device, _)| device.parse::<DeviceId>().ok());
        let parent = parent.and_then(|device| self.get(&Owner::device(&device)).ok());
        let is_scope = parent.is_some_and(|parent| {
            parent.owner != *owner && parent.edge_scope().as_deref() == Some(scope)
        });
        match is_scope {
            true => Ok(()),
            false => Err(invalid(format!(
                "`{}` is not the deviceScope of another edge device",
                json::readable(scope)
            ))),
        }
    }
}

fn invalid(reason: String) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(request: &str, iot_edge: bool, before: Option<&str>, expected: Option<&str>) {
        let request: ScopesRequest = serde_json::from_str(request).unwrap();
        assert_eq!(request.parent(iot_edge, before).unwrap().as_deref(), expected);
    }

    #[test]
    fn the_parent_is_the_scope_that_a_request_changes() {
        check("{}", false, Some("a"), Some("a"));
        check(r#"{"deviceScope": "b"}"#, false, None, Some("b"));
        check(r#"{"parentScopes": ["b"]}"#, false, None, Some("b"));
        check(r#"{"deviceScope": "b", "parentScopes": ["a"]}"#, false, Some("a"), Some("b"));
        check(r#"{"deviceScope": "a", "parentScopes": ["b"]}"#, false, Some("a"), Some("b"));
        check(r#"{"deviceScope": "", "parentScopes": []}"#, false, Some("a"), None);
        check(r#"{"deviceScope": null}"#, false, Some("a"), Some("a"));
        // The scope of an edge device is not that of its parent.
        check(r#"{"deviceScope": "own", "parentScopes": []}"#, true, None, None);
        check(r#"{"deviceScope": "own", "parentScopes": ["b"]}"#, true, None, Some("b"));
    }

    #[test]
    fn a_device_has_one_parent() {
        let request: ScopesRequest =
            serde_json::from_str(r#"{"parentScopes": ["a", "b"]}"#).unwrap();
        let error = request.parent(true, None).unwrap_err();
        assert_eq!(error.message, "parentScopes has more than one scope");
    }
}
