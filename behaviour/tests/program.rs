//! Tests of the program `behaviour` on guests written in WebAssembly text.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod program {
    pub(crate) mod rig;

    mod build;
    mod call;
    mod check;
    mod test;
    mod watch;
}
