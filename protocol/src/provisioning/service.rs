//! Paths, headers and bulk bodies of the service API of DPS.

use serde::{Deserialize, Serialize};

use super::enrollment::Enrollment;
use crate::percent;

/// The API version of this product's service.
pub const SERVICE_API_VERSION: &str = "2021-10-01";

/// The policy of a new instance, which has all permissions.
pub const OWNER_POLICY: &str = "provisioningserviceowner";

/// The maximum number of enrollments in a bulk request.
pub const MAX_BULK_ENROLLMENTS: usize = 10;

/// The last segment of the path that returns an attestation with its keys: POST.
pub const ATTESTATION_MECHANISM: &str = "attestationmechanism";

/// The kind of an enrollment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EnrollmentKind {
    /// An individual enrollment.
    Individual,
    /// An enrollment group.
    Group,
}

impl EnrollmentKind {
    /// Returns the first segment of the paths. Servers ignore its case.
    #[must_use]
    pub fn segment(self) -> &'static str {
        match self {
            EnrollmentKind::Individual => "enrollments",
            EnrollmentKind::Group => "enrollmentGroups",
        }
    }

    /// Returns the member of an enrollment that contains its id.
    #[must_use]
    pub fn id_member(self) -> &'static str {
        match self {
            EnrollmentKind::Individual => "registrationId",
            EnrollmentKind::Group => "enrollmentGroupId",
        }
    }

    /// Returns the value of the header `x-ms-item-type` of a query.
    #[must_use]
    pub fn item_type(self) -> &'static str {
        match self {
            EnrollmentKind::Individual => "Enrollment",
            EnrollmentKind::Group => "EnrollmentGroup",
        }
    }

    /// Returns the path of an enrollment: GET, PUT, DELETE.
    #[must_use]
    pub fn path(self, id: &str) -> String {
        format!("/{}/{}", self.segment(), percent::encode(id))
    }

    /// Returns the path of queries: POST.
    #[must_use]
    pub fn query_path(self) -> String {
        format!("/{}/query", self.segment())
    }
}

/// The value of the header `x-ms-item-type` of a query over registrations.
pub const REGISTRATION_ITEM_TYPE: &str = "DeviceRegistration";

/// Returns the path of a registration: GET, DELETE.
#[must_use]
pub fn registration_path(id: &str) -> String {
    format!("/registrations/{}", percent::encode(id))
}

/// Returns the path of queries over the registrations of a group: POST.
#[must_use]
pub fn registrations_query_path(group: &str) -> String {
    format!("{}/query", registration_path(group))
}

/// The body of a bulk request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkRequest {
    /// The operation.
    pub mode: BulkMode,
    /// The enrollments; only in a request for individual enrollments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrollments: Option<Vec<Enrollment>>,
    /// The enrollment groups; only in a request for groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrollment_groups: Option<Vec<Enrollment>>,
}

/// The operation of a bulk request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BulkMode {
    /// Creates new enrollments.
    Create,
    /// Changes existing enrollments.
    Update,
    /// Changes existing enrollments whose etags are current.
    #[serde(rename = "updateIfMatchETag", alias = "updateIfMatchEtag")]
    UpdateIfMatchEtag,
    /// Deletes existing enrollments.
    Delete,
}

/// The body of the answer to a bulk request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkResult {
    /// `true` if there are no errors.
    pub is_successful: bool,
    /// The enrollments that were not processed.
    pub errors: Vec<BulkItemError>,
}

/// The error of an enrollment in a bulk request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkItemError {
    /// The id of an individual enrollment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<String>,
    /// The id of an enrollment group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrollment_group_id: Option<String>,
    /// The code of the error.
    pub error_code: u32,
    /// The message of the error.
    pub error_status: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_in_a_path_is_encoded() {
        assert_eq!(EnrollmentKind::Individual.path("a:b"), "/enrollments/a%3Ab");
        assert_eq!(EnrollmentKind::Group.query_path(), "/enrollmentGroups/query");
        assert_eq!(registrations_query_path("g 1"), "/registrations/g%201/query");
    }

    #[test]
    fn both_spellings_of_the_conditional_mode_are_read() {
        for mode in ["updateIfMatchETag", "updateIfMatchEtag"] {
            let body = format!(r#"{{"mode":"{mode}","enrollments":[]}}"#);
            let request: BulkRequest = serde_json::from_str(&body).unwrap();
            assert_eq!(request.mode, BulkMode::UpdateIfMatchEtag);
        }
    }
}
