//! `wasi:*@0.2`: WASI without system access, backed by [`Wasi`](crate::call::wasi::Wasi).

use crate::call::state::CallState;
use wasmtime::component::Linker;
use wasmtime_wasi::{WasiCtxView, WasiView};

pub(super) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.as_mut().expect("only plugins that import WASI are linked to it");
        wasi.view()
    }
}
