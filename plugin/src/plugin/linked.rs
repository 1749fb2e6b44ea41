//! A component linked to its imports.

use crate::about::About;
use crate::call::state::CallState;
use crate::compile;
use crate::compile::cache::Source;
use crate::engine::EngineParts;
use crate::engine::pools::Pool;
use crate::interfaces::{
    self, BehaviourPre, WithDeferredPre, WithDesiredPre, WithLifecyclePre, WithMessagesPre,
};
use std::ops::Deref;
use std::sync::Arc;
use wasmtime::component::{Component, Linker};

/// Pre-instantiated worlds: the default world and the optional ones that the component exports.
pub(crate) struct Linked {
    /// Pool of the component's instances.
    pub(crate) pool: Arc<Pool>,
    pub(crate) behaviour: BehaviourPre<CallState>,
    pub(crate) deferred: Option<WithDeferredPre<CallState>>,
    pub(crate) desired: Option<WithDesiredPre<CallState>>,
    pub(crate) lifecycle: Option<WithLifecyclePre<CallState>>,
    pub(crate) messages: Option<WithMessagesPre<CallState>>,
}

impl Linked {
    /// Links the component to the default world, to its granted capabilities, and to WASI
    /// if it imports it. Returns an error for any other import. A component that was compiled
    /// for another pool is loaded into this one first.
    pub(crate) fn new(
        engine: &EngineParts,
        pool: Arc<Pool>,
        component: &Component,
        source: &Source,
        about: &About,
    ) -> wasmtime::Result<Linked> {
        let component = match wasmtime::Engine::same(component.engine(), &pool.wasmtime) {
            true => component.clone(),
            false => compile::load_again(&pool.wasmtime, engine.cache.as_ref(), source, component)?,
        };
        let mut linker: Linker<CallState> = pool.linker.clone();
        if about.imports.wasi {
            interfaces::add_wasi_to_linker(&mut linker)?;
        }
        if about.imports.wasi_http {
            interfaces::add_wasi_http_to_linker(&mut linker)?;
        }
        for capability in &about.imports.capabilities {
            interfaces::add_capability_to_linker(*capability, &mut linker)?;
        }
        let exports = about.exports;
        let pre = linker.instantiate_pre(&component)?;
        let optional = |exported: bool| exported.then(|| pre.clone());
        Ok(Linked {
            deferred: optional(exports.deferred).map(WithDeferredPre::new).transpose()?,
            desired: optional(exports.desired).map(WithDesiredPre::new).transpose()?,
            lifecycle: optional(exports.lifecycle).map(WithLifecyclePre::new).transpose()?,
            messages: optional(exports.messages).map(WithMessagesPre::new).transpose()?,
            behaviour: BehaviourPre::new(pre)?,
            pool,
        })
    }

    pub(crate) fn component(&self) -> &Component {
        self.behaviour.instance_pre().component()
    }
}

/// A linked component with a place in its pool, which the call returns when it ends.
pub(crate) struct Placed {
    linked: Arc<Linked>,
    /// `false` if the pool itself refuses calls for which it has no instance.
    has_place: bool,
}

impl Placed {
    /// Takes a place. Returns `None` if the pool has none.
    pub(crate) fn take(linked: &Arc<Linked>) -> Option<Placed> {
        let taken = linked.pool.take_place();
        taken.then(|| Placed { linked: Arc::clone(linked), has_place: true })
    }

    /// Leaves it to the pool to refuse the call.
    pub(crate) fn or_refused(linked: Arc<Linked>) -> Placed {
        Placed { linked, has_place: false }
    }
}

impl Deref for Placed {
    type Target = Linked;

    fn deref(&self) -> &Linked {
        &self.linked
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        if self.has_place {
            self.linked.pool.return_place();
        }
    }
}
