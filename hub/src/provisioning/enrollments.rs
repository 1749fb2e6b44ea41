//! The service API: enrollments, enrollment groups and registrations.

use std::sync::Arc;

use protocol::provisioning::ProvisioningErrorCode;
use protocol::provisioning::enrollment::Enrollment;
use protocol::provisioning::service::{
    BulkItemError, BulkMode, BulkRequest, BulkResult, EnrollmentKind, MAX_BULK_ENROLLMENTS,
};
use serde_json::{Value, json};

use super::admission::MAX_GROUPS;
use super::failure::ProvisioningFailure;
use super::{Provisioning, entry};
use crate::state::{IfMatch, Registration};

/// Maximum number of individual enrollments, as at the service in Azure.
const MAX_ENROLLMENTS: usize = 1_000_000;

/// A page of documents.
pub(crate) struct DocumentPage {
    pub(crate) items: Vec<Value>,
    /// The id after which the next page begins; `None` on the last page.
    pub(crate) next: Option<String>,
}

/// A query over the registrations of a group.
pub(crate) struct RegistrationQuery {
    pub(crate) group: String,
    /// The last id of the previous page.
    pub(crate) after: Option<String>,
    pub(crate) limit: usize,
}

impl Provisioning {
    /// Creates an enrollment if the request has no condition, otherwise updates it. Returns
    /// what was stored.
    pub(crate) fn write_enrollment(
        &self,
        kind: EnrollmentKind,
        id: &str,
        enrollment: Enrollment,
        if_match: &IfMatch,
    ) -> Result<Arc<Enrollment>, ProvisioningFailure> {
        let id = entry::id(id)?;
        let limit = match kind {
            EnrollmentKind::Individual => MAX_ENROLLMENTS,
            EnrollmentKind::Group => MAX_GROUPS,
        };
        self.state.change_enrollment(kind, id.as_str(), |current, count| {
            check_condition(current.and_then(|current| current.etag.as_deref()), if_match)?;
            if current.is_none() && count >= limit {
                let message = format!("the hub has {limit} {}, which is the limit", kind.segment());
                return Err(ProvisioningFailure::invalid(message));
            }
            entry::checked(kind, &id, enrollment, current, &self.authorities).map(Some)
        })?;
        self.enrollment(kind, id.as_str())
    }

    /// Returns an enrollment as services read it, with the registration of its device.
    pub(crate) fn enrollment_view(
        &self,
        kind: EnrollmentKind,
        id: &str,
    ) -> Result<Value, ProvisioningFailure> {
        let mut view = entry::view(&*self.enrollment(kind, id)?);
        if kind == EnrollmentKind::Individual
            && let Some(registration) = self.state.registration(id)
        {
            view["registrationState"] = registration_view(&registration);
        }
        Ok(view)
    }

    /// Returns an enrollment with its keys, as services see it after they have written it.
    pub(crate) fn written_view(enrollment: &Enrollment) -> Value {
        entry::view_with_keys(enrollment)
    }

    /// Returns the attestation of an enrollment with its keys.
    pub(crate) fn attestation(
        &self,
        kind: EnrollmentKind,
        id: &str,
    ) -> Result<Value, ProvisioningFailure> {
        Ok(json!(self.enrollment(kind, id)?.attestation))
    }

    fn enrollment(
        &self,
        kind: EnrollmentKind,
        id: &str,
    ) -> Result<Arc<Enrollment>, ProvisioningFailure> {
        let found = self.state.enrollment(kind, id);
        found.ok_or_else(|| ProvisioningErrorCode::EnrollmentNotFound.into())
    }

    /// Deletes an enrollment. Devices that it has admitted stay at the hub.
    pub(crate) fn delete_enrollment(
        &self,
        kind: EnrollmentKind,
        id: &str,
        if_match: &IfMatch,
    ) -> Result<(), ProvisioningFailure> {
        self.state.change_enrollment(kind, id, |current, _| {
            let current = current.ok_or(ProvisioningErrorCode::EnrollmentNotFound)?;
            match if_match.matches(current.etag.as_deref().unwrap_or_default()) {
                true => Ok(None),
                false => Err(ProvisioningErrorCode::PreconditionFailed.into()),
            }
        })
    }

    /// Returns a page of enrollments.
    pub(crate) fn enrollments(
        &self,
        kind: EnrollmentKind,
        after: Option<&str>,
        limit: usize,
    ) -> DocumentPage {
        let found = self.state.enrollments(kind, after, limit + 1);
        page(found, limit, entry::view)
    }

    /// Performs a bulk request.
    pub(crate) fn bulk(
        &self,
        kind: EnrollmentKind,
        request: BulkRequest,
    ) -> Result<BulkResult, ProvisioningFailure> {
        let BulkRequest { mode, enrollments, enrollment_groups } = request;
        let items = match kind {
            EnrollmentKind::Individual => enrollments,
            EnrollmentKind::Group => enrollment_groups,
        };
        let items = items.ok_or_else(|| {
            ProvisioningFailure::invalid(format!("`{}` is missing", kind.segment()))
        })?;
        if items.len() > MAX_BULK_ENROLLMENTS {
            let message =
                format!("{} items; at most {MAX_BULK_ENROLLMENTS} are allowed", items.len());
            return Err(ProvisioningFailure::invalid(message));
        }
        let mut errors = Vec::new();
        for item in items {
            let (registration_id, enrollment_group_id) =
                (item.registration_id.clone(), item.enrollment_group_id.clone());
            if let Err(failure) = self.process(kind, mode, item) {
                errors.push(BulkItemError {
                    registration_id,
                    enrollment_group_id,
                    error_code: failure.code.number(),
                    error_status: failure.message,
                });
            }
        }
        Ok(BulkResult { is_successful: errors.is_empty(), errors })
    }

    fn process(
        &self,
        kind: EnrollmentKind,
        mode: BulkMode,
        item: Enrollment,
    ) -> Result<(), ProvisioningFailure> {
        let id = match kind {
            EnrollmentKind::Individual => item.registration_id.clone(),
            EnrollmentKind::Group => item.enrollment_group_id.clone(),
        };
        let id = id.unwrap_or_default();
        let etag = item.etag.clone().filter(|etag| !etag.is_empty());
        let if_match = match mode {
            BulkMode::Create => IfMatch::Absent,
            BulkMode::Update => IfMatch::Any,
            BulkMode::UpdateIfMatchEtag => {
                let etag = etag.ok_or_else(|| ProvisioningFailure::invalid("`etag` is missing"))?;
                IfMatch::parse(Some(&etag))
            }
            BulkMode::Delete => return self.delete_enrollment(kind, &id, &IfMatch::Any),
        };
        self.write_enrollment(kind, &id, item, &if_match).map(drop)
    }

    /// Returns a registration as services read it.
    pub(crate) fn registration_view(&self, id: &str) -> Result<Value, ProvisioningFailure> {
        let found = self.state.registration(id);
        let found = found.ok_or(ProvisioningErrorCode::RegistrationNotFound)?;
        Ok(registration_view(&found))
    }

    /// Deletes a registration, so that the next one of the device is its first. The device
    /// stays at the hub.
    pub(crate) fn delete_registration(
        &self,
        id: &str,
        if_match: &IfMatch,
    ) -> Result<(), ProvisioningFailure> {
        self.state.change_registration(id, |current| {
            let current = current.ok_or(ProvisioningErrorCode::RegistrationNotFound)?;
            match if_match.matches(current.state.etag.as_deref().unwrap_or_default()) {
                true => Ok(None),
                false => Err(ProvisioningErrorCode::PreconditionFailed.into()),
            }
        })
    }

    /// Returns a page of the registrations of a group.
    pub(crate) fn registrations(
        &self,
        RegistrationQuery { group, after, limit }: &RegistrationQuery,
    ) -> Result<DocumentPage, ProvisioningFailure> {
        self.enrollment(EnrollmentKind::Group, group)?;
        let found = self.state.registrations(group, after.as_deref(), limit + 1);
        Ok(page(found, *limit, registration_view))
    }
}

fn check_condition(current: Option<&str>, if_match: &IfMatch) -> Result<(), ProvisioningErrorCode> {
    match (current, if_match) {
        (None, IfMatch::Absent) => Ok(()),
        (None, _) => Err(ProvisioningErrorCode::EnrollmentNotFound),
        (Some(_), IfMatch::Absent) => Err(ProvisioningErrorCode::Conflict),
        (Some(current), condition) if condition.matches(current) => Ok(()),
        (Some(_), _) => Err(ProvisioningErrorCode::PreconditionFailed),
    }
}

fn registration_view(registration: &Registration) -> Value {
    let mut state = registration.state.clone();
    // Answers to services name the enrollment by their path and have no attestation.
    (state.x509, state.symmetric_key) = (None, None);
    state.etag = state.etag.map(|etag| format!("\"{etag}\""));
    json!(state)
}

/// Returns a page of the first `limit` documents; one more means that another page follows.
fn page<T>(found: Vec<(String, Arc<T>)>, limit: usize, view: impl Fn(&T) -> Value) -> DocumentPage {
    let next = (found.len() > limit).then(|| found[limit - 1].0.clone());
    let items = found.iter().take(limit).map(|(_, document)| view(document)).collect();
    DocumentPage { items, next }
}
