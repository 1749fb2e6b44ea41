//! Protection of the page's API against other sites in the same browser.
//!
//! The name of the host must be one of the hub's, so a site whose name resolves to this machine
//! (DNS rebinding) reaches nothing. A request must carry a header that a page of another site
//! can send only with the permission of the hub, which gives none, and must come from the
//! hub's own origin. In addition, the session cookie is not sent with requests of other sites.

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};
use protocol::host_name::HostName;

use super::PageRefusal;
use crate::policy::Policies;

/// Header that the page adds to each request.
pub(super) const PAGE_HEADER: &str = "x-behaviour-explorer";

/// Checks that the request names a host of the hub.
pub(super) fn check_host(headers: &HeaderMap, policies: &Policies) -> Result<(), PageRefusal> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    match host.and_then(|host| host.parse::<HostName>().ok()) {
        Some(host) if policies.is_own_name(&host) => Ok(()),
        _ => Err(PageRefusal::forbidden("the host of the request is not a name of this hub")),
    }
}

/// Checks that the request comes from the page itself.
pub(super) fn check_origin(headers: &HeaderMap) -> Result<(), PageRefusal> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let own = text(HOST.as_str()).map(|host| format!("https://{host}"));
    if text(ORIGIN.as_str()).is_some_and(|origin| Some(origin) != own.as_deref())
        || text("sec-fetch-site").is_some_and(|site| site != "same-origin")
    {
        return Err(PageRefusal::forbidden("the request comes from another site"));
    }
    if text(PAGE_HEADER).is_none() {
        return Err(PageRefusal::forbidden("the request does not come from the explorer page"));
    }
    Ok(())
}
