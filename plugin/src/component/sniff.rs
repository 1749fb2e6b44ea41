//! Detection of a file's format from its first bytes, for precise error messages.

use wasmtime::{Engine, Precompiled};

/// First bytes of a file of compiled code. The null byte and the line end show a conversion as
/// text.
pub(crate) const COMPILED: [u8; 16] = *b"\0device code 1\r\n";

/// Format of a plugin's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// Component, in binary or text form.
    Component,
    /// Core module in binary form, which is converted to a component.
    CoreModule,
}

/// Returns the format of the bytes, or a description of their content as an error.
pub(crate) fn sniff(bytes: &[u8]) -> Result<FileFormat, String> {
    match bytes {
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(FileFormat::CoreModule),
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => Ok(FileFormat::Component),
        [b'\0', b'a', b's', b'm', ..] => {
            Err("an unsupported version of the binary format".to_owned())
        }
        [] => Err("an empty file".to_owned()),
        _ if is_compiled(bytes) => Err("a plugin that is compiled already".to_owned()),
        [0x7f, b'E', b'L', b'F', ..]
            if Engine::detect_precompiled(bytes) == Some(Precompiled::Component) =>
        {
            Err("code of wasmtime without the digest of `behaviour compile`".to_owned())
        }
        [0x7f, b'E', b'L', b'F', ..] => {
            Err("a program or library for this machine (ELF)".to_owned())
        }
        _ => sniff_text(bytes),
    }
}

/// Returns `true` if the bytes are a plugin that was compiled elsewhere, also if they are damaged.
pub fn is_compiled(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(COMPILED.len())];
    // A single null byte can also be the start of a component.
    start.len() > 1 && COMPILED.starts_with(start)
}

fn sniff_text(bytes: &[u8]) -> Result<FileFormat, String> {
    let code = std::str::from_utf8(bytes).ok().and_then(skip_comments);
    match code {
        Some(code) if code.starts_with("(component") => Ok(FileFormat::Component),
        Some(code) if code.starts_with("(module") => {
            Err("text of a core module; only components can be in text form".to_owned())
        }
        _ => {
            let start = &bytes[..bytes.len().min(16)];
            Err(format!("starts with \"{}\"", start.escape_ascii()))
        }
    }
}

/// Returns the text from its first token, or `None` if a comment is unterminated.
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

/// Returns the text after a block comment, which can contain other comments.
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
    fn check(bytes: impl AsRef<[u8]>, expected: Result<FileFormat, &str>) {
        assert_eq!(sniff(bytes.as_ref()), expected.map_err(str::to_owned));
    }

    #[test]
    fn components_and_core_modules_are_detected_by_their_preamble() {
        check(b"\0asm\x0d\0\x01\0rest", Ok(FileFormat::Component));
        check(b"\0asm\x01\0\0\0rest", Ok(FileFormat::CoreModule));
    }

    #[test]
    fn a_component_in_text_form_can_begin_with_comments() {
        check("(component)", Ok(FileFormat::Component));
        check(";; one\n  (; two (; nested ;) ;)\n(component)", Ok(FileFormat::Component));
    }

    #[test]
    fn other_content_is_described_in_the_error() {
        check("", Err("an empty file"));
        check("#!/bin/sh\necho a long line", Err("starts with \"#!/bin/sh\\necho a\""));
        check(b"\x7fELF\x02\x01", Err("a program or library for this machine (ELF)"));
        check(COMPILED, Err("a plugin that is compiled already"));
        check("(module)", Err("text of a core module; only components can be in text form"));
        check("(; never closed", Err("starts with \"(; never closed\""));
        check(b"\0asm\x07\0\x09\0", Err("an unsupported version of the binary format"));
        check(b"\xff\xfe", Err("starts with \"\\xff\\xfe\""));
    }
}
