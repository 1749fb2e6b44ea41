//! The filter of the log, and the detection of targets that no event has.

use std::fmt;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// A valid filter of the log: a level, or directives of `tracing` such as `warn,hyper=debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

/// A malformed filter.
#[derive(Debug, thiserror::Error)]
#[error("expected a level or a filter of tracing")]
pub struct LogFilterError(#[from] ParseError);

impl FromStr for LogFilter {
    type Err = LogFilterError;

    fn from_str(text: &str) -> Result<LogFilter, LogFilterError> {
        text.parse::<EnvFilter>()?;
        Ok(LogFilter(text.to_owned()))
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl LogFilter {
    pub(super) fn env_filter(&self) -> EnvFilter {
        self.0.parse().expect("the filter was parsed before")
    }

    /// Returns the first target in the filter that matches none of `targets`, which are the
    /// first segments of all targets of the program.
    ///
    /// `tracing` takes a misspelt level for a target, and such a filter silences the log.
    pub(super) fn unmatched(&self, targets: &[&str]) -> Option<&str> {
        self.0.split(',').filter_map(target).find(|target| {
            // `tracing` compares prefixes, not segments. Segments after the first are unknown.
            let first = target.split("::").next().unwrap_or_default();
            let matches = |known: &&str| match target.contains("::") {
                true => *known == first,
                false => known.starts_with(first),
            };
            !targets.iter().any(matches)
        })
    }
}

/// Returns the target of a directive; `None` if it has none, or if it is part of a span's
/// fields.
fn target(directive: &str) -> Option<&str> {
    let target = directive.split(['[', '=']).next().unwrap_or_default().trim();
    let is_level = !directive.contains('=') && target.parse::<LevelFilter>().is_ok();
    let is_part_of_fields = target.contains(['{', '}', ']', '"']);
    (!target.is_empty() && !is_level && !is_part_of_fields).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmatched(filter: &str) -> Option<String> {
        let filter: LogFilter = filter.parse().unwrap();
        filter.unmatched(&["plugin", "hyper_util"]).map(str::to_owned)
    }

    #[test]
    fn a_level_or_a_known_target_matches() {
        for filter in [
            "info",
            "OFF",
            "3",
            "warn,plugin=trace",
            "hyper=debug",
            "hyper_util::client::legacy=debug",
            "[call{method=greet}]=debug",
            "plugin[call]=debug",
            "",
        ] {
            assert_eq!(unmatched(filter), None, "{filter}");
        }
    }

    #[test]
    fn a_misspelt_level_or_an_unknown_target_does_not_match() {
        for (filter, expected) in [
            ("loud", "loud"),
            ("ping-home", "ping-home"),
            ("warn,ping-home=debug", "ping-home"),
            ("plug::in", "plug::in"),
            ("plugins", "plugins"),
        ] {
            assert_eq!(unmatched(filter).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_malformed_filter_is_refused() {
        let error = "plugin=loud".parse::<LogFilter>().unwrap_err();
        assert!(crate::chain(&error).to_string().starts_with("expected a level or a filter"));
    }
}
