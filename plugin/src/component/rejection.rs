//! Classification of the components that the compiler rejects.
//!
//! The compiler's errors have no types, and their messages quote names from the component.
//! So the cause is determined by validation, with and without the unsupported features.

use super::features::SUPPORTED;
use crate::LoadError;
use crate::error::{on_one_line, one_line};
use wasmparser::{Validator, WasmFeatures};

/// Features of the component model's async proposal.
const ASYNC: WasmFeatures = WasmFeatures::CM_ASYNC
    .union(WasmFeatures::CM_ASYNC_STACKFUL)
    .union(WasmFeatures::CM_MORE_ASYNC_BUILTINS);

/// Returns the error for a component that the compiler rejected with `error`. Validates the
/// component, so it needs the compiler's stack and time limit.
pub(crate) fn rejection(bytes: &[u8], error: &wasmtime::Error) -> LoadError {
    let Err(unsupported) = validate(bytes, SUPPORTED) else {
        return LoadError::Compiler(one_line(error));
    };
    if let Err(invalid) = validate(bytes, WasmFeatures::all()) {
        return LoadError::Invalid(on_one_line(&invalid.to_string()));
    }
    // Not every error names the feature.
    let missing = unsupported.missing_wasm_feature().unwrap_or_else(|| required(bytes));
    LoadError::Feature {
        is_async: missing.intersects(ASYNC),
        reason: on_one_line(&unsupported.to_string()),
    }
}

/// Returns the unsupported features without which the component is invalid.
fn required(bytes: &[u8]) -> WasmFeatures {
    let is_required =
        |feature: &WasmFeatures| validate(bytes, WasmFeatures::all().difference(*feature)).is_err();
    WasmFeatures::all().difference(SUPPORTED).iter().filter(is_required).collect()
}

fn validate(bytes: &[u8], features: WasmFeatures) -> wasmparser::Result<()> {
    Validator::new_with_features(features).validate_all(bytes).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reject(text: &str) -> LoadError {
        let bytes = wat::parse_str(text).unwrap();
        rejection(&bytes, &wasmtime::Error::msg("threads must be enabled"))
    }

    #[test]
    fn an_error_for_a_valid_component_is_a_failure_of_the_compiler() {
        let error = reject("(component (core module (func)))");
        assert!(matches!(error, LoadError::Compiler(_)), "{error}");
        assert_eq!(error.to_string(), "the compiler failed: threads must be enabled");
    }

    #[test]
    fn names_in_an_invalid_component_do_not_change_its_classification() {
        for name in ["disabled", "not enabled", "requires the ", "must be enabled", "async"] {
            let export = format!("(func (export {name:?}))");
            let error = reject(&format!("(component (core module {export} {export}))"));
            assert!(matches!(error, LoadError::Invalid(_)), "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn an_unsupported_feature_is_recognised_by_its_use() {
        for (text, expected) in [
            ("(component (core module (memory 1 1 shared)))", false),
            ("(component (core module (func (param externref))))", false),
            ("(component (core module (tag)))", false),
            ("(component (type (func async)))", true),
            ("(component (type (stream u8)))", true),
        ] {
            match reject(text) {
                LoadError::Feature { is_async, .. } => assert_eq!(is_async, expected, "{text}"),
                error => panic!("{text}: {error}"),
            }
        }
    }
}
