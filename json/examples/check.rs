//! Validates JSON from standard input like the programs of this workspace, and formats it.
//!
//! ```text
//! echo '{"b": 1.10, "a": [1, 2]}' | cargo run -p behaviour-json --example check
//! ```
#![allow(clippy::print_stdout, reason = "this is a command-line program")]

use std::error::Error;
use std::io;

use behaviour_json::Json;

fn main() -> Result<(), Box<dyn Error>> {
    let text = io::read_to_string(io::stdin())?;
    let json = Json::new(text)?;
    println!("{}", json.pretty());
    Ok(())
}
