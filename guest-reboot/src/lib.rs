//! The first plugin: the reboot behaviour of the tutorial.
//!
//! [`reboot`] decides what happens and in which order; [`settings`] is what the
//! operator may change about it. Both are plain Rust, tested natively. The
//! component around them, built with `behaviour build guest-reboot`, only
//! translates between them and the interfaces of the world `behaviour`.
//!
//! It cannot reboot anything: it plays a reboot, as the tutorial does, by waiting.
//! `behaviour build guest-reboot/real` makes a component of the same sources that
//! can, with `mode = "real"`, where the host grants it the capability `power`:
//! [`real`] is what that does.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may stop at the first surprise"))]

pub mod real;
pub mod reboot;
pub mod settings;

#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "the generated bindings speak the component ABI")]
mod component;
