//! The measured guest. `echo` answers with its payload immediately, `sleep` after the number
//! of milliseconds in the payload, and `version` answers with the version. `trap` traps, and
//! `spin-N` never answers.
//!
//! The crate is empty unless it is compiled to WebAssembly.

#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "the generated bindings speak the component ABI")]
mod component;
