//! Answers the method `greet` with its payload, and reports the time to the twin.

use device::behaviour::clock;
use device::behaviour::log::{self, Level};
use device::behaviour::twin;
use device::behaviour::types::{MethodError, Response};
use exports::device::behaviour::methods::Guest;

wit_bindgen::generate!({ path: "wit", world: "behaviour" });

struct Plugin;

impl Guest for Plugin {
    // `payload` is JSON text. To refuse the call, return a `MethodError`.
    fn invoke(name: String, payload: String) -> Result<Response, MethodError> {
        if name != "greet" {
            return Err(MethodError::UnknownMethod);
        }
        log::write(Level::Info, "greeted", &[("with".into(), payload.clone())]);
        let patch = format!(r#"{{"lastGreeted":"{}"}}"#, clock::now_rfc3339());
        twin::report(&patch).map_err(|error| MethodError::Failed(format!("{error:?}")))?;
        Ok(Response { status: 200, payload: Some(format!(r#"{{"hello":{payload}}}"#)) })
    }
}

export!(Plugin);
