//! The operator's socket of a running host. Each connection carries one request and one answer,
//! both a line of JSON. Only the answers to recordings and logs have several lines, one for each
//! call or log line. Only root and the host's user have access.
//!
//! Through the hub, `Remote` answers the same requests as direct methods.
//!
//! `Control::open` opens the socket, which only one host can own, and [`ask`] is the client.
//! The `Operator` carries out the requests, and the router provides the list of plugins.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::config::Config;
use crate::lent::jobs::{Jobs, NotCancelled};
use crate::lent::log::RecentLines;
use crate::router::Router;
use crate::swap::Operator;
use socket_path::SocketPath;

pub use crate::lent::log::LoggedLine;
pub use ask::{AskError, ask, ask_for_lines};
pub use messages::{ControlAnswer, ControlRequest, PluginStatus};
pub(crate) use remote::Remote;
pub use socket_path::ControlError;
pub use status::{HostStatus, JobStatus};

mod ask;
mod bundle;
mod find;
mod logs;
mod messages;
mod pointer;
mod recording;
mod remote;
mod show;
mod socket_path;
mod status;
mod table;
#[cfg(test)]
mod tests;

/// Maximum size of a request, in bytes.
const REQUEST_BYTES: u64 = 4 * 1024;

/// Time limit for receiving a request and for sending an answer.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of connections served at the same time; further ones wait.
const MAX_CONNECTIONS: usize = 8;

/// Open control socket of this host.
pub(crate) struct Control {
    listener: UnixListener,
    socket_path: SocketPath,
    /// Link to the socket for clients that use another path of the configuration.
    _link: Option<SocketPath>,
}

/// Handles for answering requests.
#[derive(Clone)]
pub(crate) struct ControlHandles {
    pub(crate) router: Arc<Router>,
    pub(crate) operator: Operator,
    /// Function that returns the status of the host, without that of its plugins.
    pub(crate) status: Arc<dyn Fn() -> HostStatus + Send + Sync>,
    /// Function that returns the metrics of the host.
    pub(crate) metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) log: Arc<RecentLines>,
}

impl Control {
    /// Opens the socket at the configured path, or else at the first usable default path. Returns
    /// `None` if no path is usable; the host then runs without a socket. Writes the path to the
    /// data directory for clients in other sessions.
    pub(crate) fn open(config: &Config, data: &Path) -> Result<Option<Control>, ControlError> {
        let configured = config.host.control_socket.as_deref();
        let candidates = socket_path::candidates(configured, config.file.as_deref());
        let mut refused = None;
        for path in &candidates {
            match SocketPath::take(path, configured.is_some()).and_then(Control::listen) {
                Ok(mut control) => {
                    let file = config.file.as_deref();
                    if let Some(Err(error)) =
                        file.map(|file| control.socket_path.publish(data, file))
                    {
                        warn!("clients in other sessions cannot find the control socket: {error}");
                    }
                    if configured.is_some() {
                        control._link = file.and_then(|file| control.link_for(file));
                    }
                    info!(socket = %path.display(), "control socket open");
                    return Ok(Some(control));
                }
                Err(error)
                    if configured.is_some() || matches!(error, ControlError::Taken { .. }) =>
                {
                    return Err(error);
                }
                Err(error) => refused = Some(error),
            }
        }
        if let Some(error) = refused {
            let error = anyhow::Error::new(error);
            warn!("no control socket, set `control_socket` under [host]: {error:#}");
        }
        Ok(None)
    }

    /// Checks that the configured socket can be created or belongs to a running host. Creates
    /// no files permanently.
    pub(crate) fn check(config: &Config) -> Result<(), ControlError> {
        let Some(path) = &config.host.control_socket else { return Ok(()) };
        match SocketPath::take(path, true) {
            Ok(socket_path) => socket_path.bind().map(drop),
            Err(ControlError::Taken { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Binds the socket and starts to listen.
    fn listen(socket_path: SocketPath) -> Result<Control, ControlError> {
        let listener = socket_path.bind()?;
        let refused = |source| ControlError::Socket { path: socket_path.path().to_owned(), source };
        listener.set_nonblocking(true).map_err(refused)?;
        let listener = UnixListener::from_std(listener).map_err(refused)?;
        Ok(Control { listener, socket_path, _link: None })
    }

    /// Creates a link from the default path to the configured socket, if the host was started
    /// with a symbolic link to its configuration in another directory. The relative paths in the
    /// configuration then start at the link, which a client that names the file does not know.
    fn link_for(&self, configuration: &Path) -> Option<SocketPath> {
        let named = std::path::absolute(configuration).ok()?;
        let file = configuration.canonicalize().ok()?;
        let directory = named.parent()?.canonicalize().ok()?;
        if file.parent() == Some(&directory) {
            return None;
        }
        let socket = std::path::absolute(self.socket_path.path()).ok()?;
        socket_path::candidates(None, Some(configuration)).iter().find_map(|path| {
            let link = SocketPath::take(path, false).ok()?;
            link.link_to(&socket).ok().map(|()| link)
        })
    }

    /// Answers requests until the future is dropped.
    pub(crate) async fn run(self, handles: ControlHandles) {
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let permit = Arc::clone(&connections).acquire_owned().await;
            match self.listener.accept().await {
                Ok((stream, _)) if self.socket_path.is_of_owner(&stream) => {
                    let handles = handles.clone();
                    tokio::spawn(async move {
                        if let Err(error) = handles.serve(stream).await {
                            debug!("control connection ended: {error}");
                        }
                        drop(permit);
                    });
                }
                Ok(_) => warn!("control connection of another user refused"),
                Err(error) => {
                    warn!("control socket: {error}");
                    // Usually the process has no free file descriptors, so an immediate retry
                    // would fail too.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

/// Sends an answer as a line.
async fn send(write: &mut (impl AsyncWrite + Unpin), answer: &ControlAnswer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer).expect("an answer is JSON");
    line.push(b'\n');
    timeout(TRANSFER_TIMEOUT, write.write_all(&line)).await??;
    Ok(())
}

impl ControlHandles {
    async fn serve(&self, mut stream: UnixStream) -> io::Result<()> {
        let (read, mut write) = stream.split();
        let mut line = Vec::new();
        let mut read = BufReader::new(read.take(REQUEST_BYTES));
        timeout(TRANSFER_TIMEOUT, read.read_until(b'\n', &mut line)).await??;
        let answer = match ControlRequest::parse(&line) {
            Ok(ControlRequest::Record { method, plugin, calls, seconds, redact }) => {
                let request =
                    recording::RecordingRequest { method, plugin, calls, seconds, redact };
                return recording::serve(&self.router, request, &mut read, &mut write).await;
            }
            Ok(ControlRequest::Logs { plugin, lines, follow })
                if self.router.table().slot(&plugin).is_some() =>
            {
                let is_configured = || self.router.table().slot(&plugin).is_some();
                let (log, read, write) = (&self.log, &mut read, &mut write);
                return logs::serve(log, &plugin, lines, follow, is_configured, read, write).await;
            }
            Ok(request) => self.answer(request).await,
            Err(error) => ControlAnswer::Error(format!("not a request: {error}")),
        };
        send(&mut write, &answer).await
    }

    async fn answer(&self, request: ControlRequest) -> ControlAnswer {
        let table = self.router.table();
        let slot = match request.plugin() {
            Some(name) => match table.slot(name) {
                Some(slot) => Some(slot),
                None => return ControlAnswer::UnknownPlugin(name.to_owned()),
            },
            None => None,
        };
        let (Some(slot), name) = (slot, request.plugin().unwrap_or_default()) else {
            return self.answer_about_host(request).await;
        };
        let outcome = match request {
            // `serve` handles recordings and logs, which have several answers.
            ControlRequest::List {}
            | ControlRequest::Status {}
            | ControlRequest::Metrics {}
            | ControlRequest::Jobs {}
            | ControlRequest::CancelJob { .. }
            | ControlRequest::Record { .. }
            | ControlRequest::Logs { .. } => return self.answer_about_host(request).await,
            ControlRequest::Disable { .. } => self.operator.switch(slot, false).await,
            ControlRequest::Enable { .. } => self.operator.switch(slot, true).await,
            ControlRequest::Reload { .. } => self.operator.reload(name).await,
            ControlRequest::Rollback { .. } => self.operator.roll_back(name).await,
        };
        match outcome {
            Ok(done) => ControlAnswer::Done(done),
            Err(reason) => ControlAnswer::Error(reason),
        }
    }

    /// Answers a request that does not concern a single plugin.
    async fn answer_about_host(&self, request: ControlRequest) -> ControlAnswer {
        match request {
            ControlRequest::Status {} => {
                let mut status = (self.status)();
                for slot in self.router.table().slots().values() {
                    let state = PluginStatus::of(slot).state;
                    *status.plugins.entry(state).or_default() += 1;
                }
                let state = self.operator.configuration();
                status.configuration_refused = state.refused;
                status.restart_needed = state.restart_needed;
                ControlAnswer::Status(Box::new(status))
            }
            ControlRequest::Metrics {} => ControlAnswer::Metrics((self.metrics)()),
            ControlRequest::Jobs {} => {
                ControlAnswer::Jobs(self.jobs.list().into_iter().map(JobStatus::from).collect())
            }
            ControlRequest::CancelJob { job } => match self.jobs.cancel_for_operator(&job).await {
                Ok(Ok(())) => ControlAnswer::Done("cancelled".to_owned()),
                Ok(Err(NotCancelled::Unknown)) => ControlAnswer::UnknownJob(job),
                Ok(Err(NotCancelled::Running)) => {
                    ControlAnswer::Error(format!("job `{job}` is running"))
                }
                Err(error) => ControlAnswer::Error(error.to_string()),
            },
            _ => self.list(),
        }
    }

    fn list(&self) -> ControlAnswer {
        let table = self.router.table();
        let state = self.operator.configuration();
        ControlAnswer::Plugins {
            plugins: table.slots().values().map(|slot| PluginStatus::of(slot)).collect(),
            compiling: self.operator.compilations(),
            configuration_refused: state.refused,
            restart_needed: state.restart_needed,
        }
    }
}
