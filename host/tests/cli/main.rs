//! Output of the program: each error is one line that names its subject, with at most one
//! hint.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

mod certificate;
mod connecting;
mod ending;
#[cfg(target_os = "linux")]
mod hostile;
mod issued;
mod logging;
mod logs;
mod operating;
mod package;
mod provisioning;
mod recording;
mod rig;
mod secrets;
mod starting;
mod tokens;
mod wrong_inputs;
