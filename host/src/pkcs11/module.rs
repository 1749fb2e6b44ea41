//! The libraries of tokens. PKCS #11 allows each to be initialised once per process, so they
//! are shared by all keys.
//!
//! The PINs that a token has refused are kept here for the process: three wrong ones lock a
//! TPM, and a key can be opened again at every attempt to connect.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::RvError;
use parking_lot::Mutex;
use program::FileStamp;

use super::error::{TokenError, is, reason};

/// The initialised libraries by path.
static MODULES: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

/// The tokens that have refused a PIN, with the stamp of its file.
static REFUSED: Mutex<Vec<(String, Option<FileStamp>)>> = Mutex::new(Vec::new());

/// Returns the library, which is loaded and initialised at its first use. Blocks.
pub(super) fn open(path: &Path) -> Result<Pkcs11, TokenError> {
    let mut modules = MODULES.lock();
    if let Some(module) = modules.get(path) {
        return Ok(module.clone());
    }
    let failed = |error| TokenError::Module { path: path.to_owned(), reason: reason(&error) };
    let module = Pkcs11::new(path).map_err(failed)?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Err(error) if !is(&error, RvError::CryptokiAlreadyInitialized) => {
            return Err(failed(error));
        }
        _ => {}
    }
    modules.insert(path.to_owned(), module.clone());
    Ok(module)
}

/// Finalises a library, so that its next use sees tokens that have appeared since. Sessions
/// with its other tokens end, and are opened again.
pub(super) fn close(path: &Path) {
    let module = MODULES.lock().remove(path);
    if let Some(module) = module {
        // A library that cannot be finalised is left alone.
        module.finalize().ok();
    }
}

/// Finalises all libraries, at the end of the process. Otherwise, a TPM without a resource
/// manager keeps the sessions of this process.
pub fn release() {
    let modules = std::mem::take(&mut *MODULES.lock());
    for module in modules.into_values() {
        module.finalize().ok();
    }
}

/// Returns `true` if the token has refused the PIN in the file with this stamp.
pub(super) fn has_refused(token: &str, pin: Option<FileStamp>) -> bool {
    REFUSED.lock().iter().any(|(known, stamp)| known == token && *stamp == pin)
}

/// Records that the token has refused the PIN in the file with this stamp.
pub(super) fn refuse(token: &str, pin: Option<FileStamp>) {
    let mut refused = REFUSED.lock();
    refused.retain(|(known, _)| known != token);
    refused.push((token.to_owned(), pin));
}
