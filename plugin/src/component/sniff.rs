//! Detection of a file's form by its first bytes, so that an error can name it.

/// The form of a plugin's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A component, in binary form or as text.
    Component,
    /// A core module in binary form, of which a component is made.
    CoreModule,
}

/// Returns the form of these bytes; otherwise a description of what they look like.
pub(crate) fn sniff(bytes: &[u8]) -> Result<Kind, String> {
    match bytes {
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(Kind::CoreModule),
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => Ok(Kind::Component),
        [b'\0', b'a', b's', b'm', ..] => {
            Err("a version of the binary format that is not known here".to_owned())
        }
        [] => Err("an empty file".to_owned()),
        [0x7f, b'E', b'L', b'F', ..] => {
            Err("a program or library for this machine (ELF)".to_owned())
        }
        _ => text(bytes),
    }
}

fn text(bytes: &[u8]) -> Result<Kind, String> {
    let code = std::str::from_utf8(bytes).ok().and_then(skip_comments);
    match code {
        Some(code) if code.starts_with("(component") => Ok(Kind::Component),
        Some(code) if code.starts_with("(module") => {
            Err("text of a core module; only a component may be text".to_owned())
        }
        _ => {
            let start = &bytes[..bytes.len().min(16)];
            Err(format!("starts with \"{}\"", start.escape_ascii()))
        }
    }
}

/// The text from its first token on; `None` if a comment never ends.
fn skip_comments(mut text: &str) -> Option<&str> {
    loop {
        text = text.trim_start();
        if text.starts_with(";;") {
            text = text.split_once('\n')?.1;
        } else if text.starts_with("(;") {
            text = after_block_comment(text)?;
        } else {
            return Some(text);
        }
    }
}

/// Block comments nest.
fn after_block_comment(text: &str) -> Option<&str> {
    let mut depth = 0_usize;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"(;" => depth += 1,
            b";)" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return Some(&text[at..]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: impl AsRef<[u8]>, expected: Result<Kind, &str>) {
        assert_eq!(sniff(bytes.as_ref()), expected.map_err(str::to_owned));
    }

    #[test]
    fn components_and_core_modules_are_known_by_their_preamble() {
        check(b"\0asm\x0d\0\x01\0rest", Ok(Kind::Component));
        check(b"\0asm\x01\0\0\0rest", Ok(Kind::CoreModule));
    }

    #[test]
    fn text_of_a_component_may_begin_with_comments() {
        check("(component)", Ok(Kind::Component));
        check(";; one\n  (; two (; nested ;) ;)\n(component)", Ok(Kind::Component));
    }

    #[test]
    fn anything_else_is_named() {
        check("", Err("an empty file"));
        check("#!/bin/sh\necho a long line", Err("starts with \"#!/bin/sh\\necho a\""));
        check(b"\x7fELF\x02\x01", Err("a program or library for this machine (ELF)"));
        check("(module)", Err("text of a core module; only a component may be text"));
        check("(; never closed", Err("starts with \"(; never closed\""));
        check(b"\0asm\x07\0\x09\0", Err("a version of the binary format that is not known here"));
        check(b"\xff\xfe", Err("starts with \"\\xff\\xfe\""));
    }
}
