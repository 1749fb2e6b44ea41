//! Rules for code that must exist only once: the parser for durations and the handling of
//! poisoned locks.

use super::expect_none;
use super::source::sources;
use super::tokens::{Lexeme, Token, end_of_group, tokens};

/// The file that parses durations.
const DURATIONS: &str = "program/src/duration.rs";

/// Folders and files that may parse durations with another syntax, each with the reason.
const OTHER_DURATIONS: &[(&str, &str)] = &[
    ("guest-reboot/", "a guest depends on the WIT alone, and its settings are seconds"),
    ("host/src/otlp/settings/variables.rs", "the variables of OpenTelemetry are milliseconds"),
];

#[test]
fn only_one_file_parses_durations() {
    let mut violations = Vec::new();
    for source in sources().iter().filter(|source| source.is_product()) {
        let path = source.path.as_str();
        if path == DURATIONS || OTHER_DURATIONS.iter().any(|(folder, _)| path.starts_with(folder)) {
            continue;
        }
        for line in duration_parsers(&source.product_text()) {
            violations
                .push(format!("{path}:{line}: parses a duration without `program::duration`"));
        }
    }
    expect_none(&violations);
}

/// Returns the lines of the functions that parse a string as a duration without calling a
/// module `duration`.
fn duration_parsers(text: &str) -> Vec<usize> {
    let tokens = tokens(text);
    let mut lines = Vec::new();
    for (index, token) in tokens.iter().enumerate().filter(|(_, token)| token.is_word("fn")) {
        let Some(open) = position(&tokens, index, |token| token.is_mark('(')) else { continue };
        let close = end_of_group(&tokens, open);
        let Some(body) = position(&tokens, close, |t| t.is_mark('{') || t.is_mark(';')) else {
            continue;
        };
        let end = end_of_group(&tokens, body);
        let takes_text = matches!(&tokens[open + 1..close], [_, colon, borrow, text]
            if colon.is_mark(':') && borrow.is_mark('&') && text.is_word("str"));
        let is_fallible = |t: &Token| t.is_word("Result") || t.is_word("Option");
        let result = &tokens[close..body];
        let returns_duration = result.windows(3).any(|three| {
            is_fallible(&three[0]) && three[1].is_mark('<') && three[2].is_word("Duration")
        });
        let delegates = tokens[body..end]
            .windows(2)
            .any(|pair| pair[0].is_word("duration") && pair[1].is == Lexeme::Colons);
        if takes_text && returns_duration && !delegates {
            lines.push(token.line);
        }
    }
    lines
}

fn position(tokens: &[Token], from: usize, is: impl Fn(&Token) -> bool) -> Option<usize> {
    tokens[from..].iter().position(is).map(|offset| from + offset)
}

#[test]
fn a_duration_parser_is_detected_unless_it_delegates() {
    let text = "fn a(text: &str) -> Result<Duration, E> { text.parse() }\n\
                fn b(text: &str) -> Option<Duration> { duration::parse(text).ok() }\n\
                fn c(&self, name: &str) -> Duration { self.x }\n\
                fn d(&self) -> Option<Duration>;\n\
                fn e(text: &str) -> Option<Duration> { None }\n\
                fn f(object: &Map, field: &str) -> Option<Duration> { None }\n";
    assert_eq!(duration_parsers(text), [1, 5]);
}

#[test]
fn at_most_one_file_handles_poisoned_locks() {
    // The name is concatenated so that this file does not violate the rule.
    let name = ["Poison", "Error"].concat();
    let files: Vec<String> = sources()
        .into_iter()
        .filter(|source| source.text.contains(&name))
        .map(|source| source.path)
        .collect();
    let violations: Vec<String> = files
        .iter()
        .skip(1)
        .map(|path| format!("{path}:1: `{name}`; use a lock of `parking_lot`"))
        .collect();
    expect_none(&violations);
}
