//! Owners of records: devices and modules.

use std::fmt;

use protocol::id::{DeviceId, ModuleId};
use protocol::rest::{DEVICE, MODULE, of_device, of_module};
use serde_json::json;

use crate::events::EventData;

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

    /// Returns the path of the resource that tokens of the device or module cover.
    pub(crate) fn path(&self) -> String {
        match &self.module {
            None => of_device(DEVICE, &self.device),
            Some(module) => of_module(MODULE, &self.device, module),
        }
    }

    /// Adds the id of the module, if it is one, to the data of an event.
    pub(crate) fn add_module(&self, data: &mut EventData) {
        if let Some(module) = &self.module {
            data.insert("moduleId".to_owned(), json!(module));
        }
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
