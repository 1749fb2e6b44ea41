//! Plugins that an operator has switched off. The switches survive a restart, whatever
//! ended the host.
//!
//! A switch is in force at once, and on disk before the operator gets the answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use plugin::HostError;
use tracing::{error, warn};

use crate::journal::{Journal, Pages, RecordKind};
use crate::plugins::slot::Slot;

#[derive(Default)]
pub(crate) struct Switches {
    /// Names on disk.
    off: Mutex<BTreeSet<String>>,
    /// `None`: they end with the process.
    journal: Option<Arc<Journal>>,
    /// Held from the slot to the disk, so that both have the last order of two.
    order: tokio::sync::Mutex<()>,
}

impl Switches {
    /// Begins with what the journal has kept.
    pub(crate) fn new(journal: Arc<Journal>) -> Switches {
        let records = journal.read(|view| view.all(RecordKind::Off)).unwrap_or_else(|error| {
            error!(%error, "switched-off plugins not readable: all are on; disable them again");
            Vec::new()
        });
        let names = records.into_iter().filter_map(|(name, _)| String::from_utf8(name).ok());
        Switches {
            off: Mutex::new(names.collect()),
            journal: Some(journal),
            order: tokio::sync::Mutex::default(),
        }
    }

    /// Applies the switch to a slot that is new to this run of the host.
    pub(crate) fn apply<P>(&self, slot: &Slot<P>) {
        if self.lock().contains(slot.name()) {
            warn!(plugin = slot.name(), "switched off by the device's operator: takes no calls");
            slot.switch(false);
        }
    }

    /// Switches a plugin on or off. An error means that it will not stay so when
    /// the host is started again.
    pub(crate) async fn set<P>(&self, slot: &Slot<P>, on: bool) -> Result<(), HostError> {
        let _order = self.order.lock().await;
        slot.switch(on);
        let name = slot.name();
        // Also where memory has it so: the disk may have what could not be read.
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
    async fn a_plugin_that_was_switched_off_is_off_after_a_restart_until_it_is_on() {
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
    async fn what_the_disk_does_not_take_is_in_force_all_the_same_and_tried_again() {
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
