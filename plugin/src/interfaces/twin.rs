//! `device:behaviour/twin`: the device twin.

use super::bindings::device::behaviour::twin::{Document as WitDocument, Host};
use super::{Error, check_size};
use crate::call::state::CallState;
use crate::{Document, HostError};
use serde_json::{Map, Value};
use std::time::Duration;

/// Time reserved before the deadline, so that a guest can still respond after a wait for the
/// hub has timed out.
const RESPONSE_TIME: Duration = Duration::from_millis(100);

impl Host for CallState {
    async fn report(&mut self, patch: String) -> Result<(), Error> {
        let patch = self.parse_patch(&patch)?;
        Ok(self.lent.twin.report(&self.plugin.name, patch).await?)
    }

    async fn report_and_wait(&mut self, patch: String, timeout_ms: u32) -> Result<u64, Error> {
        let patch = self.parse_patch(&patch)?;
        let timeout = Duration::from_millis(timeout_ms.into())
            .min(self.remaining().saturating_sub(RESPONSE_TIME));
        Ok(self.lent.twin.report_and_wait(&self.plugin.name, patch, timeout).await?)
    }

    fn desired(&mut self) -> Result<WitDocument, Error> {
        Ok(self.lent.twin.desired()?.into())
    }

    fn reported(&mut self) -> Result<WitDocument, Error> {
        Ok(self.lent.twin.reported()?.into())
    }
}

impl CallState {
    /// Parses a patch and counts it against the limit.
    fn parse_patch(&mut self, text: &str) -> Result<Map<String, Value>, HostError> {
        check_size("patch", text.len(), self.plugin.limits.report_bytes)?;
        match json::value(text) {
            Ok(Value::Object(patch)) => {
                self.count_report()?;
                Ok(patch)
            }
            Ok(_) => Err(HostError::Invalid("patch is not a JSON object".to_owned())),
            Err(error) => Err(HostError::Invalid(format!("patch {error}"))),
        }
    }
}

impl From<Document> for WitDocument {
    fn from(document: Document) -> WitDocument {
        WitDocument { body: document.body, version: document.version }
    }
}
