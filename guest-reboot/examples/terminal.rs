//! Runs the tutorial's behaviour in a terminal, without WebAssembly.
//!
//! ```text
//! cargo run -p guest-reboot --example terminal -- 2       # a reboot of 2 seconds
//! ```
#![allow(clippy::print_stdout, reason = "this is a command-line program")]

use std::env;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use guest_reboot::device::{Device, RebootableDevice, ReportProgress};
use guest_reboot::reboot::{METHOD, answer};
use guest_reboot::settings::RebootSettings;

/// A device that prints every effect.
struct Terminal;

impl Device for Terminal {
    fn log(&mut self, message: &str) {
        println!("log: {message}");
    }

    fn sleep(&mut self, delay: Duration) -> Result<(), String> {
        std::thread::sleep(delay);
        Ok(())
    }

    fn now(&mut self) -> String {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        format!("{} s after 1970", since.as_secs())
    }

    fn report(&mut self, patch: &str) -> Result<ReportProgress, String> {
        println!("reported: {patch}");
        Ok(ReportProgress::Updated)
    }
}

impl RebootableDevice for Terminal {
    fn after_boot(&mut self, _job: &str, _within: Duration) -> Result<String, String> {
        Err("a terminal runs no jobs".to_owned())
    }

    fn cancel(&mut self, _job_id: &str) {}

    fn request_reboot(&mut self, _delay: Duration) -> Result<(), String> {
        Err("a terminal does not reboot".to_owned())
    }
}

fn main() {
    let seconds = env::args().nth(1).unwrap_or_else(|| "20".to_owned());
    let settings = RebootSettings::parse(&[("delay_seconds".to_owned(), seconds)]);
    match answer(&mut Terminal, METHOD, "null", settings) {
        Ok(answer) => println!("{} {}", answer.status, answer.payload),
        Err(refusal) => println!("refused: {refusal:?}"),
    }
}
