//! The program `behaviour`: reads the command line, calls the library, and
//! says how it went.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program speaks to its user")]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use behaviour::{BuildError, BuildOptions, build};
use clap::{Parser, Subcommand};

/// The plugin author's tool.
#[derive(Parser)]
#[command(name = "behaviour", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Compile a guest crate to a component that a host can load.
    ///
    /// Prints the component's path. Where the active Rust has no target
    /// wasm32-unknown-unknown, Debian's own compiler is fetched once and kept.
    Build {
        /// The folder of the guest crate.
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Where the component goes [default: components/NAME.wasm in cargo's target directory].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Where a fetched compiler is kept [default: behaviour in the user's cache directory].
        #[arg(long, value_name = "DIR", env = "BEHAVIOUR_CACHE_DIR")]
        cache_dir: Option<PathBuf>,
        /// Say nothing but the component's path, or what is wrong.
        #[arg(long, short)]
        quiet: bool,
    },
}

fn main() -> ExitCode {
    let Verb::Build { dir, out, cache_dir, quiet } = Arguments::parse().command;
    let progress = |line: &str| {
        if !quiet {
            eprintln!("{line}");
        }
    };
    let started = Instant::now();
    match build(&dir, &BuildOptions { out, cache_dir, progress: &progress, target_dir: None }) {
        Ok(built) => {
            let (kilobytes, took) = (built.bytes.div_ceil(1000), started.elapsed());
            progress(&format!("{}: {kilobytes} KB in {:.1} s", built.package, took.as_secs_f32()));
            println!("{}", built.path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn complain(error: &BuildError) {
    if let Some(output) = error.output() {
        eprintln!("{}", output.trim_end());
    }
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line = format!("{line}: {cause}");
        source = cause.source();
    }
    eprintln!("error: {line}");
    if let Some(hint) = error.hint() {
        eprintln!("hint: {hint}");
    }
}
