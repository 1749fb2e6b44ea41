//! The desired properties that each plugin accepted last, persisted in the journal. After
//! a restart a plugin gets only the changes since then.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::{Mutex, MutexGuard};
use plugin::Document;
use tracing::warn;

use crate::device::desired;
use crate::journal::{Journal, Pages, RecordKind};

/// Accepted desired properties in the journal.
pub(crate) struct Accepted {
    journal: Arc<Journal>,
    /// Entries that were read or written before. An entry that could not be persisted is
    /// valid until the host ends.
    seen: Mutex<HashMap<String, Option<Document>>>,
}

impl Accepted {
    pub(crate) fn new(journal: Arc<Journal>) -> Accepted {
        Accepted { journal, seen: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Option<Document>>> {
        self.seen.lock()
    }

    /// Reads the entry of a plugin from the journal.
    fn read(&self, plugin: &str) -> Option<Document> {
        let record =
            self.journal.read(|view| view.get(RecordKind::Desired, plugin.as_bytes())).ok()??;
        let (version, body) = record.split_first_chunk()?;
        let body = String::from_utf8(body.to_owned()).ok()?;
        // Callers rely on the body being a JSON object.
        serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(&body).ok()?;
        Some(Document { body, version: u64::from_be_bytes(*version) })
    }
}

impl desired::AcceptedDesired for Accepted {
    fn last(&self, plugin: &str) -> Option<Document> {
        self.lock().entry(plugin.to_owned()).or_insert_with(|| self.read(plugin)).clone()
    }

    fn accept<'a>(&'a self, plugin: &'a str, document: Document) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let key = plugin.as_bytes().to_owned();
            let record = [&document.version.to_be_bytes(), document.body.as_bytes()].concat();
            let put = move |pages: &Pages<'_>| Ok(pages.put(RecordKind::Desired, &key, &record)?);
            self.lock().insert(plugin.to_owned(), Some(document));
            if let Err(error) = self.journal.write(put).await {
                warn!(plugin, "desired properties may be delivered again: {error}");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::desired::AcceptedDesired as _;
    use crate::journal::tests::{TestDisk, journal};

    fn document(version: u64) -> Document {
        Document { body: r#"{"speed":2}"#.into(), version }
    }

    #[tokio::test]
    async fn accepted_properties_survive_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let first = Accepted::new(Arc::new(journal(&directory)));
        assert_eq!(first.last("p"), None);
        first.accept("p", document(3)).await;
        first.journal.close().await;
        drop(first);

        let second = Accepted::new(Arc::new(journal(&directory)));
        assert_eq!(second.last("p"), Some(document(3)));
        assert_eq!(second.last("q"), None);
    }

    #[tokio::test]
    async fn accepted_properties_are_kept_in_memory_if_the_disk_is_full() {
        let directory = tempfile::tempdir().unwrap();
        let disk = TestDisk::default();
        let accepted = Accepted::new(Arc::new(disk.journal(directory.path())));
        disk.fill_after(0);
        accepted.accept("p", document(3)).await;
        assert_eq!(accepted.last("p"), Some(document(3)));
    }
}
