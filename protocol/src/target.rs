//! The target of a method or a change: a device, or a module of a device.

use std::fmt;
use std::str::FromStr;

use crate::id::{DeviceId, IdError, ModuleId, client_id};
use crate::rest::{of_device, of_module};

/// A device, or a module of a device, which has a twin and methods of its own. As text,
/// `{device}` or `{device}/{module}`.
///
/// ```
/// use behaviour_protocol::target::Target;
///
/// let target: Target = "pump/host".parse()?;
/// assert_eq!(target.device.as_str(), "pump");
/// assert!("pump/host/x".parse::<Target>().is_err());
/// # Ok::<(), behaviour_protocol::id::IdError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The device.
    pub device: DeviceId,
    /// The module of the device; `None` for the device itself.
    pub module: Option<ModuleId>,
}

impl Target {
    /// Replaces the placeholders in the pattern of a path: `device` has `{device}`, and `module`
    /// has `{module}` as well.
    #[must_use]
    pub fn path(&self, device: &str, module: &str) -> String {
        match &self.module {
            None => of_device(device, &self.device),
            Some(id) => of_module(module, &self.device, id),
        }
    }
}

impl FromStr for Target {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Target, IdError> {
        let (device, module) = match text.split_once('/') {
            Some((device, module)) => (device, Some(module.parse()?)),
            None => (text, None),
        };
        Ok(Target { device: device.parse()?, module })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&client_id(&self.device, self.module.as_ref()))
    }
}

impl From<&DeviceId> for Target {
    fn from(device: &DeviceId) -> Target {
        Target { device: device.clone(), module: None }
    }
}

impl From<&Target> for Target {
    fn from(target: &Target) -> Target {
        target.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::{MODULE_TWIN, TWIN};

    #[test]
    fn a_module_has_the_paths_of_its_device_and_its_own() {
        for (text, path) in [("d1", "/twins/d1"), ("d1/m#", "/twins/d1/modules/m%23")] {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.path(TWIN, MODULE_TWIN), path);
            assert_eq!(target.to_string(), text);
        }
        for text in ["", "/m", "d/", "d/m/x"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
