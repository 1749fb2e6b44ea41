//! Invocations of methods that bypass the router.
//!
//! The layers of the router take as much processor time as the rest of an invocation, and tests
//! and fleets mostly invoke methods. The shortcut runs the same steps as the layers and the
//! handler of the router.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};

use super::answer::ApiResult;
use super::{Rest, faults, methods, permitted};

/// Returns the id of the device whose method a request invokes. Returns `None` for other requests,
/// and for ids with encoded characters, which the router decodes.
pub(crate) fn called_device(request: &Request) -> Option<String> {
    if request.method() != Method::POST {
        return None;
    }
    let id = request.uri().path().strip_prefix("/twins/")?.strip_suffix("/methods")?;
    (!id.is_empty() && !id.contains(['/', '%'])).then(|| id.to_owned())
}

/// Answers a request that invokes a method of the device `id`.
pub(crate) async fn invoke_directly(rest: Arc<Rest>, id: String, request: Request) -> Response {
    let answered: ApiResult = async {
        permitted(&rest.state, &request)?;
        faults::apply(&rest.faults, request.uri().path()).await?;
        methods::invoke_method(&rest, &id, request).await
    }
    .await;
    answered.into_response()
}
