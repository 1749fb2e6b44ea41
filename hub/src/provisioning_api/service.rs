//! Handlers of services.

use axum::extract::Request;
use axum::http::header::IF_MATCH;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::provisioning::ProvisioningErrorCode;
use protocol::provisioning::service::REGISTRATION_ITEM_TYPE;
use protocol::rest::{HEADER_CONTINUATION, HEADER_ITEM_TYPE, HEADER_MAX_ITEM_COUNT};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::info;

use super::ProvisioningApi;
use super::answer::{no_content, ok};
use super::call::ServiceCall;
use crate::body;
use crate::policy::{Denied, Permission};
use crate::provisioning::{DocumentPage, Provisioning, ProvisioningFailure, RegistrationQuery};
use crate::stamps::now_unix;
use crate::state::IfMatch;

/// Number of items on a page if the request has no [`HEADER_MAX_ITEM_COUNT`].
const DEFAULT_ITEMS: usize = 100;

/// Maximum number of items on a page.
const MAX_ITEMS: usize = 1000;

/// Authorises and answers a request of a service.
pub(super) async fn answer(
    api: &ProvisioningApi,
    call: ServiceCall,
    request: Request,
) -> Result<Response, ProvisioningFailure> {
    if let Err(reason) = check(api, &request) {
        let path = request.uri().path();
        info!(method = %request.method(), path, %reason, "request denied");
        return Err(ProvisioningErrorCode::Unauthorized.into());
    }
    let (parts, body) = request.into_parts();
    let headers = parts.headers;
    let body = body::read(body).await.map_err(|error| {
        ProvisioningFailure::new(ProvisioningErrorCode::TooLarge, error.to_string())
    })?;
    let provisioning = &api.provisioning;
    let if_match = if_match(&headers);
    match call {
        ServiceCall::Put(kind, id) => {
            let entry = parse(&body)?;
            let written = provisioning
                .run(move |it| it.write_enrollment(kind, &id, entry, &if_match))
                .await?;
            Ok(ok(&Provisioning::written_view(&written)))
        }
        ServiceCall::Get(kind, id) => Ok(ok(&provisioning.enrollment_view(kind, &id)?)),
        ServiceCall::Delete(kind, id) => {
            provisioning.run(move |it| it.delete_enrollment(kind, &id, &if_match)).await?;
            Ok(no_content())
        }
        ServiceCall::Attestation(kind, id) => Ok(ok(&provisioning.attestation(kind, &id)?)),
        ServiceCall::Bulk(kind) => {
            let request = parse(&body)?;
            Ok(ok(&provisioning.run(move |it| it.bulk(kind, request)).await?))
        }
        ServiceCall::Query(kind) => {
            check_query(&body)?;
            let after = continuation(&headers)?;
            let page = provisioning.enrollments(kind, after.as_deref(), items(&headers)?);
            Ok(paged(page, kind.item_type()))
        }
        ServiceCall::GetRegistration(id) => Ok(ok(&provisioning.registration_view(&id)?)),
        ServiceCall::DeleteRegistration(id) => {
            provisioning.run(move |it| it.delete_registration(&id, &if_match)).await?;
            Ok(no_content())
        }
        ServiceCall::QueryRegistrations(group) => {
            check_query(&body)?;
            let (after, limit) = (continuation(&headers)?, items(&headers)?);
            let page = provisioning.registrations(&RegistrationQuery { group, after, limit })?;
            Ok(paged(page, REGISTRATION_ITEM_TYPE))
        }
    }
}

fn check(api: &ProvisioningApi, request: &Request) -> Result<(), Denied> {
    let path = request.uri().path();
    let policies = api.state.policies();
    policies.authorize(request.headers(), path, Permission::Provisioning, now_unix())
}

fn if_match(headers: &HeaderMap) -> IfMatch {
    // A header that is not ASCII becomes empty, which matches no etag.
    IfMatch::parse(headers.get(IF_MATCH).map(|value| value.to_str().unwrap_or_default()))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ProvisioningFailure> {
    let text = std::str::from_utf8(body)
        .map_err(|_| ProvisioningFailure::invalid("the body is not UTF-8"))?;
    let value = json::value(text)
        .map_err(|error| ProvisioningFailure::invalid(format!("the body {error}")))?;
    serde_json::from_value(value).map_err(|error| ProvisioningFailure::invalid(error.to_string()))
}

/// Checks that a query asks for all documents. Its format is not documented beyond that, and
/// the REST specification has no body for registrations.
fn check_query(body: &[u8]) -> Result<(), ProvisioningFailure> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    let query: Value = parse(body)?;
    let text = query.get("query").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    match text.split_whitespace().any(|word| word == "where") {
        true => Err(ProvisioningFailure::invalid("query: this hub does not support `WHERE`")),
        false => Ok(()),
    }
}

fn items(headers: &HeaderMap) -> Result<usize, ProvisioningFailure> {
    let Some(value) = headers.get(HEADER_MAX_ITEM_COUNT) else { return Ok(DEFAULT_ITEMS) };
    match value.to_str().ok().and_then(|text| text.trim().parse().ok()) {
        Some(items @ 1..) => Ok(MAX_ITEMS.min(items)),
        _ => {
            let message = format!("{HEADER_MAX_ITEM_COUNT} is not a positive integer");
            Err(ProvisioningFailure::invalid(message))
        }
    }
}

/// Returns the last id of the previous page.
fn continuation(headers: &HeaderMap) -> Result<Option<String>, ProvisioningFailure> {
    let Some(value) = headers.get(HEADER_CONTINUATION).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let id = STANDARD.decode(value.as_bytes()).ok().and_then(|id| String::from_utf8(id).ok());
    let unknown = || {
        let message = format!("{HEADER_CONTINUATION} is not a token of this hub");
        ProvisioningFailure::invalid(message)
    };
    id.map(Some).ok_or_else(unknown)
}

fn paged(DocumentPage { items, next }: DocumentPage, item_type: &'static str) -> Response {
    let mut response = ok(&items);
    let headers = response.headers_mut();
    let name = HeaderName::from_static;
    headers.insert(name(HEADER_MAX_ITEM_COUNT), items.len().into());
    headers.insert(name(HEADER_ITEM_TYPE), HeaderValue::from_static(item_type));
    // The last page has no header, which ends the loop in clients.
    if let Some(next) = next.and_then(|id| HeaderValue::try_from(STANDARD.encode(id)).ok()) {
        headers.insert(name(HEADER_CONTINUATION), next);
    }
    response
}
