//! A recording over the control socket.

use std::io;
use std::time::Duration;

use protocol::id::MethodName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::{Instant, sleep_until};
use tracing::info;

use super::{ControlAnswer, send};
use crate::record::{MAX_CALLS, Selection};
use crate::router::Router;

/// Maximum duration of a recording, in seconds.
const MAX_SECONDS: u64 = 24 * 3600;

/// Recording that a client requests.
pub(super) struct RecordingRequest {
    pub(super) method: Option<MethodName>,
    pub(super) plugin: Option<String>,
    pub(super) calls: u32,
    pub(super) seconds: u64,
    pub(super) redact: Vec<String>,
}

/// Sends a line for each recorded call, until the requested number of calls or the time limit is
/// reached, or the client closes the connection.
pub(super) async fn serve(
    router: &Router,
    request: RecordingRequest,
    read: &mut (impl AsyncRead + Unpin),
    write: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let until = Instant::now() + Duration::from_secs(request.seconds.min(MAX_SECONDS));
    let selection = match select(router, request) {
        Ok(selection) => selection,
        Err(refusal) => return send(write, &refusal).await,
    };
    let (plugin, mut left) = (selection.plugin.clone(), selection.calls);
    let Some(mut recording) = router.recorder().start(selection) else {
        let busy = "another recording is running; it ends with its client".to_owned();
        return send(write, &ControlAnswer::Error(busy)).await;
    };
    info!(plugin, calls = left, "recording of calls started");
    send(write, &ControlAnswer::Recording(plugin.clone())).await?;
    let mut recorded = 0;
    let end = loop {
        tokio::select! {
            call = recording.next() => match call {
                Some(call) => {
                    recorded += 1;
                    left -= 1;
                    if left == 0 {
                        // Precedes the answer, because a client that has received the last call
                        // can start another recording.
                        recording.stop_selecting();
                    }
                    send(write, &ControlAnswer::Recorded(call)).await?;
                    if left == 0 {
                        break "all calls are recorded";
                    }
                }
                None => break "the host is stopping",
            },
            () = sleep_until(until) => break "the time limit is reached",
            // The client sends nothing more, so this returns when the connection ends.
            _ = read.read_u8() => break "the client has disconnected",
        }
    };
    drop(recording);
    info!(plugin, recorded, "recording of calls ended: {end}");
    send(write, &ControlAnswer::Done(end.to_owned())).await
}

/// Returns the calls that the client requests, or the answer to an invalid request.
fn select(router: &Router, request: RecordingRequest) -> Result<Selection, ControlAnswer> {
    let table = router.table();
    let RecordingRequest { method, plugin, calls, redact, .. } = request;
    if calls == 0 || calls > MAX_CALLS {
        let reason = format!("a recording has 1 to {MAX_CALLS} calls, not {calls}");
        return Err(ControlAnswer::Error(reason));
    }
    let refused = |reason| Err(ControlAnswer::Error(reason));
    let plugin = match (plugin, &method) {
        (Some(plugin), _) if table.slot(&plugin).is_none() => {
            return Err(ControlAnswer::UnknownPlugin(plugin));
        }
        (plugin, Some(method)) => match (plugin, table.serving(method)) {
            (_, None) => return refused(format!("no plugin serves `{method}`")),
            (Some(plugin), Some(slot)) if slot.name() != plugin => {
                let serving = slot.name();
                return refused(format!("plugin `{serving}` serves `{method}`, not `{plugin}`"));
            }
            (_, Some(slot)) => slot.name().to_owned(),
        },
        (Some(plugin), None) => plugin,
        (None, None) => return refused("name a method or a plugin".to_owned()),
    };
    Ok(Selection { plugin, method: method.map(|it| it.to_string()), calls, redact })
}
