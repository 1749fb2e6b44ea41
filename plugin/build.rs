//! The build script of the sandbox: the locked version of wasmtime.
//!
//! wasmtime has no constant for its version, and compares only the major version with that of
//! compiled code.

#![allow(clippy::print_stdout, reason = "cargo reads the output of a build script")]

use std::path::Path;
use std::{env, fs};

fn main() {
    let package = env::var("CARGO_MANIFEST_DIR").expect("cargo sets the variable");
    let lock = Path::new(&package).with_file_name("Cargo.lock");
    println!("cargo::rerun-if-changed={}", lock.display());
    let lock = fs::read_to_string(&lock).expect("the lock file is in the sources");
    let (_, entry) =
        lock.split_once("\nname = \"wasmtime\"\nversion = \"").expect("wasmtime is a dependency");
    let (version, _) = entry.split_once('"').expect("a quoted version");
    println!("cargo::rustc-env=BEHAVIOUR_WASMTIME={version}");
    // For the build scripts of the programs that run plugins.
    println!("cargo::metadata=WASMTIME={version}");
}
