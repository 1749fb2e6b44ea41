//! Loads a component and calls one of its methods, without a hub.
//!
//! ```sh
//! cargo run -p behaviour-plugin --example call -- FILE METHOD PAYLOAD
//! cargo run -p behaviour-plugin --example call      # a component of this repository
//! ```

#![allow(clippy::print_stdout, reason = "this is a command-line program")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use behaviour_plugin::{
    BootOutcome, Call, Document, Engine, EngineSettings, HostError, HttpClient, HttpError,
    HttpRequest, Lent, LogLine, LogSink, Nothing, PluginSettings, SystemClock, TelemetrySink,
    TwinAccess,
};
use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use http::Response;
use serde_json::{Map, Value};

/// A host that prints the effects of a plugin and stores nothing.
struct Terminal;

impl LogSink for Terminal {
    fn write(&self, line: &LogLine<'_>) {
        println!("{:?}: {}", line.level, line.message);
    }
}

impl TwinAccess for Terminal {
    fn report<'a>(
        &'a self,
        _plugin: &'a str,
        patch: Map<String, Value>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        println!("reported: {}", Value::from(patch));
        Box::pin(ready(Ok(())))
    }

    fn report_and_wait<'a>(
        &'a self,
        _plugin: &'a str,
        _patch: Map<String, Value>,
        _timeout: Duration,
    ) -> BoxFuture<'a, Result<u64, HostError>> {
        Box::pin(ready(Err(HostError::Offline)))
    }

    fn desired(&self) -> Result<Document, HostError> {
        Err(HostError::Offline)
    }

    fn reported(&self) -> Result<Document, HostError> {
        Err(HostError::Offline)
    }
}

impl TelemetrySink for Terminal {
    fn send<'a>(
        &'a self,
        _plugin: &'a str,
        body: Vec<u8>,
        content_type: String,
        _properties: Vec<(String, String)>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        println!("message of {} bytes, {content_type}", body.len());
        Box::pin(ready(Ok(())))
    }
}

impl HttpClient for Terminal {
    fn send<'a>(
        &'a self,
        _request: HttpRequest<'a>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        Box::pin(ready(Err(HttpError::Denied("this host sends no requests".to_owned()))))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/frozen/0.1.0.wat");
    let file = arguments.next().map_or(here, PathBuf::from);
    let method = arguments.next().unwrap_or_else(|| "greet".to_owned());
    let payload = arguments.next().unwrap_or_else(|| "\"world\"".to_owned());

    let engine = Engine::new(&EngineSettings::default())?;
    let plugin = engine.load_file("example", &file, PluginSettings::default())?;
    let (terminal, nothing) = (Arc::new(Terminal), Arc::new(Nothing));
    let lent = Arc::new(Lent {
        device_id: Arc::from("my-device"),
        clock: Arc::new(SystemClock),
        log: terminal.clone(),
        twin: terminal.clone(),
        telemetry: terminal.clone(),
        http: terminal,
        state: nothing.clone(),
        jobs: nothing.clone(),
        metrics: nothing.clone(),
        power: nothing,
    });
    let call = Call {
        id: Arc::from("call-1"),
        method: &method,
        payload: &payload,
        attempt: 1,
        boot_outcome: BootOutcome::default(),
        trace_parent: None,
        lent,
    };
    let answer = plugin.invoke(call).await?;
    println!(
        "{}: {}",
        answer.status,
        answer.payload.map_or("null".into(), |json| json.into_text())
    );
    Ok(())
}
