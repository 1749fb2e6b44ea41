//! Challenges of a registry that demands credentials (RFC 9110, section 11.6.1).

/// Maximum length of the header, in bytes.
const MAX_HEADER: usize = 8 * 1024;

/// A challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// User name and password in each request.
    Basic,
    /// A token of a token server.
    Bearer {
        /// The URL of the token server.
        realm: String,
        /// The name of the registry at the token server.
        service: Option<String>,
        /// The rights that the token needs.
        scope: Option<String>,
    },
}

/// Returns the challenges of a `WWW-Authenticate` header, except those of unknown schemes.
/// Returns none for a malformed header.
#[must_use]
pub fn challenges(header: &str) -> Vec<Challenge> {
    if header.len() > MAX_HEADER {
        return Vec::new();
    }
    let mut parser = Parser { rest: header };
    let mut found = Vec::new();
    let mut current: Option<(String, Parameters)> = None;
    loop {
        parser.skip(|c| c.is_ascii_whitespace() || c == ',');
        if parser.rest.is_empty() {
            break;
        }
        let Some(word) = parser.word() else { return Vec::new() };
        let word = word.to_ascii_lowercase();
        parser.skip(|c| c == ' ' || c == '\t');
        match (parser.take('='), &mut current) {
            (true, Some((_, parameters))) => {
                parser.skip(|c| c == ' ' || c == '\t');
                let Some(value) = parser.value() else { return Vec::new() };
                parameters.set(&word, value);
            }
            (true, None) => return Vec::new(),
            (false, _) => found.extend(current.replace((word, Parameters::default()))),
        }
    }
    found.extend(current);
    found.into_iter().filter_map(|(scheme, parameters)| parameters.challenge(&scheme)).collect()
}

#[derive(Default)]
struct Parameters {
    realm: Option<String>,
    service: Option<String>,
    scope: Option<String>,
}

impl Parameters {
    /// Sets a parameter. The first of several values counts.
    fn set(&mut self, name: &str, value: String) {
        let place = match name {
            "realm" => &mut self.realm,
            "service" => &mut self.service,
            "scope" => &mut self.scope,
            _ => return,
        };
        place.get_or_insert(value);
    }

    fn challenge(self, scheme: &str) -> Option<Challenge> {
        match scheme {
            "basic" => Some(Challenge::Basic),
            "bearer" => Some(Challenge::Bearer {
                realm: self.realm?,
                service: self.service,
                scope: self.scope,
            }),
            _ => None,
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip(&mut self, is_skipped: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(is_skipped);
    }

    fn take(&mut self, expected: char) -> bool {
        let rest = self.rest.strip_prefix(expected);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Takes a token (RFC 9110, section 5.6.2).
    fn word(&mut self) -> Option<&'a str> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(c);
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    fn value(&mut self) -> Option<String> {
        if !self.take('"') {
            return self.word().map(str::to_owned);
        }
        let mut value = String::new();
        let mut characters = self.rest.char_indices();
        loop {
            match characters.next()? {
                (at, '"') => {
                    self.rest = &self.rest[at + 1..];
                    return Some(value);
                }
                (_, '\\') => value.push(characters.next()?.1),
                (_, character) => value.push(character),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let [service, scope] = [service, scope].map(|text| text.map(str::to_owned));
        Challenge::Bearer { realm: realm.to_owned(), service, scope }
    }

    #[test]
    fn the_challenges_of_registries_are_read() {
        assert_eq!(challenges("Basic realm=\"test\""), [Challenge::Basic]);
        let header =
            r#"Bearer realm="https://auth/token",service="s",scope="repository:n:pull,push""#;
        let expected = bearer("https://auth/token", Some("s"), Some("repository:n:pull,push"));
        assert_eq!(challenges(header), std::slice::from_ref(&expected));
        let both = format!("bAsIc REALM=x, Negotiate , {header} , Digest nonce=\"a\\\"b\"");
        assert_eq!(challenges(&both), [Challenge::Basic, expected]);
        let header = "Bearer realm = \"https://a/\\\"b\" , error=\"invalid_token\"";
        assert_eq!(challenges(header), [bearer("https://a/\"b", None, None)]);
    }

    #[test]
    fn a_malformed_header_is_no_challenge() {
        let long = format!("Basic realm=\"{}\"", "x".repeat(MAX_HEADER));
        for header in [
            "",
            "=",
            "realm=\"x\"",
            "Bearer",
            "Bearer service=\"s\"",
            "Bearer realm=\"https://a",
            "Bearer realm=",
            "Bearer realm=\"a\\",
            "\u{fc}",
            &long,
        ] {
            assert_eq!(challenges(header), [], "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parser_panic(header in "[ -~ü]{0,60}") {
            let _ = challenges(&header);
        }
    }
}
