//! The explorer page of the hub, at `/` of its HTTPS port.
//!
//! [`over`] puts it over the APIs of the hub. It serves the page, signs its user in, and
//! forwards the page's requests below [`API`] to the REST API, with a SAS token that it signs
//! itself: the page has a session cookie and never a key. Only the paths that the page needs
//! are forwarded, so that no response has the keys of a device.
//!
//! By default, the page is served to connections from this machine only. The checks against
//! other sites are in `guard`.

mod assets;
mod devices;
mod guard;
mod sign_in;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State as Extract};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use protocol::provisioning::service::OWNER_POLICY;
use protocol::sas::sign;
use serde_json::json;
use tracing::info;

use crate::config::ExplorerAccess;
use crate::peer::Peer;
use crate::stamps::now_unix;
use crate::state::State;
use sign_in::{Credential, SignIns};

/// Prefix of all paths of the page except `/`.
const PREFIX: &str = "/$explorer/";

/// Prefix of the requests that are forwarded to the REST API.
const API: &str = "/$explorer/api";

/// Policy in whose name the page uses the REST API.
const POLICY: &str = "iothubowner";

/// Paths that are forwarded, with the policy of their API: those that end with a slash with all
/// paths below them. No response contains a key.
const FORWARDED: [(&str, &str); 11] = [
    ("/twins/", POLICY),
    ("/devices/query", POLICY),
    ("/configurations", POLICY),
    ("/configurations/", POLICY),
    ("/jobs/v2/", POLICY),
    ("/statistics/", POLICY),
    ("/$events", POLICY),
    ("/$faults", POLICY),
    ("/$faults/", POLICY),
    ("/enrollments/query", OWNER_POLICY),
    ("/enrollmentGroups/query", OWNER_POLICY),
];

/// Lifetime of the token of a forwarded request.
const TOKEN_LIFETIME: Duration = Duration::from_secs(60);

/// The page and its signed-in users.
pub(crate) struct Explorer {
    state: Arc<State>,
    access: ExplorerAccess,
    https_port: u16,
    sign_ins: SignIns,
}

impl Explorer {
    pub(crate) fn new(state: Arc<State>, access: ExplorerAccess, https_port: u16) -> Arc<Explorer> {
        Arc::new(Explorer { state, access, https_port, sign_ins: SignIns::default() })
    }

    /// Returns `true` if the page is served on this connection.
    fn admits(&self, request: &Request) -> bool {
        let own = request.extensions().get::<Peer>().and_then(|peer| peer.local_address);
        match self.access {
            ExplorerAccess::Off => false,
            ExplorerAccess::Any => true,
            // Only this machine can connect to a loopback address.
            ExplorerAccess::Loopback => {
                own.as_ref().map(IpAddr::to_canonical).is_some_and(|own| own.is_loopback())
            }
        }
    }

    /// Returns the name of the session cookie. It has the port, since browsers share cookies
    /// among all ports of a host.
    fn cookie_name(&self) -> String {
        format!("__Secure-behaviour-hub-{}", self.https_port)
    }

    /// Returns the open session of a request.
    fn session<'r>(&self, request: &'r Request) -> Option<&'r str> {
        let name = self.cookie_name();
        let cookies = request.headers().get_all(COOKIE);
        let pairs = cookies.iter().filter_map(|value| value.to_str().ok());
        pairs
            .flat_map(|text| text.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(key, value)| *key == name && self.sign_ins.is_open(value))
            .map(|(_, value)| value)
    }

    /// Returns a link that opens the page and signs its user in once. Returns `None` if the page
    /// is not served, or the system has no random numbers.
    pub(crate) fn link(&self) -> Option<String> {
        if self.access == ExplorerAccess::Off {
            return None;
        }
        let link = self.sign_ins.new_link()?;
        // A fragment is not sent to any server, so it is in no log.
        Some(format!("https://localhost:{}/#sign-in={link}", self.https_port))
    }
}

/// Returns a router that serves the page, and passes all other requests to `router`.
pub(crate) fn over(router: Router, explorer: &Arc<Explorer>) -> Router {
    // `router` is inside, since it must route the forwarded requests by their changed paths.
    let layer = from_fn_with_state(Arc::clone(explorer), serve);
    Router::new().fallback_service(router).layer(layer)
}

/// Serves a request if it is one for the page.
async fn serve(
    Extract(explorer): Extract<Arc<Explorer>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let is_page = path == "/" && matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_page && !path.starts_with(PREFIX) {
        return next.run(request).await;
    }
    if !explorer.admits(&request) {
        let text = "the explorer page is not served to this address; see --explorer\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    }
    let response = match answer(&explorer, request, next).await {
        Ok(response) => response,
        Err(refusal) => {
            info!(reason = refusal.reason, "request of the explorer page refused");
            (refusal.status, refusal.reason).into_response()
        }
    };
    assets::with_security_headers(response)
}

/// Reason why a request of the page is refused.
#[derive(Debug, PartialEq, Eq)]
struct PageRefusal {
    status: StatusCode,
    reason: &'static str,
}

impl PageRefusal {
    fn forbidden(reason: &'static str) -> PageRefusal {
        PageRefusal { status: StatusCode::FORBIDDEN, reason }
    }

    fn unknown_path() -> PageRefusal {
        PageRefusal { status: StatusCode::NOT_FOUND, reason: "the explorer page has no such path" }
    }
}

async fn answer(
    explorer: &Arc<Explorer>,
    request: Request,
    next: Next,
) -> Result<Response, PageRefusal> {
    guard::check_host(request.headers(), explorer.state.policies())?;
    if let Some(asset) = assets::find(request.uri().path()) {
        return Ok(asset);
    }
    guard::check_origin(request.headers())?;
    let path = request.uri().path();
    if path == "/$explorer/session" {
        return session(explorer, request).await;
    }
    if explorer.session(&request).is_none() {
        return Err(PageRefusal { status: StatusCode::UNAUTHORIZED, reason: "not signed in" });
    }
    if path == "/$explorer/devices" {
        return devices::list(&explorer.state, request.uri()).await;
    }
    let inner = path.strip_prefix(API).ok_or(PageRefusal::unknown_path())?;
    let is_below = |path: &str| path.ends_with('/') && inner.starts_with(path);
    let (_, policy) = FORWARDED
        .iter()
        .find(|(path, _)| inner == *path || is_below(path))
        .ok_or(PageRefusal::unknown_path())?;
    let request = forwarded(explorer, request, policy).ok_or(PageRefusal::unknown_path())?;
    let mut response = next.run(request).await;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Returns the request without its prefix and cookies, and with a token of `policy`.
fn forwarded(explorer: &Explorer, mut request: Request, policy: &str) -> Option<Request> {
    let uri = request.uri().path_and_query()?.as_str().strip_prefix(API)?.parse().ok()?;
    *request.uri_mut() = uri;
    let key = explorer.state.policy_key(policy)?;
    let token = sign("localhost", Some(policy), key, now_unix() + TOKEN_LIFETIME.as_secs());
    let headers = request.headers_mut();
    headers.remove(COOKIE);
    headers.insert(AUTHORIZATION, HeaderValue::try_from(token.to_string()).ok()?);
    Some(request)
}

/// Opens, checks or closes the session of the page's user.
async fn session(explorer: &Explorer, request: Request) -> Result<Response, PageRefusal> {
    let method = request.method().clone();
    let session = explorer.session(&request);
    if method == Method::GET {
        return Ok(axum::Json(json!({ "signedIn": session.is_some() })).into_response());
    }
    let cookie = explorer.cookie_name();
    if method == Method::DELETE {
        session.inspect(|session| explorer.sign_ins.close(session));
        return Ok(sign_in::without_session(&cookie));
    }
    if method != Method::POST {
        return Err(PageRefusal::unknown_path());
    }
    let credential = Credential::read(request.into_body()).await?;
    let key = explorer.state.policy_key(POLICY);
    let session = explorer.sign_ins.open(&credential, key).ok_or(PageRefusal {
        status: StatusCode::UNAUTHORIZED,
        reason: "the link has been used or the key is wrong",
    })?;
    Ok(sign_in::with_session(&cookie, &session))
}
