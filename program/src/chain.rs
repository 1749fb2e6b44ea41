//! An error and its causes on one line.

use std::error::Error;
use std::fmt;

/// Formats an error and its causes on one line, joined with `: `.
///
/// Omits a cause whose message is already part of the previous message: some libraries
/// include the cause in their own message and also return it as the source.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl fmt::Display + 'a {
    Chain(error)
}

struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !last.contains(&text) {
                write!(f, ": {text}")?;
                last = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    fn text_of(layers: &[&'static str]) -> String {
        let nested =
            layers.iter().rev().fold(None, |cause, text| Some(Box::new(Layer(text, cause))));
        chain(&*nested.expect("at least one layer")).to_string()
    }

    #[test]
    fn causes_follow_their_error() {
        assert_eq!(text_of(&["no twin"]), "no twin");
        assert_eq!(text_of(&["no twin", "no hub", "refused"]), "no twin: no hub: refused");
    }

    #[test]
    fn a_cause_that_the_message_contains_is_not_repeated() {
        assert_eq!(text_of(&["no hub: refused", "refused"]), "no hub: refused");
        assert_eq!(text_of(&["a: b: c", "b: c", "c", "d"]), "a: b: c: d");
        assert_eq!(text_of(&["no twin", "no hub: refused", "refused"]), "no twin: no hub: refused");
    }
}
