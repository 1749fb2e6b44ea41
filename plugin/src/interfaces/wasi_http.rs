//! `wasi:http`: requests of a call, backed by [`WasiHttp`](crate::call::http::wasi::WasiHttp).

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
        let ours = http.wasi.as_mut().expect("only plugins that import wasi:http are linked to it");
        let wasi = self.wasi.as_mut().expect("importing wasi:http implies WASI");
        ours.view(&mut http.requests, wasi.table())
    }
}
