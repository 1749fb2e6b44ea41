//! Checks that a PEM file of certificates is usable, as for `--ca-file`.
//!
//! ```text
//! cargo run -p behaviour-trust --example certificates -- hub-ca.pem
//! ```
//!
//! Without a file, checks that the system has certificates.
#![allow(clippy::print_stdout, reason = "this is a command-line program")]

use std::env;
use std::path::PathBuf;

use behaviour_trust::{Trust, TrustError};

fn main() -> Result<(), TrustError> {
    let mut trust = Trust::of_system();
    let file = env::args_os().nth(1).map(PathBuf::from);
    if let Some(file) = &file {
        trust.add_file(file)?;
    }
    trust.into_client_config()?;
    match file {
        Some(file) => println!("{}: usable", file.display()),
        None => println!("the certificates of the system: usable"),
    }
    Ok(())
}
