//! `device:behaviour/telemetry`: device-to-cloud messages.

use super::bindings::device::behaviour::telemetry::Host;
use super::{Error, check_size};
use crate::call::state::CallState;

impl Host for CallState {
    async fn send(
        &mut self,
        body: Vec<u8>,
        content_type: String,
        properties: Vec<(String, String)>,
    ) -> Result<(), Error> {
        let property_bytes: usize =
            properties.iter().map(|(name, value)| name.len() + value.len()).sum();
        let bytes = body.len() + content_type.len() + property_bytes;
        check_size("message", bytes, self.plugin.limits.message_bytes)?;
        self.count_message()?;
        let sink = &self.lent.telemetry;
        Ok(sink.send(&self.plugin.name, body, content_type, properties).await?)
    }
}
