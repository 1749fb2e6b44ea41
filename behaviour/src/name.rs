//! The rules for plugin names, which are used as names of folders, crates and files, and as
//! keys in `host.toml`.

/// The maximum length of a name in bytes, so that names fit into a log line.
const MAX_BYTES: usize = 64;

/// Checks a name. The error is a one-line message that names the broken rule.
pub(crate) fn check(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let reason = match name {
        "" => "is empty",
        _ if name.len() > MAX_BYTES => "is longer than 64 characters",
        _ if !name.chars().all(legal) => "has characters other than a-z, 0-9 and `-`",
        _ if !name.starts_with(|c: char| c.is_ascii_lowercase()) => "does not begin with a letter",
        _ if name.ends_with('-') || name.contains("--") => "has a `-` at the end or two in a row",
        _ => return Ok(()),
    };
    Err(format!("name `{}` {reason}", json::escape(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lower_case_words_joined_by_hyphens() {
        for valid in ["x", "door", "front-door-2"] {
            assert_eq!(check(valid), Ok(()));
        }
        for invalid in ["", "Door", "2door", "front_door", "-x", "x-", "a--b", "../x", "tür", "a b"]
        {
            check(invalid).unwrap_err();
        }
        assert_eq!(
            check("Door"),
            Err("name `Door` has characters other than a-z, 0-9 and `-`".into())
        );
    }
}
