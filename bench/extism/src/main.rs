//! Measures a fresh Extism plugin, which is created from a compiled plugin, called once and
//! dropped.
//!
//! For each line `BYTES CALLS` on standard input, the program measures that many calls
//! with a payload of that many bytes, and prints their median in microseconds. `bench` can
//! therefore alternate between this program and the other measurements.

use std::error::Error;
use std::io::{BufRead as _, Write as _};
use std::time::{Duration, Instant};

use extism::{CompiledPlugin, Manifest, Plugin, PluginBuilder, Wasm};

fn main() -> Result<(), Box<dyn Error>> {
    let guest = wat::parse_str(include_str!("echo.wat"))?;
    let compiled = CompiledPlugin::new(PluginBuilder::new(Manifest::new([Wasm::data(guest)])))?;
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (bytes, calls) = line.split_once(' ').ok_or("expected `BYTES CALLS`")?;
        let payload = format!("\"{}\"", "x".repeat(bytes.parse::<usize>()?.saturating_sub(2)));
        writeln!(out, "{}", median(&compiled, &payload, calls.parse()?)?.as_nanos() as f64 / 1e3)?;
        out.flush()?;
    }
    Ok(())
}

fn median(
    compiled: &CompiledPlugin,
    payload: &str,
    calls: usize,
) -> Result<Duration, Box<dyn Error>> {
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let started = Instant::now();
        let mut plugin = Plugin::new_from_compiled(compiled)?;
        let is_echo = plugin.call::<&str, &str>("echo", payload)? == payload;
        drop(plugin);
        times.push(started.elapsed());
        if !is_echo {
            return Err("the answer differs from the payload".into());
        }
    }
    times.sort_unstable();
    Ok(times.get(calls / 2).copied().unwrap_or_default())
}
