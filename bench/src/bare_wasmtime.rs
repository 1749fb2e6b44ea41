//! The baseline of a sandboxed call: wasmtime alone, with the engine of `plugin`.
//!
//! A call creates a store and an instance, calls the function and drops both. There are no
//! limits, no log and no deadline, and all imports trap.

use wasmtime::component::{
    Component, ComponentExportIndex, ComponentType, InstancePre, Lift, Linker,
};
use wasmtime::{Engine, Store};

const METHODS: &str = "device:behaviour/methods@0.1.2";

/// A component, ready to be called.
pub(crate) struct BareWasmtime {
    engine: Engine,
    pre: InstancePre<()>,
    invoke: ComponentExportIndex,
}

/// The record `response` of the WIT package.
#[derive(ComponentType, Lift)]
#[component(record)]
struct Response {
    status: u16,
    payload: Option<String>,
}

/// The variant `method-error` of the WIT package.
#[derive(ComponentType, Lift)]
#[component(variant)]
#[expect(dead_code, reason = "lifted only for its cost")]
enum MethodError {
    #[component(name = "invalid-payload")]
    InvalidPayload(String),
    #[component(name = "unknown-method")]
    UnknownMethod,
    #[component(name = "busy")]
    Busy(Option<u32>),
    #[component(name = "failed")]
    Failed(String),
    #[component(name = "other")]
    Other(String),
}

/// An error of wasmtime, on one line with its causes.
#[derive(Debug, thiserror::Error)]
#[error("bare wasmtime: {0:#}")]
pub(crate) struct BareWasmtimeError(wasmtime::Error);

impl From<wasmtime::Error> for BareWasmtimeError {
    fn from(error: wasmtime::Error) -> BareWasmtimeError {
        BareWasmtimeError(error)
    }
}

impl BareWasmtime {
    pub(crate) fn new(
        engine: &plugin::Engine,
        bytes: &[u8],
    ) -> Result<BareWasmtime, BareWasmtimeError> {
        let engine = engine.wasmtime();
        let component = Component::new(&engine, bytes)?;
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component)?;
        let methods = component
            .get_export_index(None, METHODS)
            .ok_or_else(|| wasmtime::format_err!("no export `{METHODS}`"))?;
        let invoke = component
            .get_export_index(Some(&methods), "invoke")
            .ok_or_else(|| wasmtime::format_err!("no export `invoke`"))?;
        Ok(BareWasmtime { pre: linker.instantiate_pre(&component)?, engine, invoke })
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        payload: &str,
    ) -> Result<String, BareWasmtimeError> {
        let mut store = Store::new(&self.engine, ());
        // The engine interrupts calls by epoch. This deadline is never reached.
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = self.pre.instantiate_async(&mut store).await?;
        let invoke = instance.get_typed_func::<(&str, &str), (Result<Response, MethodError>,)>(
            &mut store,
            &self.invoke,
        )?;
        match invoke.call_async(&mut store, (method, payload)).await? {
            (Ok(Response { status: 200, payload: Some(payload) }),) => Ok(payload),
            _ => {
                Err(wasmtime::format_err!("the probe did not answer with 200 and a payload").into())
            }
        }
    }
}
