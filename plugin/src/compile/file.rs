//! Files of compiled code.
//!
//! A file consists of a mark of 16 bytes, the SHA-256 digest of the code, and the code. The digest
//! detects damage: a processor that runs damaged code ends the process, and does so again after
//! each restart. It is no protection against an attacker, who can compute it too.
//!
//! The code is not mapped from this file, which can change at any time, but from a copy in the
//! [`cache`](super::cache).

use super::cache::Digest;
use crate::LoadError;
use crate::component::sniff::COMPILED;

/// Size of a digest, in bytes.
const DIGEST_BYTES: usize = 32;

/// Undamaged code of a plugin that was compiled elsewhere.
#[derive(Clone, Copy)]
pub struct CompiledCode<'a> {
    pub(crate) code: &'a [u8],
    pub(crate) digest: Digest,
}

impl CompiledCode<'_> {
    /// Checks the digest in a file, and returns its code.
    pub fn parse(file: &[u8]) -> Result<CompiledCode<'_>, LoadError> {
        let rest = file.strip_prefix(&COMPILED).ok_or(LoadError::Damaged)?;
        let (expected, code) = rest.split_at_checked(DIGEST_BYTES).ok_or(LoadError::Damaged)?;
        let digest = Digest::of(code);
        match digest.bytes() == expected {
            true => Ok(CompiledCode { code, digest }),
            false => Err(LoadError::Damaged),
        }
    }

    /// Returns the content of a file with this code.
    #[cfg(feature = "compiler")]
    pub(crate) fn file(code: &[u8]) -> Vec<u8> {
        [&COMPILED, Digest::of(code).bytes(), code].concat()
    }
}

#[cfg(all(test, feature = "compiler"))]
mod tests {
    use super::*;
    use crate::component::sniff::is_compiled;

    #[test]
    fn a_file_that_lacks_bytes_or_has_others_is_compiled_but_damaged() {
        let file = CompiledCode::file(b"code");
        assert_eq!(CompiledCode::parse(&file).ok().unwrap().code, b"code");
        for length in 2..file.len() {
            assert!(is_compiled(&file[..length]), "{length}");
            let damaged = CompiledCode::parse(&file[..length]);
            assert!(matches!(damaged, Err(LoadError::Damaged)), "{length}");
        }
        for at in COMPILED.len()..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert!(matches!(CompiledCode::parse(&damaged), Err(LoadError::Damaged)), "{at}");
        }
        let longer = [&*file, b"!"].concat();
        assert!(matches!(CompiledCode::parse(&longer), Err(LoadError::Damaged)));
    }

    #[test]
    fn other_content_is_not_compiled() {
        for bytes in [&b""[..], b"\0asm\x0d\0\x01\0", b"(component)", b"\x7fELF", &[0; 64]] {
            assert!(!is_compiled(bytes), "{bytes:?}");
        }
    }
}
