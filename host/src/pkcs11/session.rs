//! A session with a token, in which a key can sign.

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use program::FileStamp;
use rustls::SignatureScheme;

use super::error::{TokenError, is, reason};
use super::{mechanism, module};
use crate::config::{Pkcs11Uri, TokenAttributes};
use crate::secret_file::{self, SecretFileError};

/// A session that has found its key.
pub(super) struct TokenSession {
    session: Session,
    key: ObjectHandle,
}

impl TokenSession {
    /// Finds the token and the key, and signs in if the token needs it. Blocks.
    pub(super) fn open(uri: &Pkcs11Uri) -> Result<TokenSession, TokenError> {
        let pkcs11 = module::open(&uri.module)?;
        let opened = TokenSession::find(&pkcs11, uri);
        if matches!(opened, Err(TokenError::NoToken(_) | TokenError::Failed { .. })) {
            module::close(&uri.module);
        }
        opened
    }

    fn find(pkcs11: &Pkcs11, uri: &Pkcs11Uri) -> Result<TokenSession, TokenError> {
        let failed = |error: Error| failed(uri, &error);
        let slots = pkcs11.get_slots_with_token().map_err(failed)?;
        // A token that is pulled meanwhile has no information.
        let tokens =
            slots.into_iter().filter_map(|slot| Some((slot, pkcs11.get_token_info(slot).ok()?)));
        let mut tokens = tokens.filter(|(slot, info)| matches(&uri.token, *slot, info));
        let (slot, info) = match (tokens.next(), tokens.next()) {
            (Some(token), None) => token,
            (None, _) => return Err(TokenError::NoToken(uri.to_string())),
            (Some(_), Some(_)) => return Err(TokenError::ManyTokens(uri.to_string())),
        };
        let session = pkcs11.open_ro_session(slot).map_err(failed)?;
        if info.login_required() {
            log_in(&session, &info, uri)?;
        }
        let key = find_key(&session, uri)?;
        Ok(TokenSession { session, key })
    }

    /// Signs a message, which is not hashed, in the format of TLS. Blocks.
    pub(super) fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, Error> {
        mechanism::sign(scheme, message, |mechanism, data| {
            self.session.sign(mechanism, self.key, data)
        })
    }
}

/// Returns `true` if a token has the attributes.
fn matches(attributes: &TokenAttributes, slot: Slot, info: &TokenInfo) -> bool {
    let is = |wanted: &Option<String>, found: &str| {
        // Some tokens fill their attributes with NUL characters.
        wanted.as_deref().is_none_or(|wanted| wanted == found.trim_end_matches(['\0', ' ']))
    };
    let TokenAttributes { token, serial, manufacturer, model, slot: number } = attributes;
    info.token_initialized()
        && is(token, info.label())
        && is(serial, info.serial_number())
        && is(manufacturer, info.manufacturer_id())
        && is(model, info.model())
        && number.is_none_or(|number| number == slot.id())
}

/// Signs in, unless another session of this process has done so. A PIN that the token has
/// refused is not sent again until its file changes.
fn log_in(session: &Session, info: &TokenInfo, uri: &Pkcs11Uri) -> Result<(), TokenError> {
    let name = || uri.to_string();
    let path = uri.pin_file.as_ref().ok_or_else(|| TokenError::NoPin(name()))?;
    let token = format!("{} {}", info.label(), info.serial_number());
    let stamp = FileStamp::at(path);
    if module::has_refused(&token, stamp) {
        return Err(TokenError::WrongPin(name()));
    }
    let bytes = secret_file::read(path).map_err(|error| match error {
        SecretFileError::Read(source) => TokenError::ReadPin { path: path.clone(), source },
        SecretFileError::Mode(mode) => TokenError::PinMode { path: path.clone(), mode },
    })?;
    if info.user_pin_locked() {
        return Err(TokenError::Locked(name()));
    }
    if info.user_pin_final_try() {
        return Err(TokenError::LastAttempt(name()));
    }
    let pin = String::from_utf8_lossy(&bytes);
    let pin = pin.strip_suffix('\n').unwrap_or(&pin);
    match session.login(UserType::User, Some(&AuthPin::from(pin.to_owned()))) {
        Ok(()) => Ok(()),
        Err(error) if is(&error, RvError::UserAlreadyLoggedIn) => Ok(()),
        Err(error)
            if [RvError::PinIncorrect, RvError::PinInvalid, RvError::PinLenRange]
                .into_iter()
                .any(|code| is(&error, code)) =>
        {
            module::refuse(&token, stamp);
            Err(TokenError::WrongPin(name()))
        }
        Err(error) if is(&error, RvError::PinLocked) => Err(TokenError::Locked(name())),
        Err(error) => Err(failed(uri, &error)),
    }
}

fn find_key(session: &Session, uri: &Pkcs11Uri) -> Result<ObjectHandle, TokenError> {
    let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Token(true)];
    template.extend(uri.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
    template.extend(uri.id.as_ref().map(|id| Attribute::Id(id.clone())));
    let keys = session.find_objects(&template).map_err(|error| failed(uri, &error))?;
    match keys.as_slice() {
        [key] => Ok(*key),
        [] => Err(TokenError::NoKey(uri.to_string())),
        _ => Err(TokenError::ManyKeys(uri.to_string())),
    }
}

fn failed(uri: &Pkcs11Uri, error: &Error) -> TokenError {
    TokenError::Failed { key: uri.to_string(), reason: reason(error) }
}
