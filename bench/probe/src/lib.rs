//! The measured guest. `echo` answers with its payload at once, `sleep` does so after as
//! many milliseconds as the payload says, and `version` answers with the version.
//!
//! It exists only when compiled to WebAssembly.

#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "the generated bindings speak the component ABI")]
mod component;
