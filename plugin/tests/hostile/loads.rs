//! Guests that are refused at load, or just within a limit.

use crate::trial::Trial;
use crate::{MIB, Row};
use behaviour_plugin::{Limits, LoadError, Plugin, PluginSettings};
use futures_util::future::FutureExt;
use std::fs::File;
use std::io::Write;
use std::time::Duration;

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "is a file one byte above the limit",
        expected: "67108865 bytes long; 67108864 are allowed",
        budget_mib: 16,
        attempt: |trial| too_long(trial).boxed(),
    },
    Row {
        name: "has more bytes in memory than the limit",
        expected: "67109728 bytes long; 67108864 are allowed",
        budget_mib: 160,
        attempt: |trial| trial.load_of(|| fixtures::padded(64 * MIB)).boxed(),
    },
    Row {
        name: "is truncated",
        expected: "not a valid component: ",
        budget_mib: 16,
        attempt: |trial| trial.load_of(cut_off).boxed(),
    },
    Row {
        name: "has random bytes after its header",
        expected: "not a valid component: ",
        budget_mib: 16,
        attempt: |trial| trial.load_of(noise).boxed(),
    },
    Row {
        name: "is text with components that nest too deeply",
        expected: "not a valid component: ",
        budget_mib: 16,
        attempt: |trial| trial.load_of(nested).boxed(),
    },
    Row {
        name: "has types that nest too deeply",
        expected: "not a valid component: types may nest 257 levels deep; 256 are allowed",
        budget_mib: 16,
        attempt: |trial| trial.load_of(|| fixtures::nested_types(256)).boxed(),
    },
    Row {
        name: "has types that nest to the limit",
        expected: "loaded",
        budget_mib: 16,
        attempt: |trial| trial.load_of(|| fixtures::nested_types(255)).boxed(),
    },
    Row {
        name: "has types in its WIT that nest too deeply",
        expected: "core module cannot be converted to a component: types may nest 257 levels deep",
        budget_mib: 16,
        attempt: |trial| trial.load_of(|| fixtures::nested_wit(256)).boxed(),
    },
    Row {
        name: "has types in its WIT that nest to the limit",
        expected: "core module cannot be converted to a component: ",
        budget_mib: 16,
        attempt: |trial| trial.load_of(|| fixtures::nested_wit(255)).boxed(),
    },
    Row {
        name: "has components that nest too deeply",
        expected: "not a valid component: components nest more than 64 levels deep",
        budget_mib: 16,
        attempt: |trial| trial.load_of(|| fixtures::nested_components(64)).boxed(),
    },
    Row {
        name: "has components that nest to the limit",
        expected: "does not export `device:behaviour/methods@0.1.2`, so it has no methods",
        budget_mib: 16,
        attempt: |trial| trial.load_of(|| fixtures::nested_components(63)).boxed(),
    },
    Row {
        name: "has blocks that nest too deeply",
        expected: "function 2 has 10001 nested blocks; 10000 are allowed",
        budget_mib: 16,
        attempt: |trial| trial.load_of(|| fixtures::nested_blocks(10_001)).boxed(),
    },
    Row {
        name: "starts with more memory than the limit",
        expected: "starts with 8519680 bytes of memory; 65536 are allowed",
        budget_mib: 16,
        attempt: |trial| starts_large(trial).boxed(),
    },
    Row {
        name: "has a function above 2 MiB",
        expected: "function 2 has 2097157 bytes of code; 2097152 are allowed",
        budget_mib: 16,
        attempt: |trial| trial.load_of(|| fixtures::laborious(1, 233_017)).boxed(),
    },
    Row {
        name: "has a function with too many variables in loops",
        expected: "function 2 has 2001 local variables in 1000 loops",
        budget_mib: 16,
        attempt: |trial| trial.load_of(|| fixtures::tangled(2_001, 1_000)).boxed(),
    },
    Row {
        name: "takes longer to compile than the limit",
        expected: "not compiled within 1ms; then: not compiled: earlier compilations that \
                   timed out are still running: 1; then: loaded",
        budget_mib: 160,
        attempt: |trial| laborious(trial).boxed(),
    },
];

impl Trial {
    async fn load_of(&self, guest: fn() -> Vec<u8>) -> String {
        describe(&self.load_bytes(guest(), Limits::default()).await)
    }

    /// Loads a guest on a thread that can block, like a host.
    pub(crate) async fn load_bytes(
        &self,
        bytes: Vec<u8>,
        limits: Limits,
    ) -> Result<Plugin, LoadError> {
        self.load_with(bytes, PluginSettings { limits, ..PluginSettings::default() }).await
    }

    pub(crate) async fn load_with(
        &self,
        bytes: Vec<u8>,
        settings: PluginSettings,
    ) -> Result<Plugin, LoadError> {
        let engine = self.engine.clone();
        let load = move || engine.load("reboot", &bytes, settings);
        tokio::task::spawn_blocking(load).await.unwrap()
    }
}

fn describe(outcome: &Result<Plugin, LoadError>) -> String {
    match outcome {
        Ok(_) => "loaded".to_owned(),
        Err(error) => error.to_string(),
    }
}

async fn too_long(trial: &Trial) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("long.wasm");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"\0asm\x0d\0\x01\0").unwrap();
    file.set_len(64 * MIB as u64 + 1).unwrap();
    describe(&trial.engine.load_file("reboot", &path, PluginSettings::default()))
}

fn cut_off() -> Vec<u8> {
    let mut bytes = fixtures::padded(1000);
    bytes.truncate(bytes.len() / 2);
    bytes
}

fn noise() -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    let mut state = 1_u32;
    bytes.extend((0..100_000).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    }));
    bytes
}

fn nested() -> Vec<u8> {
    // The parser allows 100 levels.
    "(component ".repeat(101).into_bytes()
}

async fn starts_large(trial: &Trial) -> String {
    let limits = Limits { memory_bytes: 64 * 1024, ..Limits::default() };
    describe(&trial.load_bytes(fixtures::guest("answers.wat"), limits).await)
}

/// Abandons a compilation at its time limit. The same component is then refused until that
/// compilation has ended, while other components are compiled. Afterwards it loads.
async fn laborious(trial: &Trial) -> String {
    // No other guest and no earlier run has these bytes, so they are not in the cache.
    let steps = 5_000 + std::process::id() % 5_000;
    let guest = || fixtures::laborious(40, steps);
    let short = Limits { compile_time: Duration::from_millis(1), ..Limits::default() };

    let abandoned = describe(&trial.load_bytes(guest(), short).await);
    let repeated = describe(&trial.load_bytes(guest(), Limits::default()).await);
    trial.load_bytes(fixtures::laborious(1, steps), Limits::default()).await.unwrap();
    let later = loop {
        match trial.load_bytes(guest(), Limits::default()).await {
            Err(LoadError::StillCompiling { .. }) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => break describe(&other),
        }
    };
    format!("{abandoned}; then: {repeated}; then: {later}")
}
