//! Rule for error types: the message of an error does not contain its source.

use super::expect_none;
use super::source::sources;
use super::tokens::{Lexeme, Token, end_of_group, tokens};

#[test]
fn no_error_prints_its_cause_twice() {
    let mut violations = Vec::new();
    for source in sources() {
        for (line, cause) in repeated_causes(&source.text) {
            violations.push(format!(
                "{}:{line}: the message contains the source `{cause}`, so a chain prints \
                 it twice",
                source.path
            ));
        }
    }
    expect_none(&violations);
}

/// Returns the causes that are part of their error's message. Each has the line of the
/// message and the placeholder.
fn repeated_causes(text: &str) -> Vec<(usize, String)> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    for start in 0..tokens.len() {
        let Some(attribute) = attribute_at(&tokens, start) else { continue };
        let [name, open, message, ..] = attribute else { continue };
        let Lexeme::Text(text) = &message.is else { continue };
        if !name.is_word("error") || !open.is_mark('(') {
            continue;
        }
        let placeholders = placeholders(text);
        let arguments = arguments(attribute);
        for cause in causes(&tokens, start + attribute.len() + 3) {
            if placeholders.contains(&cause) || arguments.contains(&cause) {
                found.push((message.line, cause));
            }
        }
    }
    found
}

/// Returns the tokens between `#[` and `]` if an attribute starts at `start`.
fn attribute_at(tokens: &[Token], start: usize) -> Option<&[Token]> {
    if !tokens.get(start)?.is_mark('#') || !tokens.get(start + 1)?.is_mark('[') {
        return None;
    }
    let end = end_of_group(tokens, start + 1);
    tokens.get(start + 2..end)
}

/// Returns the names in the braces of a message.
fn placeholders(message: &str) -> Vec<String> {
    let message = message.replace("{{", "");
    let pieces = message.split('{').skip(1);
    pieces
        .filter_map(|piece| piece.split(['}', ':']).next())
        .map(|name| name.trim().to_owned())
        .collect()
}

/// Returns the fields that are arguments of a message in the form `.0` or `.name`.
fn arguments(attribute: &[Token]) -> Vec<String> {
    let fields = attribute.windows(2).filter(|pair| pair[0].is_mark('.'));
    fields.filter_map(|pair| pair[1].word().map(str::to_owned)).collect()
}

/// Returns the names or numbers of the fields that are the source of the following variant
/// or struct.
fn causes(tokens: &[Token], mut at: usize) -> Vec<String> {
    while let Some(attribute) = attribute_at(tokens, at) {
        at += attribute.len() + 3;
    }
    while tokens.get(at).is_some_and(|token| token.word().is_some()) {
        at += 1;
        // The scope in `pub(crate)`.
        if tokens[at - 1].is_word("pub") && tokens.get(at).is_some_and(|t| t.is_mark('(')) {
            at = end_of_group(tokens, at) + 1;
        }
    }
    if !tokens.get(at).is_some_and(|token| token.is_mark('(') || token.is_mark('{')) {
        return Vec::new();
    }
    let end = end_of_group(tokens, at);
    let mut causes = Vec::new();
    for (number, field) in fields(&tokens[at + 1..end]).into_iter().enumerate() {
        let mut is_cause = false;
        let mut at = 0;
        while let Some(attribute) = attribute_at(field, at) {
            is_cause |=
                matches!(attribute, [word] if word.is_word("from") || word.is_word("source"));
            at += attribute.len() + 3;
        }
        let name = field.windows(2).skip(at).find(|pair| pair[1].is_mark(':'));
        let name = name.and_then(|pair| pair[0].word());
        if is_cause || name == Some("source") {
            causes.push(name.map_or_else(|| number.to_string(), str::to_owned));
        }
    }
    causes
}

/// Splits the fields of a variant at the commas between them.
fn fields(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0_i32;
    tokens
        .split(|token| {
            match token.is {
                Lexeme::Mark('(' | '[' | '{' | '<') => depth += 1,
                Lexeme::Mark(')' | ']' | '}' | '>') => depth -= 1,
                _ => {}
            }
            depth == 0 && token.is_mark(',')
        })
        .filter(|field| !field.is_empty())
        .collect()
}

#[test]
fn a_source_in_a_message_is_detected_by_number_and_by_name() {
    let text = r#"
        enum E {
            #[error("a: {0}")]
            A(#[from] io::Error),
            #[error("b: {name}: {source:?}")]
            /// Some words.
            B { name: Map<String, u8>, source: io::Error },
            #[error("c {0}")]
            C(u8, #[source] io::Error),
            #[error("d", .0)]
            D(#[source] Box<dyn Error>),
            #[error("{{0}}")]
            F(#[from] io::Error),
            #[error(transparent)]
            G(#[from] io::Error),
        }
        #[error("h {0}")]
        pub(crate) struct H(#[source] io::Error);
    "#;
    let found = repeated_causes(text);
    let found: Vec<(usize, &str)> = found.iter().map(|(line, name)| (*line, &**name)).collect();
    assert_eq!(found, [(3, "0"), (5, "source"), (10, "0"), (17, "0")]);
}
