//! The program `behaviour`, run for real on guests that need no compiler.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod program {
    pub(crate) mod rig;

    mod build;
    mod call;
    mod check;
    mod test;
    mod watch;
}
