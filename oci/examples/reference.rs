//! Parses the reference of an image and prints its parts.
//!
//! ```text
//! cargo run -p behaviour-oci --example reference -- registry.example/plugins/reboot:1.2.3
//! ```
#![allow(clippy::print_stdout, reason = "this is a command-line program")]

use std::error::Error;

use behaviour_oci::Reference;

fn main() -> Result<(), Box<dyn Error>> {
    let image: Reference = std::env::args().nth(1).ok_or("expected REF")?.parse()?;
    println!("registry   {}", image.registry());
    println!("repository {}", image.repository());
    println!("tag        {}", image.tag().unwrap_or("none"));
    println!("digest     {}", image.digest().map_or("none".to_owned(), |it| it.to_string()));
    Ok(())
}
