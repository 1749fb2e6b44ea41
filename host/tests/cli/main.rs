//! Output of the program: an error is one line that names the subject, with at most one
//! line of what to do.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod connecting;
mod logging;
mod operating;
mod rig;
mod starting;
