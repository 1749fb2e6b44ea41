//! Tests of devices, twins and policies, in memory and on disk.

use std::sync::Arc;

use protocol::error::{ErrorCode, HubError};
use protocol::id::DeviceId;
use protocol::sas::{Key, sign};
use protocol::twin::DesiredPatch;
use protocol::user_name::UserName;
use serde_json::{Map, Value, json};

use super::*;

mod authentication;
mod identities;
mod restart;
mod twins;

fn hosts() -> Vec<String> {
    vec!["localhost".into(), "127.0.0.1".into()]
}

fn in_memory() -> Arc<State> {
    State::open(None, hosts()).unwrap()
}

fn by_password(password: Option<&str>) -> DeviceCredentials {
    DeviceCredentials { password: password.map(str::to_owned), ..Default::default() }
}

fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

fn owner(text: &str) -> Owner {
    Owner::parse(text).unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn patch(state: &State, device: &str, body: Value, etag: &str) -> Result<Value, HubError> {
    let change = TwinChange::parse(object(body))?;
    let if_match = IfMatch::parse(Some(etag));
    let (entity, _) = state.write_twin(&owner(device), TwinWrite::Merge, change, &if_match)?;
    Ok((*entity.twin_view()).clone())
}

fn replace(state: &State, body: Value) -> Result<(Arc<Entity>, Option<DesiredPatch>), HubError> {
    let change = TwinChange::parse(object(body))?;
    state.write_twin(&owner("d1"), TwinWrite::Replace, change, &IfMatch::Any)
}

fn twin(state: &State, device: &str) -> Value {
    (*state.get(&owner(device)).unwrap().twin_view()).clone()
}

fn request(body: Value) -> IdentityRequest {
    serde_json::from_value(body).unwrap()
}
