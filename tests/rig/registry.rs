//! A registry without TLS that serves a directory in the OCI image layout.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use oci::media_type::MANIFEST;
use oci::{Descriptor, Document, Index};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A registry that serves until it is dropped.
pub struct Registry {
    address: SocketAddr,
    layout: Arc<OnceLock<PathBuf>>,
    _tasks: JoinSet<()>,
}

impl Registry {
    /// Starts a registry without content.
    pub async fn start() -> Registry {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let layout: Arc<OnceLock<PathBuf>> = Arc::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(listener, Arc::clone(&layout)));
        Registry { address, layout, _tasks: tasks }
    }

    /// Serves the images of a layout, also those that are added later.
    pub fn serve(&self, layout: &Path) {
        self.layout.set(layout.to_owned()).unwrap();
    }

    /// Returns the host and port, as in the name of an image.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }
}

async fn listen(listener: TcpListener, layout: Arc<OnceLock<PathBuf>>) {
    // Dropping the set closes every connection.
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let layout = Arc::clone(&layout);
        connections.spawn(async move {
            // A client may disconnect at any time.
            answer(client, layout.get().map(PathBuf::as_path)).await.ok();
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(client: TcpStream, layout: Option<&Path>) -> io::Result<()> {
    let mut client = BufReader::new(client);
    let (mut request, mut line) = (String::new(), String::new());
    client.read_line(&mut request).await?;
    while client.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let found = layout.and_then(|layout| content(layout, path));
    let status = if found.is_some() { "200 OK" } else { "404 Not Found" };
    let (media_type, body) = found.unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await?;
    client.write_all(&body).await?;
    client.shutdown().await
}

/// Returns the media type and the content at a path below `/v2/`.
fn content(layout: &Path, path: &str) -> Option<(&'static str, Vec<u8>)> {
    let (path, digest) = path.rsplit_once('/')?;
    let blob = layout.join("blobs/sha256").join(digest.strip_prefix("sha256:")?);
    match path.rsplit_once('/')?.1 {
        "manifests" => Some((MANIFEST, std::fs::read(blob).ok()?)),
        "blobs" => Some(("application/octet-stream", std::fs::read(blob).ok()?)),
        "referrers" => {
            let referrers = Index::new(referrers(layout, digest));
            Some(("application/vnd.oci.image.index.v1+json", referrers.to_json()))
        }
        _ => None,
    }
}

/// Returns the manifests of a layout that refer to a digest.
fn referrers(layout: &Path, digest: &str) -> Vec<Descriptor> {
    let index = std::fs::read(layout.join("index.json")).unwrap();
    let Ok(Document::Index(index)) = Document::parse(&index, None) else { panic!("no index") };
    let refers = |entry: &Descriptor| {
        let blob = layout.join("blobs/sha256").join(entry.digest.hex());
        match Document::parse(&std::fs::read(blob).unwrap(), None) {
            Ok(Document::Manifest(manifest)) => {
                manifest.subject.is_some_and(|subject| subject.digest.to_string() == digest)
            }
            _ => false,
        }
    };
    index.manifests.into_iter().filter(refers).collect()
}
