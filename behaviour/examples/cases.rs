//! Runs the cases in a folder against a component, and prints which of them passed.
//!
//! ```text
//! cargo run -p behaviour --example cases -- fan/target/components/fan.wasm fan/cases
//! ```
#![allow(clippy::print_stdout, reason = "this is a command-line program")]

use std::env;
use std::error::Error;
use std::path::Path;

use behaviour::{cases, desk};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [component, folder] = &arguments[..] else {
        return Err("expected two arguments: a component and a folder of cases".into());
    };
    let component = Path::new(component);
    let engine = desk::engine(0)?;
    let (_, compiled) = desk::compile(&engine, component)?;
    for cases::CaseFile { name, case } in cases::find(folder.as_ref())? {
        let verdict = case?.run(&engine, &desk::name(component), &compiled)?;
        println!("{name}: {}", if verdict.passed() { "passed" } else { "failed" });
        for difference in verdict.differences() {
            println!("  {difference}");
        }
    }
    Ok(())
}
