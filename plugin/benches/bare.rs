//! A call with wasmtime only: no limits, no log, no handles.

use behaviour_plugin::Engine;
use std::borrow::Cow;
use wasmtime::Store;
use wasmtime::component::{Component, Linker};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "behaviour",
        imports: { default: async },
        exports: { default: async },
    });
}

pub(crate) struct Bare {
    engine: wasmtime::Engine,
    pre: bindings::BehaviourPre<()>,
}

impl Bare {
    // The guest calls none of its imports.
    pub(crate) fn new(engine: &Engine, guest: &[u8]) -> Bare {
        let engine = engine.wasmtime();
        let component = match guest {
            [0, b'a', b's', b'm', 1, ..] => Cow::Owned(behaviour_plugin::encode(guest).unwrap()),
            _ => wat::parse_bytes(guest).unwrap(),
        };
        let component = Component::new(&engine, component).unwrap();
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component).unwrap();
        let pre = bindings::BehaviourPre::new(linker.instantiate_pre(&component).unwrap()).unwrap();
        Bare { engine, pre }
    }

    pub(crate) async fn call(&self, method: &str, payload: &str) -> u16 {
        let mut store = Store::new(&self.engine, ());
        // The engine counts epochs, but this store is never interrupted.
        store.set_epoch_deadline(u64::MAX / 2);
        let guest = self.pre.instantiate_async(&mut store).await.unwrap();
        let methods = guest.device_behaviour_methods();
        let answer = methods.call_invoke(&mut store, method, &payload.to_owned()).await.unwrap();
        answer.unwrap().status
    }
}
