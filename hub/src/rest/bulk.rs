//! Bulk requests, in which each item succeeds or fails independently.

use axum::extract::State as Extract;
use protocol::error::{ErrorCode, HubError};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Rest;
use super::answer::{ApiError, ApiResult, json as answer};
use super::body::{JsonArray, device, module};
use crate::state::{IdentityRequest, IfMatch, Owner, TwinChange, TwinWrite};

/// Maximum number of items in a request.
const MAX_ITEMS: usize = 100;

/// The operation and the conditions of an item. The other members describe the identity or
/// the twin.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BulkItem {
    id: String,
    module_id: Option<String>,
    #[serde(default)]
    import_mode: ImportMode,
    #[serde(alias = "etag")]
    e_tag: Option<String>,
    #[serde(alias = "twinEtag")]
    twin_e_tag: Option<String>,
}

/// Operation of an item (documentation of IoT Hub, "Identity registry"). Case is ignored:
/// the Node client sends `Delete`, all others `delete`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum ImportMode {
    #[default]
    CreateOrUpdate,
    CreateOrUpdateIfMatchEtag,
    Create,
    Update,
    UpdateIfMatchEtag,
    Delete,
    DeleteIfMatchEtag,
    UpdateTwin,
    UpdateTwinIfMatchEtag,
}

impl TryFrom<String> for ImportMode {
    type Error = String;

    fn try_from(text: String) -> Result<ImportMode, String> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "createorupdate" => ImportMode::CreateOrUpdate,
            "createorupdateifmatchetag" => ImportMode::CreateOrUpdateIfMatchEtag,
            "create" => ImportMode::Create,
            "update" => ImportMode::Update,
            "updateifmatchetag" => ImportMode::UpdateIfMatchEtag,
            "delete" => ImportMode::Delete,
            "deleteifmatchetag" => ImportMode::DeleteIfMatchEtag,
            "updatetwin" => ImportMode::UpdateTwin,
            "updatetwinifmatchetag" => ImportMode::UpdateTwinIfMatchEtag,
            _ => return Err(format!("`{text}` is not an import mode")),
        })
    }
}

pub(super) async fn run(Extract(rest): Extract<Rest>, JsonArray(items): JsonArray) -> ApiResult {
    if items.len() > MAX_ITEMS {
        let reason = format!("{} items; at most {MAX_ITEMS} are allowed", items.len());
        return Err(ApiError::invalid(reason));
    }
    answer(&all(&rest, items).await)
}

/// Performs the operation of each item, and returns the answer.
pub(super) async fn all(rest: &Rest, items: Vec<Value>) -> Value {
    let mut errors = Vec::new();
    for item in items {
        let id = item.get("id").cloned().unwrap_or_default();
        let module = item.get("moduleId").cloned().unwrap_or_default();
        let operation = item.get("importMode").cloned().unwrap_or(json!("createOrUpdate"));
        if let Err(error) = process(rest, item).await {
            errors.push(json!({
                "deviceId": id,
                "moduleId": module,
                "errorCode": error.code.name(),
                "errorStatus": error.message,
                "operation": operation,
            }));
        }
    }
    json!({ "isSuccessful": errors.is_empty(), "errors": errors, "warnings": [] })
}

async fn process(rest: &Rest, value: Value) -> Result<(), HubError> {
    let invalid = |error: serde_json::Error| {
        HubError::new(ErrorCode::ArgumentInvalid, format!("item: {error}"))
    };
    let item: BulkItem = serde_json::from_value(value.clone()).map_err(invalid)?;
    let owner = match &item.module_id {
        None => device(&item.id)?,
        Some(name) => module(&item.id, name)?,
    };
    let identity: IdentityRequest = serde_json::from_value(value.clone()).map_err(invalid)?;
    let etag = IfMatch::parse(item.e_tag.as_deref().filter(|etag| !etag.is_empty()));
    let twin_etag = IfMatch::parse(item.twin_e_tag.as_deref().filter(|etag| !etag.is_empty()));
    rest.run(move |rest| match item.import_mode {
        ImportMode::Create => rest.write_identity(&owner, &identity, &IfMatch::Absent).map(drop),
        ImportMode::Update => rest.write_identity(&owner, &identity, &IfMatch::Any).map(drop),
        ImportMode::UpdateIfMatchEtag => {
            rest.write_identity(&owner, &identity, &required(etag, "eTag")?).map(drop)
        }
        ImportMode::CreateOrUpdate => {
            let exists = rest.state.get(&owner).is_ok();
            let condition = if exists { IfMatch::Any } else { IfMatch::Absent };
            rest.write_identity(&owner, &identity, &condition).map(drop)
        }
        ImportMode::CreateOrUpdateIfMatchEtag => {
            let condition = if rest.state.get(&owner).is_ok() {
                required(etag, "eTag")?
            } else {
                IfMatch::Absent
            };
            rest.write_identity(&owner, &identity, &condition).map(drop)
        }
        ImportMode::Delete => rest.delete_identity(&owner, &IfMatch::Any),
        ImportMode::DeleteIfMatchEtag => rest.delete_identity(&owner, &required(etag, "eTag")?),
        ImportMode::UpdateTwin => rest.import_twin(&owner, &value, &IfMatch::Any),
        ImportMode::UpdateTwinIfMatchEtag => {
            rest.import_twin(&owner, &value, &required(twin_etag, "twinETag")?)
        }
    })
    .await
}

/// Returns `etag`, or an error if the item lacks the `member` that its import mode needs.
fn required(etag: IfMatch, member: &str) -> Result<IfMatch, HubError> {
    match etag {
        IfMatch::Absent => {
            let text = format!("the import mode needs `{member}`");
            Err(HubError::new(ErrorCode::ArgumentInvalid, text))
        }
        etag => Ok(etag),
    }
}

impl Rest {
    fn import_twin(&self, owner: &Owner, item: &Value, if_match: &IfMatch) -> Result<(), HubError> {
        let body = item.as_object().cloned().unwrap_or_else(Map::new);
        let change = TwinChange::parse(body)?;
        self.twins.write(owner, TwinWrite::Merge, change, if_match).map(drop)
    }
}
