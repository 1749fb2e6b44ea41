//! The list of devices on the page, searched and in pages.

use std::sync::Arc;

use axum::extract::Query;
use axum::http::header::CACHE_CONTROL;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::PageRefusal;
use crate::state::{Entity, Owner, State};

/// Maximum number of devices on a page.
const MAX_ROWS: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListRequest {
    /// Part of the device id; case is ignored.
    #[serde(default)]
    search: String,
    /// Last device of the previous page.
    after: Option<String>,
    #[serde(default)]
    connected: bool,
    rows: Option<usize>,
}

/// Returns a page of devices.
pub(super) async fn list(state: &Arc<State>, uri: &Uri) -> Result<Response, PageRefusal> {
    let malformed = PageRefusal { status: StatusCode::BAD_REQUEST, reason: "malformed request" };
    let Ok(Query(request)) = Query::<ListRequest>::try_from_uri(uri) else { return Err(malformed) };
    let state = Arc::clone(state);
    // A search of thousands of devices must not delay other requests.
    let page = tokio::task::spawn_blocking(move || page(&state, &request)).await;
    let page = page.map_err(|_| malformed)?;
    Ok(([(CACHE_CONTROL, "no-store")], axum::Json(page)).into_response())
}

fn page(state: &State, request: &ListRequest) -> Value {
    let rows = request.rows.unwrap_or(MAX_ROWS).clamp(1, MAX_ROWS);
    let after = request.after.as_deref().and_then(Owner::parse);
    let search = request.search.to_lowercase();
    let mut found = state.after(after.as_ref()).into_iter().filter(|entity| {
        entity.owner.module.is_none()
            && (!request.connected || entity.is_connected())
            && entity.owner.device.as_str().to_lowercase().contains(&search)
    });
    let devices: Vec<Arc<Entity>> = found.by_ref().take(rows).collect();
    let next = found.next().and_then(|_| devices.last()).map(|last| last.owner.to_string());
    let statistics = state.statistics();
    json!({
        "devices": devices.iter().map(|device| row(device)).collect::<Vec<_>>(),
        "next": next,
        "total": statistics.enabled + statistics.disabled,
        "connected": statistics.connected,
    })
}

fn row(device: &Entity) -> Value {
    let twin = device.twin_view();
    json!({
        "deviceId": device.owner.device,
        "connected": device.is_connected(),
        "enabled": device.is_enabled(),
        "lastActivityTime": twin["lastActivityTime"],
        "modelId": twin["modelId"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> Arc<State> {
        let state = State::open(None, vec!["localhost".into()]).unwrap();
        for id in ["pump-1", "pump-2", "Pump-3", "valve"] {
            state.create_device(&id.parse().unwrap()).unwrap();
        }
        state.set_connected(&Owner::device(&"pump-2".parse().unwrap()), true);
        state
    }

    fn ids(page: &Value) -> Vec<&str> {
        let devices = page["devices"].as_array().unwrap();
        devices.iter().map(|device| device["deviceId"].as_str().unwrap()).collect()
    }

    fn request(query: &str) -> ListRequest {
        let uri: Uri = format!("/?{query}").parse().unwrap();
        Query::try_from_uri(&uri).unwrap().0
    }

    #[test]
    fn pages_of_a_search_have_every_device_once() {
        let state = state();
        let first = page(&state, &request("search=PUMP&rows=2"));
        assert_eq!(ids(&first), ["Pump-3", "pump-1"]);
        assert_eq!((&first["total"], &first["connected"]), (&json!(4), &json!(1)));
        let next = first["next"].as_str().unwrap();
        let second = page(&state, &request(&format!("search=PUMP&rows=2&after={next}")));
        assert_eq!((ids(&second), &second["next"]), (vec!["pump-2"], &Value::Null));
        assert_eq!(ids(&page(&state, &request("connected=true"))), ["pump-2"]);
    }

    #[test]
    fn a_row_has_no_keys() {
        let state = state();
        let key = state.get(&Owner::device(&"valve".parse().unwrap())).unwrap();
        let key = key.primary_key().to_base64();
        assert!(!page(&state, &request("")).to_string().contains(&key));
    }
}
