//! The implementation of the probe.

use device::behaviour::clock;
use device::behaviour::types::{MethodError, Response};
use exports::device::behaviour::methods::Guest;

wit_bindgen::generate!({ path: "../../wit", world: "behaviour" });

/// The answer to `version`. The swap section patches other digits into the built
/// component.
static VERSION: &str = "\"probe-version-00000001\"";

struct Probe;

impl Guest for Probe {
    fn invoke(name: String, payload: String) -> Result<Response, MethodError> {
        let answer = match name.as_str() {
            "echo" => payload,
            "sleep" => {
                let milliseconds = payload
                    .parse()
                    .map_err(|_| MethodError::InvalidPayload("not a number".into()))?;
                clock::sleep_ms(milliseconds).map_err(|_| MethodError::Failed("woken".into()))?;
                payload
            }
            name if name.starts_with("spin") => loop {
                std::hint::spin_loop();
            },
            "trap" => unreachable!(),
            // `black_box` keeps the string contiguous in the component.
            "version" => std::hint::black_box(VERSION).to_owned(),
            _ => return Err(MethodError::UnknownMethod),
        };
        Ok(Response { status: 200, payload: Some(answer) })
    }
}

export!(Probe);
