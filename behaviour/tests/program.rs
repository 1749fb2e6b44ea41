//! Tests of the program `behaviour` on guests written in WebAssembly text.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

mod program {
    pub(crate) mod rig;

    mod build;
    mod call;
    mod check;
    mod test;
    mod watch;
}
