//! `device:behaviour/power`: reboots of the machine.

use super::{Error, check_size};
use crate::call::log::safe_line;
use crate::call::state::CallState;
use bindings::device::behaviour::power::{self, Host};
use std::time::Duration;
use wasmtime::component::{HasSelf, Linker};

/// Maximum length of a reason in bytes, which is logged on one line.
const REASON_BYTES: usize = 1024;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package plugin:power; world with-power { import device:behaviour/power@0.1.2; }",
        with: { "device:behaviour/types": super::super::bindings::device::behaviour::types },
        imports: { default: async },
    });
}

pub(super) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    power::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)
}

impl Host for CallState {
    async fn request_reboot(&mut self, delay_ms: u32, reason: String) -> Result<(), Error> {
        check_size("reason", reason.len(), REASON_BYTES)?;
        let delay = Duration::from_millis(delay_ms.into());
        let power = &self.lent.power;
        Ok(power.request_reboot(&self.plugin.name, delay, &safe_line(&reason)).await?)
    }
}
