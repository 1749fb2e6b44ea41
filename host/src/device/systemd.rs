//! Notifications to systemd: readiness, status and heartbeats.
//!
//! Each notification is a datagram to the socket that the environment names (sd_notify(3)).
//! Without a socket, nothing is sent. The host reports that it is ready once it is configured,
//! because a device without a network, or one that still compiles its plugins, has not failed
//! to start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use plugin::readable;
use tokio::time::{Instant, sleep_until};
use tracing::{error, warn};

use socket::Socket;

/// Number of heartbeats within the watchdog's timeout.
const FEEDS: u32 = 3;

/// Connection to the service manager.
pub(crate) struct ServiceManager {
    socket: Option<Socket>,
    /// Interval of the heartbeats; `None` without a watchdog.
    every: Option<Duration>,
    due: Instant,
}

impl ServiceManager {
    /// Returns a service manager without a socket.
    pub(crate) fn none() -> ServiceManager {
        ServiceManager { socket: None, every: None, due: Instant::now() }
    }

    /// Returns the service manager in the environment.
    pub(crate) fn of_environment() -> ServiceManager {
        let variable = |name: &str| std::env::var(name).ok();
        let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return ServiceManager::none() };
        // A child process inherits the variables, but the watchdog watches only the host.
        let is_ours =
            variable("WATCHDOG_PID").is_none_or(|id| id == std::process::id().to_string());
        let limit = variable("WATCHDOG_USEC").filter(|_| is_ours);
        let limit = limit.and_then(|text| text.parse().ok());
        ServiceManager::at(&PathBuf::from(path), limit.map(Duration::from_micros))
    }

    /// Returns a service manager with a socket at `path` and the watchdog timeout `limit`.
    fn at(path: &Path, limit: Option<Duration>) -> ServiceManager {
        let socket = Socket::open(path);
        let socket = socket.map_err(|error| warn!(%error, "systemd cannot be notified")).ok();
        let every = limit.filter(|limit| !limit.is_zero()).map(|limit| limit / FEEDS);
        ServiceManager { socket, every, due: Instant::now() }
    }

    /// Notifies the service manager that the host is ready.
    pub(crate) fn ready(&self) {
        self.notify("READY=1\nSTATUS=connecting");
    }

    /// Sends the status that `systemctl status` shows.
    pub(crate) fn status(&self, status: &str) {
        self.notify(&format!("STATUS={}", status.replace('\n', " ")));
    }

    /// Notifies the service manager that the host is stopping.
    pub(crate) fn stopping(&self) {
        self.notify("STOPPING=1\nSTATUS=draining");
    }

    /// Waits until the next heartbeat is due.
    pub(crate) async fn alive_due(&self) {
        match self.every {
            Some(_) => sleep_until(self.due).await,
            None => std::future::pending().await,
        }
    }

    /// Sends a heartbeat, unless one of the supervised tasks is silent. The device's event loop
    /// calls this method, so a hung loop sends no heartbeat.
    pub(crate) fn alive(&mut self, silent: &[&str]) {
        let Some(every) = self.every else { return };
        self.due = Instant::now() + every;
        if silent.is_empty() {
            self.notify("WATCHDOG=1");
        } else {
            error!(tasks = ?silent, "tasks without a heartbeat: the watchdog is not notified");
        }
    }

    /// Returns the watchdog's timeout, or `None` without a watchdog.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.every.map(|every| every * FEEDS)
    }

    fn notify(&self, text: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(text)
        {
            warn!(%error, "systemd did not receive `{}`", readable(text));
        }
    }
}

#[cfg(target_os = "linux")]
mod socket {
    use std::io;
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::path::Path;

    pub(super) struct Socket(UnixDatagram, SocketAddr);

    impl Socket {
        pub(super) fn open(path: &Path) -> io::Result<Socket> {
            let address = match path.as_os_str().as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
                _ => SocketAddr::from_pathname(path)?,
            };
            let socket = UnixDatagram::unbound()?;
            // The device must not block if the service manager does not read.
            socket.set_nonblocking(true)?;
            Ok(Socket(socket, address))
        }

        pub(super) fn send(&self, text: &str) -> io::Result<usize> {
            self.0.send_to_addr(text.as_bytes(), &self.1)
        }
    }
}

/// Replacement for systems without systemd.
#[cfg(not(target_os = "linux"))]
mod socket {
    use std::io;
    use std::path::Path;

    pub(super) enum Socket {}

    impl Socket {
        pub(super) fn open(_: &Path) -> io::Result<Socket> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn send(&self, _: &str) -> io::Result<usize> {
            match *self {}
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[tokio::test]
    async fn notifications_follow_the_protocol_of_systemd() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut service_manager = ServiceManager::at(&path, Some(Duration::from_millis(30)));

        service_manager.ready();
        assert_eq!(received(&socket), "READY=1\nSTATUS=connecting");
        for _ in 0..2 {
            service_manager.alive_due().await;
            service_manager.alive(&[]);
            assert_eq!(received(&socket), "WATCHDOG=1");
        }
        service_manager.alive(&["swap"]);
        service_manager.status("two\nlines");
        assert_eq!(received(&socket), "STATUS=two lines");
        service_manager.stopping();
        assert_eq!(received(&socket), "STOPPING=1\nSTATUS=draining");
    }

    #[tokio::test]
    async fn an_abstract_socket_is_found_by_its_name() {
        let name = format!("@behaviour-host-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();

        ServiceManager::at(Path::new(&name), None).status("here");

        assert_eq!(received(&socket), "STATUS=here");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_watchdog_no_heartbeat_is_ever_due() {
        let mut service_manager = ServiceManager::none();
        let day = Duration::from_secs(86_400);
        assert!(tokio::time::timeout(day, service_manager.alive_due()).await.is_err());
        service_manager.alive(&[]);
        service_manager.ready();
    }
}
