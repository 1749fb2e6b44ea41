//! Text input from users: files, standard input and environment variables.
//!
//! A byte order mark, which some editors write, is removed. UTF-16, endless input, and files that
//! are neither regular nor the pipe of a command are reported as errors.
//!
//! The message of an [`io::Error`] from this module does not name the source of the text.
//! The caller knows the source and adds it.

use std::env;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use crate::open::open_text;

/// Maximum length of a text, in bytes. The certificates of a system take 0.3 MB, and 50,000
/// connection strings take 8 MB.
pub const MAX_TEXT_BYTES: u64 = 32 * 1024 * 1024;

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a file as text.
///
/// # Errors
///
/// Returns an error if the file cannot be read, is a named pipe, a socket or a device, is not
/// UTF-8, or is longer than [`MAX_TEXT_BYTES`].
pub fn read(path: &Path) -> io::Result<String> {
    decode(read_bytes(path)?)
}

/// Reads a file as bytes, without a byte order mark. Suits formats such as PEM, whose
/// comments can have a different encoding.
///
/// # Errors
///
/// Returns an error if the file cannot be read, is a named pipe, a socket or a device, is UTF-16,
/// or is longer than [`MAX_TEXT_BYTES`].
pub fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    bounded(open_text(path)?)
}

/// Reads standard input to its end, as text.
///
/// # Errors
///
/// Same as [`read`].
pub fn read_stdin() -> io::Result<String> {
    decode(bounded(io::stdin().lock())?)
}

/// The error for an argument whose text cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{name}")]
pub struct ArgumentError {
    /// The path of the file, or `standard input`.
    pub name: String,
    /// The cause.
    pub source: io::Error,
}

/// Returns the text of an argument: the contents of a file for `@FILE`, standard input for
/// `-`, or otherwise the argument itself.
///
/// # Errors
///
/// Returns an error if the file or standard input cannot be read as text; see [`read`].
pub fn argument(argument: &str) -> Result<String, ArgumentError> {
    let (read, name) = match argument.strip_prefix('@') {
        Some(file) => (read(file.as_ref()), file),
        None if argument == "-" => (read_stdin(), "standard input"),
        None => return Ok(argument.to_owned()),
    };
    read.map_err(|source| ArgumentError { name: name.to_owned(), source })
}

/// Returns the value of an environment variable, or `None` if it is not set.
///
/// # Errors
///
/// Returns an error if the value is not UTF-8.
pub fn variable(name: &str) -> io::Result<Option<String>> {
    env::var_os(name).map(|value| decode(without_byte_order_mark(value.into_vec())?)).transpose()
}

fn bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        return Err(refused(format!(
            "longer than {} MiB, the limit for a text",
            MAX_TEXT_BYTES >> 20
        )));
    }
    without_byte_order_mark(bytes)
}

/// Removes a UTF-8 byte order mark. Returns an error if the bytes are UTF-16.
fn without_byte_order_mark(mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    // In UTF-16, every second byte of ASCII text is zero, with or without a mark.
    let is_utf16 = matches!(bytes[..], [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
        || matches!(bytes[..], [0, a, 0, b, ..] | [a, 0, b, 0, ..] if a != 0 && b != 0);
    if is_utf16 {
        return Err(refused("UTF-16, not UTF-8; save it as UTF-8".to_owned()));
    }
    if bytes.starts_with(UTF8_MARK) {
        bytes.drain(..UTF8_MARK.len());
    }
    Ok(bytes)
}

fn decode(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
        refused(format!("not UTF-8 in line {line}; save it as UTF-8"))
    })
}

fn refused(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(bytes: &[u8]) -> Result<String, String> {
        bounded(bytes).and_then(decode).map_err(|error| error.to_string())
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_text() {
        assert_eq!(read_text(b"\xef\xbb\xbfHostName=h").unwrap(), "HostName=h");
        assert_eq!(read_text("Grüße\r\n".as_bytes()).unwrap(), "Grüße\r\n");
        assert_eq!(read_text(b"").unwrap(), "");
    }

    #[test]
    fn another_encoding_is_named() {
        let utf16 = "UTF-16, not UTF-8; save it as UTF-8";
        for bytes in [&b"\xff\xfeH\0o\0"[..], b"\xfe\xff\0H\0o", b"H\0o\0s\0", b"\0H\0o\0s"] {
            assert_eq!(read_text(bytes).unwrap_err(), utf16, "{bytes:?}");
        }
        let latin = read_text(b"a\nGr\xfc\xdfe").unwrap_err();
        assert_eq!(latin, "not UTF-8 in line 2; save it as UTF-8");
    }

    #[test]
    fn an_argument_is_its_own_text_or_that_of_a_file() {
        assert_eq!(argument("{}").unwrap(), "{}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "[1]").unwrap();
        assert_eq!(argument(&format!("@{}", file.path().display())).unwrap(), "[1]");
        let error = argument("@/no/such/file").unwrap_err();
        assert!(crate::chain(&error).to_string().starts_with("/no/such/file: No such file"));
    }

    #[test]
    fn a_text_above_the_limit_is_refused() {
        let error = read_text(&vec![b'a'; 33 << 20]).unwrap_err();
        assert_eq!(error, "longer than 32 MiB, the limit for a text");
    }

    #[test]
    fn the_error_of_a_missing_file_keeps_its_kind() {
        let error = read(Path::new("/no/such/file")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
