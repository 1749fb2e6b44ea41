//! Causes each fault that could make a device unreachable in the real host program, while
//! another plugin is called continuously. Prints a table with the observation for each fault
//! and the longest time until the other plugin answered.
//!
//! ```sh
//! cargo build --release -p behaviour-host
//! cargo run --release -p tests --example walk-faults -- --before OLD_HOST
//! ```
//!
//! The clock faults need Debian's package `libfaketime`, and the silent address needs root.

#![allow(clippy::print_stdout, reason = "this is a command-line program")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod device;
mod faults;

use std::path::PathBuf;

use clap::Parser;

/// Causes each fault, with one host program or with two.
#[derive(Parser)]
struct Arguments {
    /// Host program; by default the one in the parent folder of this program's
    #[arg(long, value_name = "FILE")]
    host: Option<PathBuf>,
    /// Host program to compare with
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
    /// Only faults whose name has this word
    #[arg(default_value = "")]
    word: String,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let now = rig::host_program(arguments.host).unwrap();
    let before = arguments.before.map(|before| rig::host_program(Some(before)).unwrap());
    println!(
        "| Fault | Host | Seen | Others answered within | Calls lost |\n|---|---|---|---|---|"
    );
    for fault in faults::ALL.iter().filter(|fault| fault.name.contains(&arguments.word)) {
        for (which, program) in [("before", before.as_deref()), ("now", Some(now.as_path()))] {
            if let Some(program) = program {
                let line = device::walk(program, fault).await;
                println!("| {} | {which} | {line} |", fault.name);
            }
        }
    }
}
