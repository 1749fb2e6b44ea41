//! Handles of a host without storage, without metrics and without control over its machine.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{HostError, JobQueue, MetricSink, NewJob, Power, StateStore};
use crate::metrics::{DroppedUpdate, MetricUpdate};

/// A [`StateStore`], [`JobQueue`] and [`Power`] that refuse every request with
/// [`HostError::Denied`], and a [`MetricSink`] that keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

fn deny<T>(reason: &str) -> Result<T, HostError> {
    Err(HostError::Denied(format!("this host {reason}")))
}

fn no_state<T>() -> Result<T, HostError> {
    deny("has no storage for state")
}

impl StateStore for Nothing {
    fn get<'a>(
        &'a self,
        _plugin: &'a str,
        _key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, HostError>> {
        Box::pin(async { no_state() })
    }

    fn keys<'a>(
        &'a self,
        _plugin: &'a str,
        _prefix: &'a str,
        _limit: u32,
    ) -> BoxFuture<'a, Result<Vec<String>, HostError>> {
        Box::pin(async { no_state() })
    }

    fn set<'a>(
        &'a self,
        _plugin: &'a str,
        _key: String,
        _value: Vec<u8>,
        _max_bytes: usize,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async { no_state() })
    }

    fn delete<'a>(
        &'a self,
        _plugin: &'a str,
        _key: String,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async { no_state() })
    }

    fn swap<'a>(
        &'a self,
        _plugin: &'a str,
        _key: String,
        _expected: Option<Vec<u8>>,
        _value: Option<Vec<u8>>,
        _max_bytes: usize,
    ) -> BoxFuture<'a, Result<bool, HostError>> {
        Box::pin(async { no_state() })
    }
}

impl JobQueue for Nothing {
    fn add<'a>(
        &'a self,
        _plugin: &'a str,
        _call: &'a str,
        _job: NewJob,
        _max_pending: u32,
    ) -> BoxFuture<'a, Result<String, HostError>> {
        Box::pin(async { deny("has no storage for jobs") })
    }

    fn cancel<'a>(
        &'a self,
        _plugin: &'a str,
        _id: &'a str,
    ) -> BoxFuture<'a, Result<bool, HostError>> {
        Box::pin(async { deny("has no storage for jobs") })
    }
}

impl MetricSink for Nothing {
    fn update(
        &self,
        _plugin: &str,
        _version: u64,
        _update: MetricUpdate,
        _max_series: usize,
    ) -> Result<(), DroppedUpdate> {
        Ok(())
    }
}

impl Power for Nothing {
    fn request_reboot<'a>(
        &'a self,
        _plugin: &'a str,
        _delay: Duration,
        _reason: &'a str,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async { deny("cannot reboot the machine") })
    }
}
