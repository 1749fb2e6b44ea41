//! Settings of the process's output: colours, and the format of errors.
//!
//! Both are options of every command line and concern every line that the process prints, so
//! they are settings of the process.

use std::env;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::sync::OnceLock;

static OUTPUT: OnceLock<Output> = OnceLock::new();

/// The settings. The default applies to a process without a command line.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(not(feature = "command-line"), allow(dead_code, reason = "set by a command line"))]
pub(crate) struct Output {
    pub(crate) colours: Colours,
    /// `true` if errors are printed as JSON.
    pub(crate) json: bool,
}

/// The use of colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "command-line"), allow(dead_code, reason = "set by a command line"))]
pub(crate) enum Colours {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
    #[default]
    Auto,
    Always,
    Never,
}

/// Sets the settings. Only the first call has an effect.
#[cfg(feature = "command-line")]
pub(crate) fn set(output: Output) {
    OUTPUT.get_or_init(|| output);
}

/// Returns `true` if errors are printed as JSON.
pub(crate) fn is_json() -> bool {
    OUTPUT.get().is_some_and(|output| output.json)
}

/// Returns `true` if the output to a stream has colours: by default on a terminal, unless
/// `NO_COLOR` (<https://no-color.org>) is set or `TERM` is `dumb`. `--color` takes precedence.
pub fn has_colours(stream: &impl IsTerminal) -> bool {
    let colours = OUTPUT.get().map_or(Colours::default(), |output| output.colours);
    colours.apply(stream.is_terminal(), |name| env::var_os(name))
}

impl Colours {
    fn apply(self, is_terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
        match self {
            Colours::Always => true,
            Colours::Never => false,
            Colours::Auto => {
                let refuses = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
                is_terminal && !refuses && variable("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_terminal_and_its_environment_unless_they_are_chosen() {
        let none = |_: &str| None;
        let no_colour = |name: &str| (name == "NO_COLOR").then(|| "1".into());
        let empty = |name: &str| (name == "NO_COLOR").then(OsString::new);
        let dumb = |name: &str| (name == "TERM").then(|| "dumb".into());
        assert!(Colours::Auto.apply(true, none));
        assert!(Colours::Auto.apply(true, empty));
        assert!(!Colours::Auto.apply(false, none));
        assert!(!Colours::Auto.apply(true, no_colour));
        assert!(!Colours::Auto.apply(true, dumb));
        assert!(Colours::Always.apply(false, no_colour));
        assert!(!Colours::Never.apply(true, none));
    }
}
