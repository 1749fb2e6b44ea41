//! Twins: what services wish, what devices report, and how both change.
//!
//! How sections merge and what they may hold is `protocol::twin`'s affair; here
//! are the counters around them and what a request may touch.

use protocol::error::{ErrorCode, HubError};
use protocol::twin::{
    DesiredPatch, MAX_TAGS_BYTES, PatchError, Section, Stamp, check_patch, check_size,
    merge,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::time::now;

/// A twin as it is kept.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Twin {
    pub(super) tags: Map<String, Value>,
    pub(super) desired: Section,
    pub(super) reported: Section,
    /// Counts every change.
    pub(super) version: u64,
    /// Counts what services changed; the etag is made of it.
    pub(super) etag: u64,
    pub(super) model_id: Option<String>,
}

/// How a service writes a twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TwinWrite {
    /// PATCH: what is named changes, the rest stays.
    Merge,
    /// PUT: what is not named is gone.
    Replace,
}

/// What a service writes: the parts of its document that may be written. All the
/// others, such as `reported` or `etag`, are accepted and passed over.
#[derive(Debug, Default)]
pub(crate) struct TwinChange {
    tags: Option<Map<String, Value>>,
    desired: Option<Map<String, Value>>,
}

impl TwinChange {
    /// Takes `tags` and `properties.desired` out of a document.
    pub(crate) fn parse(mut body: Map<String, Value>) -> Result<TwinChange, HubError> {
        let tags = object(body.remove("tags"), "tags")?;
        let desired = match object(body.remove("properties"), "properties")? {
            Some(mut properties) => object(properties.remove("desired"), "properties.desired")?,
            None => None,
        };
        let desired = desired.map(|mut desired| {
            // Clients send back what they were given.
            desired.remove("$metadata");
            desired.remove("$version");
            desired
        });
        Ok(TwinChange { tags, desired })
    }
}

fn object(value: Option<Value>, name: &str) -> Result<Option<Map<String, Value>>, HubError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => {
            Err(HubError::new(ErrorCode::ArgumentInvalid, format!("{name} is not a JSON object")))
        }
    }
}

impl Twin {
    /// The twin of a new device.
    pub(super) fn new() -> Twin {
        let now = now();
        Twin {
            tags: Map::new(),
            desired: Section::new(Stamp::TimeAndVersion, &now),
            reported: Section::new(Stamp::Time, &now),
            // A new twin of the service counts from here.
            version: 2,
            etag: 1,
            model_id: None,
        }
    }

    /// The twin after a service's write, and what its device is to be told.
    /// Nothing is changed if any part of the write is not allowed.
    pub(super) fn written(
        &self,
        write: TwinWrite,
        change: TwinChange,
    ) -> Result<(Twin, Option<DesiredPatch>), HubError> {
        let mut twin = self.clone();
        let now = now();
        let (tags, desired) = match write {
            TwinWrite::Merge => (change.tags, change.desired),
            // What is not named is replaced by nothing.
            TwinWrite::Replace => {
                (Some(change.tags.unwrap_or_default()), Some(change.desired.unwrap_or_default()))
            }
        };
        if tags.is_none() && desired.is_none() {
            return Ok((twin, None));
        }
        if let Some(tags) = tags {
            check_patch(&tags).map_err(not_allowed)?;
            if write == TwinWrite::Replace {
                twin.tags.clear();
            }
            // Into what is empty a merge is a replacement without its nulls.
            merge(&mut twin.tags, &tags);
            check_size("tags", &twin.tags, MAX_TAGS_BYTES).map_err(not_allowed)?;
        }
        let notice = match desired {
            None => None,
            Some(patch) => {
                let patch = match write {
                    TwinWrite::Merge => {
                        twin.desired.apply(&patch, &now).map_err(not_allowed)?;
                        patch
                    }
                    TwinWrite::Replace => {
                        twin.desired.replace(patch, &now).map_err(not_allowed)?;
                        twin.desired.body.clone()
                    }
                };
                Some(DesiredPatch { patch, version: twin.desired.version })
            }
        };
        twin.version += 1;
        twin.etag += 1;
        Ok((twin, notice))
    }
}

pub(super) fn not_allowed(error: PatchError) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, error.to_string())
}
