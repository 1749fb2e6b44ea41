//! The registry of a run: Debian's `docker-registry`, without TLS on a free port.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::time::sleep;

use crate::process::Process;
use crate::programs::Programs;

/// The time limit of the registry's start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running registry.
pub(crate) struct Registry {
    /// Host and port, as in references.
    pub(crate) host: String,
    data: PathBuf,
    _process: Process,
}

impl Registry {
    /// Starts a registry with its data in `folder`.
    pub(crate) async fn start(programs: &Programs, folder: &Path) -> anyhow::Result<Registry> {
        let program = programs.docker_registry()?;
        let (data, config) = (folder.join("registry"), folder.join("registry.yml"));
        let text = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: \"127.0.0.1:0\", secret: x}}\n",
            data.display()
        );
        fs::write(&config, text)?;
        let mut command = Command::new(program);
        command.arg("serve").arg(config);
        let mut process = Process::start("registry", folder, command)?;
        let started = Instant::now();
        let port = loop {
            let printed = process.printed();
            if let Some((_, rest)) = printed.split_once("listening on 127.0.0.1:") {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                break rest[..digits].to_owned();
            }
            process.check()?;
            if started.elapsed() > START_TIMEOUT {
                bail!("the registry did not start within {START_TIMEOUT:?}: {printed}");
            }
            sleep(Duration::from_millis(10)).await;
        };
        Ok(Registry { host: format!("localhost:{port}"), data, _process: process })
    }

    /// Changes the last byte of a stored blob. `hex` is its digest without the algorithm.
    pub(crate) fn tamper(&self, hex: &str) -> anyhow::Result<()> {
        let blobs = self.data.join("docker/registry/v2/blobs/sha256");
        let file = blobs.join(&hex[..2]).join(hex).join("data");
        let mut bytes = fs::read(&file).with_context(|| file.display().to_string())?;
        *bytes.last_mut().context("the blob is empty")? ^= 1;
        Ok(fs::write(file, bytes)?)
    }
}
