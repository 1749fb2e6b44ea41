//! Versions of the probe. Their bytes differ, but they behave the same.

use anyhow::Context as _;

/// The prefix of the answer of `bench/probe` to `version`.
const VERSION: &str = "probe-version-";
const DIGITS: usize = 8;

/// Returns the probe with another version number.
pub(crate) fn version(component: &[u8], number: usize) -> anyhow::Result<Vec<u8>> {
    let mut component = component.to_owned();
    let found = component.windows(VERSION.len()).position(|bytes| bytes == VERSION.as_bytes());
    let at = found.context("the probe contains no version")? + VERSION.len();
    component[at..at + DIGITS].copy_from_slice(digits(number).as_bytes());
    Ok(component)
}

/// Returns the digits with which a version answers.
pub(crate) fn digits(number: usize) -> String {
    format!("{number:0DIGITS$}")
}

/// Returns the number of the version that gave an answer to `version`.
pub(crate) fn answered(answer: &str) -> Option<usize> {
    let (_, rest) = answer.split_once(VERSION)?;
    rest.get(..DIGITS)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_answers_with_its_number() {
        let component = version(b"\0\"probe-version-00000001\"\0", 42).unwrap_or_default();
        assert_eq!(answered(&String::from_utf8_lossy(&component)), Some(42));
        assert_eq!(answered("{}"), None);
        assert!(version(b"\0", 1).is_err());
    }
}
