//! Jobs and the parts of their devices, persisted with the devices.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::error::HubError;
use protocol::id::JobId;
use protocol::job::{DeviceJob, DeviceJobStatus, Job, JobStatistics};

use super::documents::{Documents, json};
use super::store::{RecordChange, RecordKind};
use super::{Owner, State};

/// Jobs by id, and the parts of their devices.
#[derive(Default)]
pub(crate) struct JobRecords {
    jobs: Documents<Job>,
    parts: BTreeMap<String, Documents<DeviceJob>>,
}

impl JobRecords {
    /// Parses a record of the state file. Ignores records of other kinds.
    pub(super) fn read(
        &mut self,
        kind: RecordKind,
        key: &str,
        value: &[u8],
    ) -> Result<(), serde_json::Error> {
        match kind {
            RecordKind::Job => {
                self.jobs.insert(key.to_owned(), Arc::new(serde_json::from_slice(value)?));
            }
            RecordKind::DeviceJob => {
                let part: DeviceJob = serde_json::from_slice(value)?;
                let job = part.job_id.to_string();
                self.parts.entry(job).or_default().insert(owner(&part), Arc::new(part));
            }
            _ => {}
        }
        Ok(())
    }

    fn statistics(&self, id: &JobId) -> JobStatistics {
        let mut sum = JobStatistics::default();
        for part in self.parts.get(id.as_str()).into_iter().flat_map(BTreeMap::values) {
            sum.device_count += 1;
            let count = match part.status {
                DeviceJobStatus::Pending | DeviceJobStatus::Scheduled => &mut sum.pending_count,
                DeviceJobStatus::Running => &mut sum.running_count,
                DeviceJobStatus::Completed => &mut sum.succeeded_count,
                DeviceJobStatus::Failed | DeviceJobStatus::Canceled => &mut sum.failed_count,
            };
            *count += 1;
        }
        sum
    }

    fn with_statistics(&self, job: &Job) -> Job {
        Job { device_job_statistics: Some(self.statistics(&job.job_id)), ..job.clone() }
    }
}

impl State {
    /// Returns a job with the numbers of its devices.
    pub(crate) fn job(&self, id: &JobId) -> Option<Job> {
        let records = self.jobs.read();
        records.jobs.get(id.as_str()).map(|job| records.with_statistics(job))
    }

    /// Returns all jobs that `accept` accepts, ordered by id, with the numbers of their devices.
    pub(crate) fn jobs(&self, accept: impl Fn(&Job) -> bool) -> Vec<Job> {
        let records = self.jobs.read();
        let accepted = records.jobs.values().filter(|job| accept(job));
        accepted.map(|job| records.with_statistics(job)).collect()
    }

    /// Changes a job by the result of `change`, which gets the current one and all jobs.
    /// Returns once the change is on disk.
    pub(crate) fn change_job<E: From<HubError>>(
        &self,
        id: &JobId,
        change: impl FnOnce(Option<&Job>, &[Arc<Job>]) -> Result<Job, E>,
    ) -> Result<(), E> {
        let mut records = self.jobs.write();
        let all: Vec<Arc<Job>> = records.jobs.values().cloned().collect();
        let queued =
            self.replace(&mut records.jobs, RecordKind::Job, id.to_string(), |current| {
                change(current, &all).map(Some)
            })?;
        drop(records);
        Ok(queued.wait()?)
    }

    /// Removes a job and the parts of its devices. Returns once the change is on disk.
    pub(crate) fn remove_job(&self, id: &JobId) -> Result<(), HubError> {
        let mut records = self.jobs.write();
        records.jobs.remove(id.as_str());
        let parts = records.parts.remove(id.as_str()).unwrap_or_default();
        let removed = |kind, key| RecordChange { kind, key, value: None };
        let mut changes = vec![removed(RecordKind::Job, id.to_string())];
        changes.extend(parts.values().map(|part| removed(RecordKind::DeviceJob, key(part))));
        let queued = self.queue(changes);
        drop(records);
        queued.wait()
    }

    /// Writes parts of a job in one transaction. Returns once they are on disk.
    pub(crate) fn write_device_jobs(&self, parts: Vec<DeviceJob>) -> Result<(), HubError> {
        let mut records = self.jobs.write();
        let mut changes = Vec::new();
        for part in parts {
            let value = Some(json(&part));
            changes.push(RecordChange { kind: RecordKind::DeviceJob, key: key(&part), value });
            let of_job = records.parts.entry(part.job_id.to_string()).or_default();
            of_job.insert(owner(&part), Arc::new(part));
        }
        let queued = self.queue(changes);
        drop(records);
        queued.wait()
    }

    /// Shows the state of a part without persisting it.
    pub(crate) fn show_device_job(&self, part: DeviceJob) {
        let mut records = self.jobs.write();
        if let Some(of_job) = records.parts.get_mut(part.job_id.as_str()) {
            of_job.insert(owner(&part), Arc::new(part));
        }
    }

    /// Returns the parts of a job, ordered by device.
    pub(crate) fn device_jobs(&self, id: &JobId) -> Vec<Arc<DeviceJob>> {
        let records = self.jobs.read();
        let parts = records.parts.get(id.as_str());
        parts.into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Returns the parts of all jobs after the part `after`, each with its key, in order.
    pub(crate) fn device_jobs_after(&self, after: Option<&str>) -> Vec<(String, Arc<DeviceJob>)> {
        let records = self.jobs.read();
        let parts = records.parts.values().flat_map(BTreeMap::values);
        let parts = parts.map(|part| (key(part), Arc::clone(part)));
        match after {
            // A removed job ends the query.
            Some(after) => parts.skip_while(|(key, _)| key != after).skip(1).collect(),
            None => parts.collect(),
        }
    }
}

/// Returns the key of a part: `JOB/DEVICE` or `JOB/DEVICE/MODULE`.
fn key(part: &DeviceJob) -> String {
    format!("{}/{}", part.job_id, owner(part))
}

fn owner(part: &DeviceJob) -> String {
    let owner = Owner { device: part.device_id.clone(), module: part.module_id.clone() };
    owner.to_string()
}
