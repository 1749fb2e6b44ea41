//! JSON from a registry, whose objects must not have duplicate keys.
//!
//! Two parsers can read different values from duplicate keys: one takes the first, another
//! the last. A signature would then cover a document with two meanings.

use std::collections::HashSet;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};

/// Parses a JSON object of at most `max_bytes`. The error is a predicate that follows the
/// subject.
pub(crate) fn object<T: DeserializeOwned>(bytes: &[u8], max_bytes: usize) -> Result<T, String> {
    // The derived parser of a type would also accept an array of its fields.
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => parse(bytes, max_bytes),
        _ => Err("is malformed: not a JSON object".to_owned()),
    }
}

/// Parses a JSON text of at most `max_bytes`. The error is a predicate that follows the
/// subject.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], max_bytes: usize) -> Result<T, String> {
    if bytes.len() > max_bytes {
        return Err(format!("is longer than {max_bytes} bytes"));
    }
    let described = |error: &serde_json::Error| {
        let text = error.to_string();
        format!("is malformed: {}", json::excerpt(&text, 200))
    };
    serde_json::from_slice::<Unique>(bytes).map_err(|error| described(&error))?;
    serde_json::from_slice(bytes).map_err(|error| described(&error))
}

/// A JSON value without duplicate keys.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unique, D::Error> {
        deserializer.deserialize_any(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if keys.contains(&key) {
                let key = json::excerpt(&key, 80);
                return Err(A::Error::custom(format_args!("duplicate key `{key}`")));
            }
            keys.insert(key);
            map.next_value::<Unique>()?;
        }
        Ok(Unique)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unique, A::Error> {
        while items.next_element::<Unique>()?.is_some() {}
        Ok(Unique)
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_str<E>(self, _: &str) -> Result<Unique, E> {
        Ok(Unique)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn duplicate_keys_are_refused_at_every_level() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"\u0061":2}}]"#] {
            let error = parse::<Value>(text.as_bytes(), 100).unwrap_err();
            assert!(error.contains("duplicate key `a`"), "{error}");
        }
        assert!(parse::<Value>(br#"[{"a":1},{"a":null,"b":true,"c":-1.5}]"#, 100).is_ok());
    }

    #[test]
    fn an_object_is_not_replaced_by_an_array() {
        for text in ["", "[]", " 1", "<html>"] {
            let error = object::<Value>(text.as_bytes(), 100).unwrap_err();
            assert_eq!(error, "is malformed: not a JSON object");
        }
        assert!(object::<Value>(b" {}", 100).is_ok());
    }

    #[test]
    fn long_deep_and_trailing_text_is_refused() {
        assert_eq!(parse::<Value>(b"[1]", 2).unwrap_err(), "is longer than 2 bytes");
        assert!(parse::<Value>("[".repeat(100_000).as_bytes(), 1 << 20).is_err());
        assert!(parse::<Value>(b"{} {}", 100).is_err());
        assert!(parse::<Value>(b"", 100).is_err());
        assert!(parse::<Value>(b"\"\xff\"", 100).is_err());
    }
}
