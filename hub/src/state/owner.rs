//! Owners of records: devices and modules.

use std::fmt;

use protocol::id::{DeviceId, ModuleId};

/// The device or module that owns a record. Sorting places modules after their device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Owner {
    pub(crate) device: DeviceId,
    pub(crate) module: Option<ModuleId>,
}

impl Owner {
    pub(crate) fn device(id: &DeviceId) -> Owner {
        Owner { device: id.clone(), module: None }
    }

    /// Parses the format of `Display`: `DEVICE` or `DEVICE/MODULE`.
    pub(crate) fn parse(text: &str) -> Option<Owner> {
        let (device, module) = match text.split_once('/') {
            Some((device, module)) => (device, Some(module.parse().ok()?)),
            None => (text, None),
        };
        Some(Owner { device: device.parse().ok()?, module })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.module {
            Some(module) => write!(f, "{}/{module}", self.device),
            None => write!(f, "{}", self.device),
        }
    }
}
