//! What wasmtime alone takes for the same, in the very engine of `plugin`.
//!
//! A call is a fresh store, a fresh instance, the function and the drop. There
//! is no limit, no log, no deadline, and nothing that a guest could reach.

use wasmtime::component::{
    Component, ComponentExportIndex, ComponentType, InstancePre, Lift, Linker,
};
use wasmtime::{Engine, Store};

const METHODS: &str = "device:behaviour/methods@0.1.0";

/// A component that is ready to be called.
pub(crate) struct Floor {
    engine: Engine,
    pre: InstancePre<()>,
    invoke: ComponentExportIndex,
}

/// `response` of the WIT package.
#[derive(ComponentType, Lift)]
#[component(record)]
struct Response {
    status: u16,
    payload: Option<String>,
}

/// `method-error` of the WIT package.
#[derive(ComponentType, Lift)]
#[component(variant)]
#[expect(dead_code, reason = "lifted for its cost, and not looked at")]
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

/// What wasmtime says is wrong, on one line.
#[derive(Debug, thiserror::Error)]
#[error("bare wasmtime: {0:#}")]
pub(crate) struct Failed(wasmtime::Error);

impl From<wasmtime::Error> for Failed {
    fn from(error: wasmtime::Error) -> Failed {
        Failed(error)
    }
}

impl Floor {
    pub(crate) fn new(engine: &plugin::Engine, bytes: &[u8]) -> Result<Floor, Failed> {
        let engine = engine.wasmtime().clone();
        let component = Component::new(&engine, bytes)?;
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component)?;
        let methods = component
            .get_export_index(None, METHODS)
            .ok_or_else(|| wasmtime::format_err!("{METHODS}"))?;
        let invoke = component
            .get_export_index(Some(&methods), "invoke")
            .ok_or_else(|| wasmtime::format_err!("invoke"))?;
        Ok(Floor { pre: linker.instantiate_pre(&component)?, engine, invoke })
    }

    pub(crate) async fn call(&self, method: &str, payload: &str) -> Result<String, Failed> {
        let mut store = Store::new(&self.engine, ());
        // The engine counts epochs, and nobody asks it to interrupt this.
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = self.pre.instantiate_async(&mut store).await?;
        let invoke = instance.get_typed_func::<(&str, &str), (Result<Response, MethodError>,)>(
            &mut store,
            &self.invoke,
        )?;
        match invoke.call_async(&mut store, (method, payload)).await? {
            (Ok(Response { status: 200, payload: Some(payload) }),) => Ok(payload),
            _ => Err(wasmtime::format_err!("the probe did not answer").into()),
        }
    }
}
