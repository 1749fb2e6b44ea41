//! `wasi:http`: requests of a call, backed by [`Http`](crate::call::http::Http).

use crate::call::state::CallState;
use wasmtime::component::Linker;
use wasmtime_wasi_http::p2::add_only_http_to_linker_async;
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

pub(super) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    add_only_http_to_linker_async(linker)
}

impl WasiHttpView for CallState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let http =
            self.http.as_mut().expect("only plugins with the capability are linked to wasi:http");
        let wasi = self.wasi.as_mut().expect("importing wasi:http implies WASI");
        http.view(wasi.table())
    }
}
