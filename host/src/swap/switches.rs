//! Plugins that an operator has disabled.
//!
//! A switch takes effect immediately, is persisted before the operator gets the answer, and
//! survives restarts and crashes of the host.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use plugin::HostError;
use tracing::{error, warn};

use crate::journal::{Journal, Pages, RecordKind};
use crate::plugins::slot::Slot;

/// Switches of all plugins.
#[derive(Default)]
pub(crate) struct Switches {
    /// Persisted names of disabled plugins.
    off: Mutex<BTreeSet<String>>,
    /// `None` if nothing is persisted.
    journal: Option<Arc<Journal>>,
    /// Lock that keeps slots and disk consistent if two orders arrive concurrently.
    order: tokio::sync::Mutex<()>,
}

impl Switches {
    /// Reads the disabled plugins from the journal.
    pub(crate) fn new(journal: Arc<Journal>) -> Switches {
        let records = journal.read(|view| view.all(RecordKind::Off)).unwrap_or_else(|error| {
            error!(%error, "disabled plugins not readable: all are enabled; disable them again");
            Vec::new()
        });
        let names = records.into_iter().filter_map(|(name, _)| String::from_utf8(name).ok());
        Switches {
            off: Mutex::new(names.collect()),
            journal: Some(journal),
            order: tokio::sync::Mutex::default(),
        }
    }

    /// Disables the plugin of a new slot if an operator has disabled it.
    pub(crate) fn apply<P>(&self, slot: &Slot<P>) {
        if self.lock().contains(slot.name()) {
            warn!(plugin = slot.name(), "switched off by the device's operator: takes no calls");
            slot.switch(false);
        }
    }

    /// Enables or disables a plugin. An error means that the switch is in effect but not
    /// persisted, so that it ends with the host.
    pub(crate) async fn set<P>(&self, slot: &Slot<P>, on: bool) -> Result<(), HostError> {
        let _order = self.order.lock().await;
        slot.switch(on);
        let name = slot.name();
        // Written even if memory agrees, because the disk may have entries that could not be
        // read.
        if let Some(journal) = &self.journal {
            let key = name.as_bytes().to_owned();
            let put = move |pages: &Pages<'_>| match on {
                true => Ok(pages.remove(RecordKind::Off, &key)?),
                false => Ok(pages.put(RecordKind::Off, &key, &[])?),
            };
            journal.write(put).await?;
        }
        if on {
            self.lock().remove(name)
        } else {
            self.lock().insert(name.to_owned())
        };
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.off.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::{TestDisk, journal};
    use crate::plugins::slot::{SlotStatus, tests::slot};

    #[tokio::test]
    async fn a_disabled_plugin_stays_disabled_after_a_restart_until_it_is_enabled() {
        let directory = tempfile::tempdir().unwrap();
        for (on, is_off_before) in [(false, false), (true, true), (true, false)] {
            let switches = Switches::new(Arc::new(journal(&directory)));
            let slot = slot();
            switches.apply(&slot);
            assert_eq!(slot.view().state == SlotStatus::Off, is_off_before);
            switches.set(&slot, on).await.unwrap();
            assert_eq!(slot.view().state == SlotStatus::Off, !on);
            switches.journal.as_ref().unwrap().close().await;
        }
    }

    #[tokio::test]
    async fn a_switch_that_cannot_be_persisted_takes_effect_and_can_be_set_again() {
        let directory = tempfile::tempdir().unwrap();
        let disk = TestDisk::default();
        let switches = Switches::new(Arc::new(disk.journal(directory.path())));
        let slot = slot();
        disk.fill_after(0);
        switches.set(&slot, false).await.unwrap_err();
        assert_eq!(slot.view().state, SlotStatus::Off);
        disk.make_room();
        switches.set(&slot, false).await.unwrap();
        switches.journal.as_ref().unwrap().close().await;
        drop(switches);

        let slot = self::slot();
        Switches::new(Arc::new(journal(&directory))).apply(&slot);
        assert_eq!(slot.view().state, SlotStatus::Off);
    }
}
