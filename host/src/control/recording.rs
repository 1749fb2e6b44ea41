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

/// The longest recording.
const MAX_SECONDS: u64 = 24 * 3600;

/// The recording that a client wishes.
pub(super) struct Wish {
    pub(super) method: Option<MethodName>,
    pub(super) plugin: Option<String>,
    pub(super) calls: u32,
    pub(super) seconds: u64,
    pub(super) redact: Vec<String>,
}

/// Sends a line for each recorded call, until the wished number is reached, the time is over,
/// or the client ends the connection.
pub(super) async fn serve(
    router: &Router,
    wish: Wish,
    read: &mut (impl AsyncRead + Unpin),
    write: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let until = Instant::now() + Duration::from_secs(wish.seconds.min(MAX_SECONDS));
    let selection = match select(router, wish) {
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
                        // Before the client has the last call and can start another recording.
                        recording.stop_selecting();
                    }
                    send(write, &ControlAnswer::Recorded(call)).await?;
                    if left == 0 {
                        break "all calls are recorded";
                    }
                }
                None => break "the host stops its calls",
            },
            () = sleep_until(until) => break "the time is over",
            // The client sends nothing more, so that this is the end of the connection.
            _ = read.read_u8() => break "the client has gone",
        }
    };
    drop(recording);
    info!(plugin, recorded, "recording of calls ended: {end}");
    send(write, &ControlAnswer::Done(end.to_owned())).await
}

/// Returns the calls that the client wishes to record, or the answer to an impossible wish.
fn select(router: &Router, wish: Wish) -> Result<Selection, ControlAnswer> {
    let table = router.table();
    let Wish { method, plugin, calls, redact, .. } = wish;
    if calls == 0 || calls > MAX_CALLS {
        let reason = format!("a recording has 1 to {MAX_CALLS} calls, not {calls}");
        return Err(ControlAnswer::Error(reason));
    }
    let plugin = match (plugin, &method) {
        (Some(plugin), _) if table.slot(&plugin).is_some() => plugin,
        (Some(plugin), _) => return Err(ControlAnswer::UnknownPlugin(plugin)),
        (None, Some(method)) => match table.serving(method) {
            Some(slot) => slot.name().to_owned(),
            None => return Err(ControlAnswer::Error(format!("no plugin serves `{method}`"))),
        },
        (None, None) => {
            return Err(ControlAnswer::Error("name a method or a plugin".to_owned()));
        }
    };
    Ok(Selection { plugin, method: method.map(|it| it.to_string()), calls, redact })
}
