//! Output of the program: each error is one line that names its subject, with at most one
//! hint.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod connecting;
mod logging;
mod operating;
mod rig;
mod starting;
