//! Requests of a device for its next certificate.

use std::sync::Arc;

use protocol::id::RequestId;
use protocol::topic::{Filter, HubTopic};

use super::{Session, SessionEnd, on_disk};
use crate::faults::Step;
use crate::mqtt::{Outbound, Publish};

impl Session {
    /// Answers a request, and starts to issue the certificate. The PUBACK precedes the answer,
    /// as some clients expect.
    pub(super) async fn issue_certificate(
        &self,
        rid: RequestId,
        message: &Publish,
    ) -> Result<(), SessionEnd> {
        if !self.has_credentials {
            let reason = "a request for a certificate, which needs api-version 2025-08-01-preview";
            return Err(SessionEnd::Misused(reason.to_owned()));
        }
        if let Some(id) = message.id {
            self.send_at(Step::Acknowledge, &Outbound::PubAck(id)).await?;
        }
        // Without a subscription, a device receives no answers.
        if !self.filters.iter().any(|(filter, _)| *filter == Filter::CredentialAnswers) {
            return Ok(());
        }
        let device = self.owner.device.clone();
        let has_authority =
            on_disk(&self.context.state, move |state| state.signs_in_by_authority(&device)).await;
        let handling = self.handling(Step::CertificateRequest);
        let credentials = &self.context.credentials;
        let accepted = credentials.accept(
            &self.owner.device,
            has_authority,
            &rid,
            &message.payload,
            handling.rejection,
        );
        let (status, body) = match &accepted {
            Ok(accepted) => (202, serde_json::to_vec(&accepted.pending)),
            Err(error) => {
                let status = u16::try_from(error.error_code / 1000);
                (status.expect("codes have six digits"), serde_json::to_vec(error))
            }
        };
        let body = body.expect("answers are plain data");
        let topic = HubTopic::CredentialAnswer { status, rid }.to_string();
        let packet = Outbound::Publish { topic: &topic, payload: &body };
        let sent = self.send(&packet, handling).await;
        if let Ok(accepted) = accepted {
            let (credentials, device) = (Arc::clone(credentials), self.owner.device.clone());
            tokio::spawn(async move { credentials.finish(device, accepted).await });
        }
        sent
    }
}
