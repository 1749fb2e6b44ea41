//! The faults, in the order of the table's rows.

use std::fs;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hub::{Effect, Fault, Step};
use serde_json::json;
use tokio::net::TcpSocket;

use crate::device::Device;

const DAY: i64 = 24 * 60 * 60;

type CauseFuture = Pin<Box<dyn Future<Output = String> + Send>>;

/// A fault with its preparation before the start of the host and its cause.
pub(crate) struct WalkFault {
    pub(crate) name: &'static str,
    pub(crate) prepare: fn(&Device),
    /// `true` if the hub's name resolves to a silent address first.
    pub(crate) silent_first: bool,
    pub(crate) cause: fn(Arc<Device>) -> CauseFuture,
}

const fn fault(name: &'static str, cause: fn(Arc<Device>) -> CauseFuture) -> WalkFault {
    WalkFault { name, prepare: |_| {}, silent_first: false, cause }
}

/// All faults.
pub(crate) const ALL: [WalkFault; 12] = [
    fault("reports that are merged into more than a packet", |device| {
        Box::pin(long_report(device))
    }),
    fault("a message on which the hub closes each time", |device| Box::pin(poison(device))),
    fault("a twin longer than a packet", |device| Box::pin(long_twin(device))),
    fault("`kill -9` in mid-swap", |device| Box::pin(killed_in_swap(device))),
    fault("a refused file, then a restart", |device| Box::pin(refused(device))),
    fault("a damaged compile cache, then a restart", |device| Box::pin(damaged_cache(device))),
    WalkFault {
        name: "a first address that is silent",
        prepare: |_| {},
        silent_first: true,
        cause: |device| Box::pin(silent_address(device)),
    },
    WalkFault {
        name: "a full pipe as standard error",
        prepare: |device| device.stderr_is_full.store(true, Relaxed),
        silent_first: false,
        cause: |_| Box::pin(async { "a host with `--log trace`".to_owned() }),
    },
    fault("the clock a day forward", |device| Box::pin(clock(device, DAY))),
    fault("the clock a day back", |device| Box::pin(clock(device, -DAY))),
    fault("a panic in a host function", |_| {
        Box::pin(async {
            "not caused here; held by `a_panic_in_a_host_function_is_a_failed_call`".to_owned()
        })
    }),
    fault("a reboot command that kills the host", |device| Box::pin(reboot(device))),
];

/// The hub refuses reports for a while, so the reports of one call are merged.
async fn long_report(device: Arc<Device>) -> String {
    let refusal = Fault::new(Step::TwinReport, Effect::Throttle).times(3);
    device.hub.faults().set(refusal).unwrap();
    device.call("tell", json!({ "first": 1 })).await.ok();
    let seen = device.status("controls").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    format!("40 reports of 30,000 bytes: {seen}")
}

/// The hub also disconnects on the message of the call's job.
async fn poison(device: Arc<Device>) -> String {
    let poison = Fault::new(Step::Message, Effect::DropBefore).times(1000);
    device.hub.faults().set(poison.lasting(Duration::from_secs(600))).unwrap();
    let _ = device.call("tell", json!({ "level": 3 })).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let closed = device.hub.faults().happened();
    device.hub.faults().clear();
    format!("the hub closed {closed} connections")
}

/// Each control character counts as nothing by the size rules of twins, but takes six bytes in
/// JSON.
async fn long_twin(device: Arc<Device>) -> String {
    for number in 0..6 {
        let texts = vec!["\u{1}".repeat(4000); 5];
        let patch = json!({ "properties": { "desired": { format!("part{number}"): texts } } });
        if let Err(error) = device.client.patch_twin(&device.id, patch, None).await {
            return format!("after {number} of 6 parts: {error}");
        }
    }
    // The host reads the whole twin when it connects.
    device.hub.drop_connection(&device.id);
    "720,000 bytes of desired properties".to_owned()
}

async fn killed_in_swap(device: Arc<Device>) -> String {
    device.swap("version-two.wat");
    tokio::time::sleep(Duration::from_millis(250)).await;
    device.kill().await;
    device.status("ask").await
}

async fn refused(device: Arc<Device>) -> String {
    // A version becomes known good after its first answer.
    device.status("ask").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let whole = fixtures::guest("version-two.wat");
    fs::write(device.file("swaps.wasm"), &whole[..whole.len() / 2]).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    device.kill().await;
    device.status("ask").await
}

async fn damaged_cache(device: Arc<Device>) -> String {
    for file in fs::read_dir(device.file("cache")).unwrap() {
        let path = file.unwrap().path();
        let mut code = fs::read(&path).unwrap();
        // The damage is in the machine code, because headers are always checked.
        let at = code.len() / 8;
        code[at..at + 2048].fill(0xF4);
        let new = device.file("damaged");
        fs::copy(&path, &new).unwrap();
        fs::write(&new, code).unwrap();
        fs::rename(new, path).unwrap();
    }
    device.kill().await;
    device.status("ask").await
}

/// Restarts the host, whose hub name resolves to a silent address first.
async fn silent_address(device: Arc<Device>) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], device.hub.mqtt_port()));
    socket.bind(address).unwrap();
    let silent = socket.listen(1).unwrap();
    let mut held = Vec::new();
    // The loop ends when the backlog is full and the kernel accepts no connection.
    while let Ok(Ok(connection)) =
        tokio::time::timeout(Duration::from_millis(300), tokio::net::TcpStream::connect(address))
            .await
    {
        held.push(connection);
    }
    device.kill().await;
    let seen = device.status("echo").await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    drop((silent, held));
    format!("started again beside a silent address: {seen}")
}

async fn clock(device: Arc<Device>, seconds: i64) -> String {
    device.set_clock(seconds);
    tokio::time::sleep(Duration::from_secs(3)).await;
    // While the clock is behind, a new connection would be refused because of its expired
    // token.
    if seconds > 0 {
        device.hub.drop_connection(&device.id);
    }
    let seen = device.status("echo").await;
    device.set_clock(0);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let connection = if seconds > 0 { "a new connection" } else { "the same connection" };
    format!("after the step {connection}: {seen}")
}

async fn reboot(device: Arc<Device>) -> String {
    let seen = device.status("reboot").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let runs = fs::read_to_string(device.file("ran")).unwrap_or_default().lines().count();
    format!("{seen}; the command ran {runs} times")
}
