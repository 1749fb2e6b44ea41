//! Jobs on many devices.

use protocol::id::JobId;
use protocol::job::{DeviceJob, Job};
use protocol::rest::{self, of_id};
use reqwest::Method;
use serde_json::{Value, json};

use super::Client;
use super::send::{HubRequest, Resend};
use crate::ServiceError;

impl Client {
    /// Creates a job.
    pub async fn create_job(&self, job: &Job) -> Result<(), ServiceError> {
        let mut body = json!(job);
        if let Value::Object(members) = &mut body {
            members.remove("status");
        }
        let (body, resend) = (Some(body.to_string()), Resend::IfUndelivered);
        let request = request(Method::PUT, rest::JOB, &job.job_id);
        self.send(HubRequest { body, resend, ..request }).await.map(drop)
    }

    /// Returns a job with the numbers of its devices.
    pub async fn job(&self, id: &JobId) -> Result<Job, ServiceError> {
        self.send(request(Method::GET, rest::JOB, id)).await?.json()
    }

    /// Returns all jobs of the last 30 days.
    pub async fn jobs(&self) -> Result<Vec<Job>, ServiceError> {
        let mut all = Vec::new();
        let mut headers = Vec::new();
        loop {
            let request = HubRequest::new(Method::GET, rest::JOBS.to_owned(), "jobs".to_owned());
            let response = self.send(HubRequest { headers, ..request }).await?;
            all.extend(response.json::<Vec<Job>>()?);
            match response.header(rest::HEADER_CONTINUATION) {
                Some(token) if !token.is_empty() => {
                    headers = vec![(rest::HEADER_CONTINUATION, token.to_owned())];
                }
                _ => return Ok(all),
            }
        }
    }

    /// Cancels a job that has not started, and returns it.
    pub async fn cancel_job(&self, id: &JobId) -> Result<Job, ServiceError> {
        let resend = Resend::IfUndelivered;
        // The front end of Azure refuses a request without a length.
        let body = Some(String::new());
        let request = request(Method::POST, rest::JOB_CANCEL, id);
        self.send(HubRequest { body, resend, ..request }).await?.json()
    }

    /// Returns the parts of a job's devices, of which `condition` selects some.
    pub async fn device_jobs(
        &self,
        id: &JobId,
        condition: Option<&str>,
    ) -> Result<Vec<DeviceJob>, ServiceError> {
        let of_job = format!("devices.jobs.jobId = '{id}'");
        let condition = condition.map(|more| format!(" AND {more}")).unwrap_or_default();
        let text = format!("SELECT * FROM devices.jobs WHERE {of_job}{condition}");
        let mut query = self.query(&text, Some(1000));
        let mut all = Vec::new();
        while let Some(page) = query.next_page().await? {
            for part in page {
                let part = serde_json::from_value(part).map_err(|error| {
                    let (hub, problem) = (self.hub(), error.to_string());
                    ServiceError::MalformedResponse { hub, problem }
                })?;
                all.push(part);
            }
        }
        Ok(all)
    }
}

fn request(method: Method, pattern: &str, id: &JobId) -> HubRequest<'static> {
    HubRequest::new(method, of_id(pattern, id.as_str()), format!("job `{id}`"))
}
