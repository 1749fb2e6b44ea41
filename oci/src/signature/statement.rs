//! Statements of in-toto, the signed part of a bundle.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BundleError, MAX_BUNDLE_BYTES};
use crate::{Digest, strict};

/// Type of every statement.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";

/// Predicate of a signature by `cosign` 3. Other predicates, such as a list of parts, are no
/// signatures.
pub(crate) const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    #[serde(default)]
    predicate: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
}

/// Returns the payload of a signature of `digest`.
pub(super) fn write(digest: &Digest, annotations: &BTreeMap<String, String>) -> Vec<u8> {
    let subject = Subject {
        digest: [("sha256".to_owned(), digest.hex())].into(),
        annotations: (!annotations.is_empty()).then(|| annotations.clone()),
    };
    let statement = Statement {
        kind: STATEMENT.to_owned(),
        subject: vec![subject],
        predicate_type: SIGNATURE.to_owned(),
        predicate: serde_json::json!({}),
    };
    serde_json::to_vec(&statement).expect("every field is valid in JSON")
}

/// Returns the annotations of a payload that is a signature of `digest`.
pub(super) fn read(
    payload: &[u8],
    digest: &Digest,
) -> Result<BTreeMap<String, String>, BundleError> {
    let statement: Statement =
        strict::object(payload, MAX_BUNDLE_BYTES).map_err(BundleError::Statement)?;
    if statement.kind != STATEMENT {
        return Err(BundleError::StatementType(excerpt(&statement.kind)));
    }
    if statement.predicate_type != SIGNATURE {
        return Err(BundleError::Predicate(excerpt(&statement.predicate_type)));
    }
    let count = statement.subject.len();
    let [subject] =
        <[Subject; 1]>::try_from(statement.subject).map_err(|_| BundleError::Subjects(count))?;
    let signed = subject.digest.get("sha256").ok_or(BundleError::NoDigest)?;
    if *signed != digest.hex() {
        return Err(BundleError::OtherDigest(excerpt(signed)));
    }
    Ok(subject.annotations.unwrap_or_default())
}

fn excerpt(text: &str) -> String {
    json::excerpt(text, 80).into_owned()
}
