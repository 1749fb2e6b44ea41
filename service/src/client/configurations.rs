//! Automatic configurations of devices.

use protocol::configuration::Configuration;
use protocol::id::ConfigurationId;
use protocol::rest::{self, of_id};
use reqwest::Method;
use serde_json::json;

use super::Client;
use super::send::{HubRequest, Resend};
use crate::ServiceError;

impl Client {
    /// Returns all configurations, at most 100.
    pub async fn configurations(&self) -> Result<Vec<Configuration>, ServiceError> {
        let subject = "configurations".to_owned();
        let request = HubRequest::new(Method::GET, rest::CONFIGURATIONS.to_owned(), subject);
        self.send(HubRequest { query: "&top=100", ..request }).await?.json()
    }

    /// Returns a configuration with its metrics.
    pub async fn configuration(&self, id: &ConfigurationId) -> Result<Configuration, ServiceError> {
        self.send(request(Method::GET, id)).await?.json()
    }

    /// Creates a configuration without an etag, or replaces the one with this etag.
    pub async fn write_configuration(
        &self,
        configuration: &Configuration,
    ) -> Result<Configuration, ServiceError> {
        let etag = configuration.etag.as_deref();
        let body = Some(json!(configuration).to_string());
        // A second write would not find the etag of the first one.
        let resend = Resend::IfUndelivered;
        let request = request(Method::PUT, &configuration.id);
        self.send(HubRequest { body, etag, resend, ..request }).await?.json()
    }

    /// Deletes a configuration, whatever its version.
    pub async fn delete_configuration(&self, id: &ConfigurationId) -> Result<(), ServiceError> {
        let resend = Resend::IfUndelivered;
        let request = HubRequest { etag: Some("*"), resend, ..request(Method::DELETE, id) };
        self.send(request).await.map(drop)
    }
}

fn request(method: Method, id: &ConfigurationId) -> HubRequest<'static> {
    let path = of_id(rest::CONFIGURATION, id.as_str());
    HubRequest::new(method, path, format!("configuration `{id}`"))
}
