//! Journal of the desired properties that each plugin last accepted or rejected, so that a
//! plugin gets only later changes after a restart.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::{Mutex, MutexGuard};
use plugin::Document;
use tracing::warn;

use crate::device::desired;
use crate::journal::{Journal, Pages, RecordKind};
use crate::plugins::slot::RejectedDesired;

/// Store of accepted desired properties in the journal.
pub(crate) struct Accepted {
    journal: Arc<Journal>,
    /// Cache of the entries. An entry that could not be persisted is valid until the host ends.
    seen: Mutex<HashMap<String, SettledDesired>>,
}

/// Entry of a plugin.
#[derive(Clone, Default)]
struct SettledDesired {
    accepted: Option<Document>,
    rejected: Option<RejectedDesired>,
}

impl Accepted {
    pub(crate) fn new(journal: Arc<Journal>) -> Accepted {
        Accepted { journal, seen: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, SettledDesired>> {
        self.seen.lock()
    }

    /// Returns the entry of a plugin, from the cache or the journal.
    fn seen(&self, plugin: &str) -> SettledDesired {
        let read =
            || SettledDesired { accepted: self.read(plugin), rejected: self.read_rejected(plugin) };
        self.lock().entry(plugin.to_owned()).or_insert_with(read).clone()
    }

    /// Reads a version and a text from a plugin's record in the journal.
    fn read_record(&self, kind: RecordKind, plugin: &str) -> Option<(u64, String)> {
        let record = self.journal.read(|view| view.get(kind, plugin.as_bytes())).ok()??;
        let (version, text) = record.split_first_chunk()?;
        Some((u64::from_be_bytes(*version), String::from_utf8(text.to_owned()).ok()?))
    }

    /// Reads the accepted properties of a plugin from the journal.
    fn read(&self, plugin: &str) -> Option<Document> {
        let (version, body) = self.read_record(RecordKind::Desired, plugin)?;
        // Callers rely on the body being a JSON object.
        serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(&body).ok()?;
        Some(Document { body, version })
    }

    /// Reads the rejected properties of a plugin from the journal.
    fn read_rejected(&self, plugin: &str) -> Option<RejectedDesired> {
        let (version, rejected) = self.read_record(RecordKind::DesiredRejected, plugin)?;
        Some(RejectedDesired { version, rejected })
    }
}

impl desired::AcceptedDesired for Accepted {
    fn last(&self, plugin: &str) -> Option<Document> {
        self.seen(plugin).accepted
    }

    fn rejected(&self, plugin: &str) -> Option<RejectedDesired> {
        self.seen(plugin).rejected
    }

    fn settle<'a>(
        &'a self,
        plugin: &'a str,
        document: Document,
        rejected: Option<String>,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let key = plugin.as_bytes().to_owned();
            let record = [&document.version.to_be_bytes(), document.body.as_bytes()].concat();
            let version = document.version;
            let reason = rejected.clone();
            let put = move |pages: &Pages<'_>| {
                pages.put(RecordKind::Desired, &key, &record)?;
                match reason {
                    Some(reason) => {
                        let record = [&version.to_be_bytes(), reason.as_bytes()].concat();
                        pages.put(RecordKind::DesiredRejected, &key, &record)?;
                    }
                    None => pages.remove(RecordKind::DesiredRejected, &key)?,
                }
                Ok(())
            };
            let rejected = rejected.map(|rejected| RejectedDesired { version, rejected });
            let seen = SettledDesired { accepted: Some(document), rejected };
            self.lock().insert(plugin.to_owned(), seen);
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
        first.settle("p", document(3), None).await;
        first.journal.close().await;
        drop(first);

        let second = Accepted::new(Arc::new(journal(&directory)));
        assert_eq!(second.last("p"), Some(document(3)));
        assert_eq!(second.last("q"), None);
    }

    #[tokio::test]
    async fn a_rejection_survives_a_restart_and_ends_when_a_change_is_accepted() {
        let directory = tempfile::tempdir().unwrap();
        let first = Accepted::new(Arc::new(journal(&directory)));
        first.settle("p", document(3), Some("too fast".to_owned())).await;
        first.journal.close().await;
        drop(first);

        let second = Accepted::new(Arc::new(journal(&directory)));
        let rejected = RejectedDesired { version: 3, rejected: "too fast".to_owned() };
        assert_eq!(second.rejected("p"), Some(rejected));
        assert_eq!(second.last("p"), Some(document(3)));
        second.settle("p", document(4), None).await;
        assert_eq!(second.rejected("p"), None);
        second.journal.close().await;
        drop(second);

        let third = Accepted::new(Arc::new(journal(&directory)));
        assert_eq!(third.rejected("p"), None);
    }

    #[tokio::test]
    async fn accepted_properties_are_kept_in_memory_if_the_disk_is_full() {
        let directory = tempfile::tempdir().unwrap();
        let disk = TestDisk::default();
        let accepted = Accepted::new(Arc::new(disk.journal(directory.path())));
        disk.fill_after(0);
        accepted.settle("p", document(3), None).await;
        assert_eq!(accepted.last("p"), Some(document(3)));
    }
}
