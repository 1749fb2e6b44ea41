//! Tests of the program `behaviour` on guests written in WebAssembly text.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

// The name under which the shared file of the registry knows the crate.
extern crate oci as behaviour_oci;

#[path = "../../oci/tests/registry/debian.rs"]
#[allow(dead_code, reason = "each test uses some functions of the file")]
mod debian;
#[path = "../../oci/tests/registry/packages.rs"]
mod packages;

mod program {
    pub(crate) mod rig;

    mod build;
    mod call;
    mod check;
    mod compile;
    mod publish;
    mod test;
    mod watch;
}
