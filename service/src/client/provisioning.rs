//! Client of the service API of the Device Provisioning Service.

use protocol::connection_string::ServiceConnectionString;
use protocol::provisioning::enrollment::Enrollment;
use protocol::provisioning::service::{
    ATTESTATION_MECHANISM, EnrollmentKind, registration_path, registrations_query_path,
};
use protocol::rest;
use reqwest::Method;
use serde_json::{Value, json};

use super::rest_api::RestApi;
use super::send::{HubRequest, Resend};
use super::{Client, ClientSettings};
use crate::ServiceError;

/// The first API version with `credentialPolicyName`. It is a preview.
const CREDENTIAL_POLICY_VERSION: &str = "2025-07-01-preview";

/// A client of one instance of the Device Provisioning Service. Clones share its connections.
#[derive(Debug, Clone)]
pub struct ProvisioningClient(Client);

impl From<Client> for ProvisioningClient {
    /// Uses the host of a client, which must be that of the service.
    fn from(client: Client) -> ProvisioningClient {
        ProvisioningClient(client)
    }
}

impl ProvisioningClient {
    /// Creates a client of the instance in the connection string, without connecting to it.
    pub fn new(
        identity: ServiceConnectionString,
        settings: ClientSettings,
    ) -> Result<ProvisioningClient, ServiceError> {
        Client::new(identity, settings).map(ProvisioningClient)
    }

    /// Creates an enrollment or a group. The service generates missing keys, and returns them
    /// with the enrollment. Fails if the enrollment exists.
    pub async fn create(
        &self,
        kind: EnrollmentKind,
        id: &str,
        enrollment: &Enrollment,
    ) -> Result<Value, ServiceError> {
        let version = version(enrollment.credential_policy_name.is_some());
        let body = Some(json!(enrollment).to_string());
        // Creating the enrollment twice would return a conflict.
        let resend = Resend::IfUndelivered;
        let request = request(kind, id, Method::PUT);
        self.0.send(HubRequest { version, body, resend, ..request }).await?.json()
    }

    /// Replaces an enrollment or a group, if its etag is still that of `enrollment`, the
    /// document of a previous answer. The attestation must contain the keys.
    pub async fn replace(
        &self,
        kind: EnrollmentKind,
        id: &str,
        enrollment: &Value,
    ) -> Result<Value, ServiceError> {
        let etag =
            enrollment.get("etag").and_then(Value::as_str).map(|etag| etag.trim_matches('"'));
        let version = version(enrollment.get("credentialPolicyName").is_some());
        let (body, etag) = (Some(enrollment.to_string()), etag.or(Some("*")));
        let request = request(kind, id, Method::PUT);
        let resend = Resend::IfUndelivered;
        self.0.send(HubRequest { version, body, etag, resend, ..request }).await?.json()
    }

    /// Returns an enrollment or a group, without its keys.
    pub async fn get(&self, kind: EnrollmentKind, id: &str) -> Result<Value, ServiceError> {
        self.0.send(request(kind, id, Method::GET)).await?.json()
    }

    /// Returns the attestation of an enrollment or a group, with its keys.
    pub async fn attestation(&self, kind: EnrollmentKind, id: &str) -> Result<Value, ServiceError> {
        let request = request(kind, id, Method::POST);
        let path = format!("{}/{ATTESTATION_MECHANISM}", request.path);
        self.0.send(HubRequest { path, ..request }).await?.json()
    }

    /// Deletes an enrollment or a group. Its devices stay at their hubs.
    pub async fn delete(&self, kind: EnrollmentKind, id: &str) -> Result<(), ServiceError> {
        let resend = Resend::IfUndelivered;
        self.0.send(HubRequest { resend, ..request(kind, id, Method::DELETE) }).await?;
        Ok(())
    }

    /// Returns all enrollments or groups, without their keys.
    pub async fn list(&self, kind: EnrollmentKind) -> Result<Vec<Value>, ServiceError> {
        let subject = kind.segment().to_owned();
        self.all(kind.query_path(), subject, kind.segment()).await
    }

    /// Returns the ids of the first enrollments or groups, at most `limit`.
    pub async fn first_ids(
        &self,
        kind: EnrollmentKind,
        limit: u32,
    ) -> Result<Vec<String>, ServiceError> {
        let headers = vec![(rest::HEADER_MAX_ITEM_COUNT, limit.to_string())];
        let request = query(kind.query_path(), kind.segment().to_owned(), kind.segment());
        let page: Vec<Value> = self.0.send(HubRequest { headers, ..request }).await?.json()?;
        let id = |entry: &Value| entry.get(kind.id_member())?.as_str().map(str::to_owned);
        Ok(page.iter().filter_map(id).collect())
    }

    /// Returns the registration of a device.
    pub async fn registration(&self, id: &str) -> Result<Value, ServiceError> {
        self.0.send(of_registration(id, Method::GET)).await?.json()
    }

    /// Deletes the registration of a device, which stays at its hub. The next registration is
    /// assigned like that of a new device.
    pub async fn delete_registration(&self, id: &str) -> Result<(), ServiceError> {
        let resend = Resend::IfUndelivered;
        self.0.send(HubRequest { resend, ..of_registration(id, Method::DELETE) }).await?;
        Ok(())
    }

    /// Returns the registrations of the devices of a group.
    pub async fn registrations(&self, group: &str) -> Result<Vec<Value>, ServiceError> {
        let subject = subject(EnrollmentKind::Group, group);
        self.all(registrations_query_path(group), subject, "registrations").await
    }

    /// Returns the items of all pages of a query.
    async fn all(
        &self,
        path: String,
        subject: String,
        collection: &str,
    ) -> Result<Vec<Value>, ServiceError> {
        let mut items: Vec<Value> = Vec::new();
        let mut headers = Vec::new();
        loop {
            let request = query(path.clone(), subject.clone(), collection);
            let response = self.0.send(HubRequest { headers, ..request }).await?;
            items.extend(response.json::<Vec<Value>>()?);
            match response.header(rest::HEADER_CONTINUATION).filter(|token| !token.is_empty()) {
                Some(token) => headers = vec![(rest::HEADER_CONTINUATION, token.to_owned())],
                None => return Ok(items),
            }
        }
    }
}

/// Returns the API version for an enrollment, if it is not the usual one.
fn version(has_credential_policy: bool) -> Option<&'static str> {
    has_credential_policy.then_some(CREDENTIAL_POLICY_VERSION)
}

fn request(kind: EnrollmentKind, id: &str, method: Method) -> HubRequest<'static> {
    let request = HubRequest::new(method, kind.path(id), subject(kind, id));
    HubRequest { api: RestApi::Provisioning, ..request }
}

fn of_registration(id: &str, method: Method) -> HubRequest<'static> {
    let request = HubRequest::new(method, registration_path(id), format!("registration `{id}`"));
    HubRequest { api: RestApi::Provisioning, ..request }
}

/// Returns a request for all documents of a collection.
fn query(path: String, subject: String, collection: &str) -> HubRequest<'static> {
    let body = Some(json!({ "query": format!("SELECT * FROM {collection}") }).to_string());
    let request = HubRequest::new(Method::POST, path, subject);
    HubRequest { body, api: RestApi::Provisioning, ..request }
}

fn subject(kind: EnrollmentKind, id: &str) -> String {
    match kind {
        EnrollmentKind::Individual => format!("enrollment `{id}`"),
        EnrollmentKind::Group => format!("group `{id}`"),
    }
}
