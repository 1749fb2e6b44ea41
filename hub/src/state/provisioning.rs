//! Enrollments and registrations of the Device Provisioning Service.
//!
//! Both are kept with the hub's devices and persisted in the same file. Ids are compared
//! without case. This module does not interpret the documents.

use std::ops::Bound;
use std::sync::Arc;

use protocol::error::HubError;
use protocol::provisioning::RegistrationState;
use protocol::provisioning::enrollment::Enrollment;
use protocol::provisioning::service::EnrollmentKind;
use serde::{Deserialize, Serialize};

use super::State;
use super::documents::Documents;
use super::store::RecordKind;

/// A registration and the group that admitted the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registration {
    pub(crate) state: RegistrationState,
    /// The id of the group; `None` for an individual enrollment.
    pub(crate) group: Option<String>,
}

/// The documents of the service, by their ids in lower case.
#[derive(Default)]
pub(super) struct ProvisioningRecords {
    individual: Documents<Enrollment>,
    groups: Documents<Enrollment>,
    registrations: Documents<Registration>,
}

impl ProvisioningRecords {
    fn enrollments(&self, kind: EnrollmentKind) -> &Documents<Enrollment> {
        match kind {
            EnrollmentKind::Individual => &self.individual,
            EnrollmentKind::Group => &self.groups,
        }
    }

    fn enrollments_mut(&mut self, kind: EnrollmentKind) -> &mut Documents<Enrollment> {
        match kind {
            EnrollmentKind::Individual => &mut self.individual,
            EnrollmentKind::Group => &mut self.groups,
        }
    }

    /// Parses a record of the state file. Ignores records of other kinds.
    pub(super) fn read(
        &mut self,
        kind: RecordKind,
        key: &str,
        value: &[u8],
    ) -> Result<(), serde_json::Error> {
        let key = key.to_owned();
        match kind {
            RecordKind::Enrollment => {
                self.individual.insert(key, Arc::new(serde_json::from_slice(value)?));
            }
            RecordKind::EnrollmentGroup => {
                self.groups.insert(key, Arc::new(serde_json::from_slice(value)?));
            }
            RecordKind::Registration => {
                self.registrations.insert(key, Arc::new(serde_json::from_slice(value)?));
            }
            _ => {}
        }
        Ok(())
    }
}

impl State {
    /// Returns an enrollment.
    pub(crate) fn enrollment(&self, kind: EnrollmentKind, id: &str) -> Option<Arc<Enrollment>> {
        self.provisioning.read().enrollments(kind).get(&folded(id)).cloned()
    }

    /// Returns up to `limit` enrollments after the id `after`, in order, each with its id in
    /// lower case.
    pub(crate) fn enrollments(
        &self,
        kind: EnrollmentKind,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<(String, Arc<Enrollment>)> {
        page(self.provisioning.read().enrollments(kind), after, |_| true, limit)
    }

    /// Replaces an enrollment by the result of `change`, which gets the current one and the
    /// number of enrollments of the kind. `None` deletes it. Returns once the change is on
    /// disk.
    pub(crate) fn change_enrollment<E: From<HubError>>(
        &self,
        kind: EnrollmentKind,
        id: &str,
        change: impl FnOnce(Option<&Enrollment>, usize) -> Result<Option<Enrollment>, E>,
    ) -> Result<(), E> {
        let record = match kind {
            EnrollmentKind::Individual => RecordKind::Enrollment,
            EnrollmentKind::Group => RecordKind::EnrollmentGroup,
        };
        let mut records = self.provisioning.write();
        let documents = records.enrollments_mut(kind);
        let count = documents.len();
        let written =
            self.replace(documents, record, folded(id), |current| change(current, count))?;
        drop(records);
        Ok(written.wait()?)
    }

    /// Returns a registration.
    pub(crate) fn registration(&self, id: &str) -> Option<Arc<Registration>> {
        self.provisioning.read().registrations.get(&folded(id)).cloned()
    }

    /// Returns up to `limit` registrations of a group after the id `after`, in order, each with
    /// its id in lower case.
    pub(crate) fn registrations(
        &self,
        group: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<(String, Arc<Registration>)> {
        let of_group = |registration: &Registration| {
            registration.group.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(group))
        };
        page(&self.provisioning.read().registrations, after, of_group, limit)
    }

    /// Replaces a registration by the result of `change`, as in [`State::change_enrollment`].
    pub(crate) fn change_registration<E: From<HubError>>(
        &self,
        id: &str,
        change: impl FnOnce(Option<&Registration>) -> Result<Option<Registration>, E>,
    ) -> Result<(), E> {
        let mut records = self.provisioning.write();
        let documents = &mut records.registrations;
        let written = self.replace(documents, RecordKind::Registration, folded(id), change)?;
        drop(records);
        Ok(written.wait()?)
    }
}

fn folded(id: &str) -> String {
    id.to_ascii_lowercase()
}

fn page<T>(
    documents: &Documents<T>,
    after: Option<&str>,
    accept: impl Fn(&T) -> bool,
    limit: usize,
) -> Vec<(String, Arc<T>)> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let documents = documents.range::<str, _>((from, Bound::Unbounded));
    let accepted = documents.filter(|(_, document)| accept(document));
    accepted.take(limit).map(|(id, document)| (id.clone(), Arc::clone(document))).collect()
}
