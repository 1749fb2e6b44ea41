//! MQTT over WebSocket, with the path and subprotocol of IoT Hub.
//!
//! This module answers the handshake itself, since the HTTP server has already read the
//! request. After the handshake, binary frames contain the MQTT packets.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::mqtt::MAX_PACKET_BYTES;
use crate::peer::Peer;
use crate::session::{SessionContext, serve};

/// Capacity of the pipe between the frames and the session.
const PIPE_BYTES: usize = 64 * 1024;

/// Permit of an open connection. A connection that becomes a WebSocket keeps its permit after
/// the HTTP connection has ended.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionPermit(
    #[expect(dead_code, reason = "dropping it releases the permit")]
    pub(crate)  Arc<OwnedSemaphorePermit>,
);

/// The tasks of the hub and the signal that stops them.
#[derive(Debug, Clone)]
pub(crate) struct HubTasks {
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// Returns the route of the handshake.
pub(crate) fn route<S: Clone + Send + Sync + 'static>(
    context: SessionContext,
    running: HubTasks,
) -> MethodRouter<S> {
    any(move |request: Request| upgrade(context.clone(), running.clone(), request))
}

/// Answers the handshake and starts a task that serves MQTT over the WebSocket.
async fn upgrade(context: SessionContext, running: HubTasks, mut request: Request) -> Response {
    let has = |name: HeaderName, expected: &str| {
        let values = request.headers().get_all(name);
        let mut items = values.iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
        items.any(|item| item.trim().eq_ignore_ascii_case(expected))
    };
    let key = request.headers().get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let (Some(accept), true, true) = (key, has(UPGRADE, "websocket"), has(CONNECTION, "upgrade"))
    else {
        return (StatusCode::UPGRADE_REQUIRED, "this path serves MQTT over WebSocket\n")
            .into_response();
    };
    if !has(SEC_WEBSOCKET_PROTOCOL, "mqtt") {
        return (StatusCode::BAD_REQUEST, "the subprotocol must be mqtt\n").into_response();
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let permit = request.extensions_mut().remove::<ConnectionPermit>();
    let peer = request.extensions_mut().remove::<Peer>().unwrap_or_default();
    // During an outage, every connection is refused.
    let Some(mut outages) = context.faults.outages() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let HubTasks { tasks, stop } = running;
    let serve = async move {
        match upgrade.await {
            Ok(upgraded) => {
                let config = WebSocketConfig::default()
                    .max_message_size(Some(MAX_PACKET_BYTES))
                    .max_frame_size(Some(MAX_PACKET_BYTES));
                let stream = TokioIo::new(upgraded);
                let frames =
                    WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
                let (near, far) = tokio::io::duplex(PIPE_BYTES);
                let (reader, writer) = tokio::io::split(near);
                tokio::join!(serve(context, peer, reader, writer), forward(frames, far));
            }
            Err(error) => debug!(%error, "WebSocket handshake not completed"),
        }
    };
    tasks.spawn(async move {
        let _permit = permit;
        tokio::select! {
            () = stop.cancelled() => {}
            _ = outages.changed() => {}
            () = serve => {}
        }
    });
    let Ok(accept) = HeaderValue::try_from(accept) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let headers = [
        (UPGRADE, HeaderValue::from_static("websocket")),
        (CONNECTION, HeaderValue::from_static("Upgrade")),
        (SEC_WEBSOCKET_ACCEPT, accept),
        (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("mqtt")),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// Forwards bytes between the frames and the pipe until either side ends.
async fn forward<S>(frames: WebSocketStream<S>, pipe: DuplexStream)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut sink, mut source) = frames.split();
    let (mut reader, mut writer) = tokio::io::split(pipe);
    let inbound = async {
        while let Some(Ok(message)) = source.next().await {
            match message {
                Message::Binary(bytes) => {
                    if writer.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                // The library answers pings. MQTT does not allow text frames.
                Message::Ping(_) | Message::Pong(_) => {}
                _ => return,
            }
        }
    };
    let outbound = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = reader.read(&mut buffer).await {
            let frame = Message::binary(buffer[..read].to_vec());
            if sink.send(frame).await.is_err() {
                return;
            }
        }
        // Fails if the client has already disconnected.
        let _ = sink.close().await;
    };
    tokio::select! {
        () = inbound => {}
        () = outbound => {}
    }
}
