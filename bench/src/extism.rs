//! Measurement of a fresh Extism plugin by the program in `bench/extism`. The program is
//! separate, since Extism depends on another version of wasmtime than this workspace.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, bail};

use crate::peers::Stage;
use crate::programs::{run, workspace};

/// The number of calls of one round, whose median is the result.
const CALLS: usize = 500;

/// The running program `bench/extism`.
pub(crate) struct Extism {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Extism {
    /// Builds the program, which takes minutes the first time, and starts it.
    pub(crate) fn start(stage: &Stage) -> anyhow::Result<Extism> {
        let target = stage.programs.target.join("extism");
        crate::say("sandbox: building bench/extism, which takes minutes the first time");
        let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
        let mut build = Command::new(cargo);
        build.current_dir(workspace()).args(["build", "--release", "--locked", "--manifest-path"]);
        build.arg("bench/extism/Cargo.toml").arg("--target-dir").arg(&target);
        run(build)?;
        let mut child = Command::new(target.join("release/extism-peer"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("extism-peer")?;
        let input = child.stdin.take().context("extism-peer has no input")?;
        let output = BufReader::new(child.stdout.take().context("extism-peer has no output")?);
        Ok(Extism { child, input, output })
    }

    /// Measures calls with a payload of this many bytes, and returns their median in
    /// microseconds.
    pub(crate) fn median(&mut self, bytes: usize) -> anyhow::Result<f64> {
        writeln!(self.input, "{bytes} {CALLS}")?;
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("extism-peer has ended: {:?}", self.child.wait()?);
        }
        Ok(line.trim().parse()?)
    }
}

impl Drop for Extism {
    fn drop(&mut self) {
        // The program may already have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
