//! The memory of a host whose registries send without end.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use fixtures::{Publisher, Registry, WrongAnswer};
use oci::Digest;
use oci::artifact::Metadata;

use super::rig::{Running, hub};

/// Memory and disk space that hostile answers may take in addition, in bytes. The largest answer
/// that is read into memory is a manifest of 4 MiB. A server on the same machine sends this
/// much in a fraction of a second.
const MARGIN: u64 = 64 * 1024 * 1024;

/// Returns the peak of the memory of a process, in bytes.
fn peak(running: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

/// Returns the size of all files below a directory.
fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            if entry.path().is_dir() {
                size(&entry.path())
            } else {
                entry.metadata().unwrap().len()
            }
        })
        .sum()
}

fn flood(head: &str, body: &[u8]) -> WrongAnswer {
    WrongAnswer::Floods([head.as_bytes(), body].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_answers_of_a_registry_take_neither_memory_nor_disk() {
    let (hub, folder, mut toml) = hub().await;
    let registry = Registry::start().await;
    let publisher = Publisher::new(folder.path(), &registry.host());
    registry.serve(publisher.directory());
    let metadata = Metadata { methods: vec!["m".to_owned()], ..Metadata::default() };
    let publish = async |fixture| publisher.publish(fixture, &metadata).await;
    let component = |fixture| format!("/blobs/{}", Digest::of(&fixtures::guest(fixture)));
    let (megabyte, half) = (vec![b' '; 1 << 20], fixtures::guest("asks.wat"));
    let (manifest, headers) = (publish("keeps.wat").await, publish("tells.wat").await);
    let referrers = publish("sleeps.wat").await;
    let rows = [
        (manifest, format!("/manifests/{manifest}"), flood("HTTP/1.1 200 OK\r\n\r\n", &megabyte)),
        (headers, format!("/manifests/{headers}"), flood("HTTP/1.1 200 OK\r\n", b"a: b\r\n")),
        (referrers, format!("/referrers/{referrers}"), flood("HTTP/1.1 200 OK\r\n\r\n", &megabyte)),
        (
            publish("version-two.wat").await,
            component("version-two.wat"),
            flood("HTTP/1.1 200 OK\r\n\r\n", &megabyte),
        ),
        (
            publish("reply.wat").await,
            component("reply.wat"),
            flood("HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n", &megabyte),
        ),
        (
            publish("asks.wat").await,
            component("asks.wat"),
            WrongAnswer::short(half.len(), &half[..half.len() / 2]),
        ),
    ];
    let good = publish("version-one.wat").await;
    let key = folder.path().join("publisher.pem");
    let _ = write!(
        toml,
        "[host.registry]\nplain_http = [\"{}\"]\n[host.trust]\nkeys = [{key:?}]\n\
         signature = \"always\"\n",
        registry.host()
    );
    let entry = |name: &str, digest: &Digest| {
        let image = publisher.image(digest);
        format!("[plugins.{name}]\nimage = \"{image}\"\nmethods = [\"{name}\"]\n")
    };
    toml += &entry("good", &good);
    let identity = hub.create_device(&"d1".parse().unwrap()).unwrap().to_text_with_key();
    let mut usual = Running::start(&toml, &identity);
    usual.line_with("version activated");
    let (memory, disk) = (peak(&usual), size(usual.directory.path()));
    drop(usual);

    for (row, (digest, _, _)) in rows.iter().enumerate() {
        toml += &entry(&format!("row{row}"), digest);
    }
    let count = rows.len();
    registry.misbehave(move |path| {
        let found = rows.iter().find(|(_, end, _)| path.ends_with(end.as_str()));
        found.map(|(_, _, answer)| answer.clone())
    });
    let mut flooded = Running::start(&toml, &identity);
    let mut refused = BTreeSet::new();
    while refused.len() < count {
        let line = flooded.line_with("version not activated");
        refused.extend((0..count).find(|row| line.contains(&format!("\"row{row}\""))));
    }
    assert!(peak(&flooded) < memory + MARGIN, "{} after {memory}", peak(&flooded));
    let size = size(flooded.directory.path());
    assert!(size < disk + MARGIN, "{size} after {disk}");
}
