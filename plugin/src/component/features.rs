//! WebAssembly features that plugins can use.

use wasmparser::WasmFeatures;

/// WebAssembly features of this host. Garbage-collected types and exceptions need a collector,
/// threads need shared memories, and calls are synchronous for the guest.
pub(crate) const SUPPORTED: WasmFeatures = WasmFeatures::WASM3
    .difference(WasmFeatures::GC_TYPES)
    .difference(WasmFeatures::EXCEPTIONS)
    .difference(WasmFeatures::THREADS)
    .union(WasmFeatures::COMPONENT_MODEL);
