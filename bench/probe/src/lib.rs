//! The guest that is measured. `echo` answers with its payload at once, `sleep`
//! after as many milliseconds as its payload says, `version` with its version.
//!
//! It exists only when compiled to WebAssembly.

#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "the generated bindings speak the component ABI")]
mod component;
