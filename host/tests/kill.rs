//! `kill -9` at random moments. The host loses no request that it has accepted.
//!
//! The tests kill the host 50 times by default. `BEHAVIOUR_KILLS=1000 cargo test -p
//! behaviour-host --test kill -- --nocapture` kills it 1000 times and prints the figures.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]
#![allow(clippy::print_stdout, reason = "the long mode is for its figures")]

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hub::{Hub, HubConfig};
use protocol::id::DeviceId;
use protocol::method::MethodRequest;
use serde_json::{Value, json};
use service::{Client, ClientSettings};
use tokio::task::JoinSet;

/// Number of concurrent callers.
const CALLERS: u64 = 4;

/// Distance between the first numbers of two callers.
const EACH: u64 = 10_000_000;

/// Timeout of every wait.
const PATIENCE: Duration = Duration::from_secs(120);

/// Record of requests and their outcomes.
#[derive(Default)]
struct Book {
    /// Last number that each caller has sent.
    sent: HashMap<u64, u64>,
    /// Last number of each caller that the host has accepted.
    accepted_last: HashMap<u64, u64>,
    /// All numbers that the host has accepted.
    accepted: HashSet<u64>,
    /// Number of times that the host has reported each job as done, over all its runs.
    done: HashMap<u64, u32>,
}

/// Running host, and the thread that reads its log.
struct Host {
    child: Child,
    reader: JoinHandle<()>,
}

impl Host {
    fn start(folder: &Path, identity: &str, book: &Arc<Mutex<Book>>) -> Host {
        let mut child = Command::new(env!("CARGO_BIN_EXE_behaviour-host"))
            .args(["run", "--json-logs"])
            .current_dir(folder)
            .env("IOTHUB_DEVICE_CONNECTION_STRING", identity)
            .env("BEHAVIOUR_LOG", "info,plugin=warn")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let book = Arc::clone(book);
        let reader = std::thread::spawn(move || {
            // The last line of a killed host may be incomplete.
            for line in lines.map_while(Result::ok) {
                let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
                match line["message"].as_str().unwrap() {
                    "job done" => {
                        let number = line["job"].as_str().unwrap().parse().unwrap();
                        *book.lock().unwrap().done.entry(number).or_default() += 1;
                    }
                    message => assert!(!message.starts_with("journal is damaged"), "{line}"),
                }
            }
        });
        Host { child, reader }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reader.join().expect("the log reports no damaged journal");
    }
}

#[derive(Clone)]
struct Service {
    client: Client,
    device: DeviceId,
}

impl Service {
    async fn call(&self, method: &str, payload: Value) -> Result<(i32, Value), String> {
        let mut request = MethodRequest::new(method.parse().unwrap(), payload);
        request.connect_timeout = Duration::from_secs(10);
        let answer = self.client.invoke(&self.device, &request).await;
        let answer = answer.map_err(|error| error.to_string())?;
        Ok((answer.status, answer.payload.to_value()))
    }

    /// Repeats a call until its answer meets a condition.
    async fn until(&self, method: &str, payload: &Value, wanted: impl Fn(i32, &Value) -> bool) {
        let mut last = Ok((0, Value::Null));
        let asked = async {
            loop {
                last = self.call(method, payload.clone()).await;
                match &last {
                    Ok((status, answer)) if wanted(*status, answer) => break,
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        let asked = tokio::time::timeout(PATIENCE, asked).await;
        asked.unwrap_or_else(|_| panic!("{method} {payload}: the last answer was {last:?}"));
    }
}

/// Calls the device with increasing numbers until the future is dropped.
async fn caller(service: Service, book: Arc<Mutex<Book>>, caller: u64) {
    let method = format!("k{caller}");
    loop {
        let number = {
            let mut book = book.lock().unwrap();
            let sent = book.sent.entry(caller).or_insert(caller * EACH);
            *sent += 1;
            *sent
        };
        if let Ok((200, _)) = service.call(&method, json!(number)).await {
            let mut book = book.lock().unwrap();
            book.accepted.insert(number);
            book.accepted_last.insert(caller, number);
        }
    }
}

fn random(below: u64) -> u64 {
    u64::from(getrandom::u32().unwrap()) % below
}

/// Number of kills in the middle of swaps.
const SWAP_KILLS: u32 = 20;

/// Replaces a plugin's file atomically by another version.
fn replace(folder: &Path, fixture: &str) {
    let temporary = folder.join("new");
    std::fs::write(&temporary, fixtures::guest(fixture)).unwrap();
    std::fs::rename(temporary, folder.join("p.wasm")).unwrap();
}

/// Waits until the host has persisted a working version.
async fn kept_a_version(folder: &Path) {
    let record = folder.join("data/known-good/record.json");
    let kept = async {
        while !std::fs::read_to_string(&record).is_ok_and(|text| text.contains("\"good\"")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, kept).await.expect("no working version was persisted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_during_a_swap_restarts_with_one_of_both_versions() {
    let hub = Hub::start(HubConfig::default()).await.unwrap();
    let device: DeviceId = "d1".parse().unwrap();
    let identity = hub.create_device(&device).unwrap().to_text_with_key();
    let settings = ClientSettings { ca_pem: Some(hub.ca_pem().to_owned()), ..Default::default() };
    let client = Client::new(hub.service_connection_string(), settings).unwrap();
    let service = Service { client, device: device.clone() };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hub.pem"), hub.ca_pem()).unwrap();
    replace(folder.path(), "version-one.wat");
    let toml = format!(
        "[hub]\nport = {}\nca_file = \"hub.pem\"\n[host]\ndata = \"data\"\n\
         [plugins.p]\nfile = \"p.wasm\"\nmethods = [\"*\"]\n",
        hub.mqtt_port()
    );
    std::fs::write(folder.path().join("host.toml"), toml).unwrap();
    let is_whole = |status: i32, answer: &Value| {
        assert!([200, 503].contains(&status), "{status}: {answer}");
        status == 200 && answer["first"] == answer["second"]
    };

    let book = Arc::new(Mutex::new(Book::default()));
    for kill in 0..SWAP_KILLS {
        let host = Host::start(folder.path(), &identity, &book);
        tokio::time::timeout(PATIENCE, hub.connected(&device)).await.unwrap();
        service.until("ask", &Value::Null, is_whole).await;
        if kill == 0 {
            // Without a persisted version, the host could not replace the truncated file.
            kept_a_version(folder.path()).await;
        }
        match kill % 3 {
            // A truncated copy is not a version.
            0 => {
                let whole = fixtures::guest("version-two.wat");
                std::fs::write(folder.path().join("p.wasm"), &whole[..whole.len() / 2]).unwrap();
            }
            1 => replace(folder.path(), "version-one.wat"),
            _ => replace(folder.path(), "version-two.wat"),
        }
        tokio::time::sleep(Duration::from_millis(random(60))).await;
        tokio::task::spawn_blocking(|| host.kill()).await.unwrap();
        // A call over the dead connection would wait for its timeout.
        let gone = async {
            while hub.is_connected(&device) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.unwrap();
    }

    replace(folder.path(), "version-two.wat");
    let host = Host::start(folder.path(), &identity, &book);
    service
        .until("ask", &Value::Null, |status, answer| {
            is_whole(status, answer) && answer["first"] == "two"
        })
        .await;
    tokio::task::spawn_blocking(|| host.kill()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_host_loses_no_accepted_request_and_repeats_no_finished_job() {
    let kills: u32 = std::env::var("BEHAVIOUR_KILLS").map_or(50, |kills| kills.parse().unwrap());
    let begun = Instant::now();
    let hub = Hub::start(HubConfig::default()).await.unwrap();
    let device: DeviceId = "d1".parse().unwrap();
    let identity = hub.create_device(&device).unwrap().to_text_with_key();
    let settings = ClientSettings { ca_pem: Some(hub.ca_pem().to_owned()), ..Default::default() };
    let client = Client::new(hub.service_connection_string(), settings).unwrap();
    let service = Service { client, device: device.clone() };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hub.pem"), hub.ca_pem()).unwrap();
    let _component = fixtures::write("keeps.wat", folder.path());
    let toml = format!(
        "[hub]\nport = {}\nca_file = \"hub.pem\"\n[host]\ndata = \"data\"\n\
         [plugins.keeps]\nfile = \"keeps.wasm\"\nmethods = [\"*\"]\nlimits.jobs = 1000\n",
        hub.mqtt_port()
    );
    std::fs::write(folder.path().join("host.toml"), toml).unwrap();

    let book = Arc::new(Mutex::new(Book::default()));
    for _ in 0..kills {
        let host = Host::start(folder.path(), &identity, &book);
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            callers.spawn(caller(service.clone(), Arc::clone(&book), number));
        }
        // One kill in four may happen before the host has connected.
        if random(4) > 0 {
            tokio::time::timeout(PATIENCE, hub.connected(&device)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(random(400))).await;
        tokio::task::spawn_blocking(|| host.kill()).await.unwrap();
        callers.shutdown().await;
    }

    let host = Host::start(folder.path(), &identity, &book);
    let (accepted, sent) = {
        let book = book.lock().unwrap();
        (book.accepted.clone(), book.sent.clone())
    };
    assert!(accepted.len() > kills as usize, "only {} calls were accepted", accepted.len());
    for number in &accepted {
        // A job that was reported as done is not checked again.
        if !book.lock().unwrap().done.contains_key(number) {
            service.until("waits", &json!(number), |status, _| status == 200).await;
        }
    }
    let last = book.lock().unwrap().accepted_last.clone();
    for (caller, last) in last {
        let right = |value: &Value| value.as_u64().is_some_and(|v| v >= last && v <= sent[&caller]);
        let key = format!("k{caller}");
        service.until("last", &json!(key), |status, answer| status == 200 && right(answer)).await;
        let reported = async {
            loop {
                let twin = service.client.twin(&device).await.unwrap();
                if twin.properties.reported.get(&key).is_some_and(right) {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        let reported = tokio::time::timeout(PATIENCE, reported).await;
        reported.unwrap_or_else(|_| panic!("{key} was not reported as {last}"));
    }
    tokio::task::spawn_blocking(|| host.kill()).await.unwrap();

    let book = book.lock().unwrap();
    let twice: Vec<_> = book.done.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "done more than once: {twice:?}");
    println!(
        "{kills} kills, {} of {} calls accepted, {} jobs reported as done, in {:?}",
        accepted.len(),
        sent.iter().map(|(caller, last)| last - caller * EACH).sum::<u64>(),
        book.done.len(),
        begun.elapsed()
    );
}
