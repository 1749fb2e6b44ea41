//! The persisted twin of a device or module, and its changes by services.
//!
//! `protocol::twin` merges sections and checks their limits. This module adds counters and
//! selects the parts of a request that a service can change.

use protocol::error::{ErrorCode, HubError};
use protocol::twin::{
    DesiredPatch, MAX_TAGS_BYTES, PatchError, Section, Stamp, check_patch, check_section,
    check_size, merge, replacement,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::managed::Managed;
use crate::stamps::now;

/// A persisted twin.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Twin {
    pub(super) tags: Map<String, Value>,
    pub(super) desired: Section,
    pub(super) reported: Section,
    /// Number of all changes.
    pub(super) version: u64,
    /// Number of changes by services. The etag is derived from it.
    pub(super) etag: u64,
    pub(super) model_id: Option<String>,
    /// The part that configurations manage.
    #[serde(default, skip_serializing_if = "Managed::is_empty")]
    pub(super) managed: Managed,
}

/// Kind of a write by a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TwinWrite {
    /// PATCH: merges the members into the twin.
    Merge,
    /// PUT: replaces all members of the twin.
    Replace,
}

impl TwinWrite {
    /// Returns the name of the operation in events, as in IoT Hub.
    pub(super) fn operation(self) -> &'static str {
        match self {
            TwinWrite::Merge => "updateTwin",
            TwinWrite::Replace => "replaceTwin",
        }
    }
}

/// The parts of a document that a service can change. All others, such as `reported` and
/// `etag`, are ignored.
#[derive(Debug, Default)]
pub(crate) struct TwinChange {
    tags: Option<SectionChange>,
    desired: Option<SectionChange>,
}

/// A change of tags or desired properties.
#[derive(Debug)]
enum SectionChange {
    /// `null`, which removes all members.
    Clear,
    Members(Map<String, Value>),
}

impl TwinChange {
    /// Extracts `tags` and `properties.desired` from a document.
    pub(crate) fn parse(mut body: Map<String, Value>) -> Result<TwinChange, HubError> {
        let tags = section(body.remove("tags"), "tags")?;
        let mut desired = match section(body.remove("properties"), "properties")? {
            Some(SectionChange::Members(mut properties)) => {
                section(properties.remove("desired"), "properties.desired")?
            }
            Some(SectionChange::Clear) | None => None,
        };
        if let Some(SectionChange::Members(desired)) = &mut desired {
            // Clients send these members back when they change a received twin.
            desired.remove("$metadata");
            desired.remove("$version");
        }
        Ok(TwinChange { tags, desired })
    }

    /// Checks that the twin of a new device can be replaced by this one.
    pub(crate) fn check(self) -> Result<(), HubError> {
        Twin::new().written(TwinWrite::Replace, self).map(drop)
    }
}

fn section(value: Option<Value>, name: &str) -> Result<Option<SectionChange>, HubError> {
    match value {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(SectionChange::Clear)),
        Some(Value::Object(members)) => Ok(Some(SectionChange::Members(members))),
        Some(_) => {
            Err(HubError::new(ErrorCode::ArgumentInvalid, format!("{name} is not a JSON object")))
        }
    }
}

impl SectionChange {
    /// Returns the members and the kind of write for this section.
    fn resolve(self, write: TwinWrite) -> (Map<String, Value>, TwinWrite) {
        match self {
            SectionChange::Clear => (Map::new(), TwinWrite::Replace),
            SectionChange::Members(members) => (members, write),
        }
    }
}

impl Twin {
    /// Returns the twin of a new device.
    pub(super) fn new() -> Twin {
        let now = now();
        Twin {
            tags: Map::new(),
            desired: Section::new(Stamp::TimeAndVersion, &now),
            reported: Section::new(Stamp::Time, &now),
            // IoT Hub starts at 2.
            version: 2,
            etag: 1,
            model_id: None,
            managed: Managed::default(),
        }
    }

    /// Returns the twin after a write by a service, and the patch that notifies its device.
    /// Refuses the whole write if any part of it is invalid.
    pub(super) fn written(
        &self,
        write: TwinWrite,
        change: TwinChange,
    ) -> Result<(Twin, Option<DesiredPatch>), HubError> {
        let mut twin = self.clone();
        let now = now();
        let (tags, desired) = match write {
            TwinWrite::Merge => (change.tags, change.desired),
            // A missing section clears the section of the twin.
            TwinWrite::Replace => (
                Some(change.tags.unwrap_or(SectionChange::Clear)),
                Some(change.desired.unwrap_or(SectionChange::Clear)),
            ),
        };
        if tags.is_none() && desired.is_none() {
            return Ok((twin, None));
        }
        if let Some(tags) = tags {
            match tags.resolve(write) {
                (tags, TwinWrite::Merge) => {
                    check_patch(&tags).map_err(not_allowed)?;
                    merge(&mut twin.tags, &tags);
                }
                (tags, TwinWrite::Replace) => {
                    check_section(&tags).map_err(not_allowed)?;
                    twin.tags = tags;
                }
            }
            check_size("tags", &twin.tags, MAX_TAGS_BYTES).map_err(not_allowed)?;
        }
        let notification = match desired.map(|desired| desired.resolve(write)) {
            None => None,
            Some((patch, TwinWrite::Merge)) => {
                twin.desired.apply(&patch, &now).map_err(not_allowed)?;
                Some(patch)
            }
            Some((body, TwinWrite::Replace)) => {
                twin.desired.replace(body, &now).map_err(not_allowed)?;
                Some(replacement(&self.desired.body, &twin.desired.body))
            }
        };
        let version = twin.desired.version;
        let notification = notification.map(|patch| DesiredPatch { patch, version });
        twin.version += 1;
        twin.etag += 1;
        Ok((twin, notification))
    }
}

pub(super) fn not_allowed(error: PatchError) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, error.to_string())
}
